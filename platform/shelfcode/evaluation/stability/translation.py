"""Old prefixes in terms of new ones, with weights: for a model that was trained on the codes of another release.

A retrained quantizer draws other borders, so an old prefix has no single new name: its products are spread over some. The
table says how, at every depth and in both directions.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.evaluation.stability.prefix_pairs import PrefixPairs, prefix_pairs
from shelfcode.semantic_id import SEPARATOR, prefix

Direction = Literal["old_to_new", "new_to_old"]

TRANSLATION_SCHEMA = pa.schema([
    ("level", pa.uint8()), ("old", pa.string()), ("new", pa.string()), ("products", pa.int64()),
    ("old_to_new", pa.float64()), ("new_to_old", pa.float64()),
])  # fmt: skip


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
    """`semantic_id.format_many` for millions of rows, which are never Python's texts."""
    return pc.binary_join_element_wise(*(pa.array(code_N).cast(pa.string()) for code_N in codes_NL.T), SEPARATOR)


def translate(table: pa.Table, prefixes: Iterable[str], direction: Direction = "old_to_new") -> dict[str, list[tuple[str, float]]]:
    """Prefixes of one release in the codes of the other: prefix -> (prefix of the same depth, weight), the heaviest first.

    A prefix that no product of both releases has is looked for one level shallower, and so on; the answer is then shallower too.
    It is empty where not even the first level is known.
    """
    wanted = dict.fromkeys(prefixes)
    shortened = {prefix(each, depth) for each in wanted for depth in range(1, each.count(SEPARATOR) + 2)}
    source, target = direction.split("_to_")
    rows = table.filter(pc.is_in(table[source], pa.array(sorted(shortened), pa.string())))
    found: dict[str, list[tuple[str, float]]] = {}
    for row in rows.sort_by([(direction, "descending"), (target, "ascending")]).to_pylist():
        found.setdefault(row[source], []).append((row[target], row[direction]))
    return {each: _deepest(found, each) for each in wanted}


def _deepest(found: Mapping[str, list[tuple[str, float]]], whole: str) -> list[tuple[str, float]]:
    depths = range(whole.count(SEPARATOR) + 1, 0, -1)
    return next((found[prefix(whole, depth)] for depth in depths if prefix(whole, depth) in found), [])
