"""Old prefixes in terms of new ones, with weights: the rows of translation.parquet (index/translation_table.py), from two releases' codes.

A retrained quantizer draws other borders, so an old prefix has no single new name: its products are spread over some. The
table says how, at every depth and in both directions. The pairs of prefixes that it is made from are what churn is counted from too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.index.translation_table import TRANSLATION_SCHEMA
from shelfcode.semantic_id import SEPARATOR


@dataclass(frozen=True)
class PrefixPairs:
    """The P pairs of an old and a new prefix of one depth that some product has, in the order of their codes.

    Attributes:
        old_PL, new_PL: the codes of both.
        products_P: products that have both.
        old_P, new_P: number of the prefix among those of its side, from 0 in the order of their codes.
        old_size_O, new_size_Q: products of each old and of each new prefix, by that number.
    """

    old_PL: NDArray[np.integer]
    new_PL: NDArray[np.integer]
    products_P: NDArray[np.int64]
    old_P: NDArray[np.int64]
    new_P: NDArray[np.int64]
    old_size_O: NDArray[np.int64]
    new_size_Q: NDArray[np.int64]

    @property
    def same_P(self) -> NDArray[np.bool_]:
        """Whether both prefixes of a pair are the same."""
        return (self.old_PL == self.new_PL).all(axis=1)


def prefix_pairs(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], depths: int) -> Iterator[PrefixPairs]:
    """The pairs at each depth from 1 on, from the codes of the same N products."""
    old_sides, new_sides = (prefix_numbers(codes_NL, _sizes(codes_NL)) for codes_NL in (old_NL[:, :depths], new_NL[:, :depths]))
    for depth, (old_N, new_N) in enumerate(zip(old_sides, new_sides, strict=True), start=1):
        old_size_O, new_size_Q = np.bincount(old_N), np.bincount(new_N)
        # One integer per pair: rows of codes are many times slower to sort.
        _, first_P, products_P = np.unique(old_N * len(new_size_Q) + new_N, return_index=True, return_counts=True)
        yield PrefixPairs(
            old_NL[first_P, :depth], new_NL[first_P, :depth], products_P, old_N[first_P], new_N[first_P], old_size_O, new_size_Q
        )


def prefix_translation(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer]) -> pa.Table:
    """Every pair of an old and a new prefix of one depth that some product has, from the codes of the same N products.

    Returns:
        Rows of `translation.parquet`: level (from 1), old, new, products that have both, and their share of all products of the
        old prefix (`old_to_new`) and of the new one (`new_to_old`). A prefix's weights add up to 1 in its own direction.
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    tables = [_of_depth(pairs) for pairs in prefix_pairs(old_NL, new_NL, levels)]
    return pa.concat_tables([TRANSLATION_SCHEMA.empty_table(), *tables])


def _of_depth(pairs: PrefixPairs) -> pa.Table:
    level_P = np.full(len(pairs.products_P), pairs.old_PL.shape[1], np.uint8)
    to_new_P = pairs.products_P / pairs.old_size_O[pairs.old_P]
    to_old_P = pairs.products_P / pairs.new_size_Q[pairs.new_P]
    columns = [level_P, code_texts(pairs.old_PL), code_texts(pairs.new_PL), pairs.products_P, to_new_P, to_old_P]
    return pa.table(columns, TRANSLATION_SCHEMA)


def code_texts(codes_NL: NDArray[np.integer]) -> pa.Array:
    """`semantic_id.format_many` for millions of rows: no Python text is made for any of them."""
    return pc.binary_join_element_wise(*(pa.array(code_N).cast(pa.string()) for code_N in codes_NL.T), SEPARATOR)


def _sizes(codes_NL: NDArray[np.integer]) -> list[int]:
    return [int(code_N.max(initial=0)) + 1 for code_N in codes_NL.T]
