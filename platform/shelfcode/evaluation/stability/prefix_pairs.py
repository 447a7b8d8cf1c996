"""Which old prefixes share products with which new ones: what churn and the translation of prefixes are counted from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.evaluation.prefixes import prefix_numbers


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
        """Whether both prefixes of a pair are one."""
        return (self.old_PL == self.new_PL).all(axis=1)


def prefix_pairs(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], depths: int) -> Iterator[PrefixPairs]:
    """The pairs at each depth from 1 on, from the codes of the same N products."""
    old_sides, new_sides = (prefix_numbers(codes_NL, _sizes(codes_NL)) for codes_NL in (old_NL[:, :depths], new_NL[:, :depths]))
    for depth, (old_N, new_N) in enumerate(zip(old_sides, new_sides, strict=True), start=1):
        old_size_O, new_size_Q = np.bincount(old_N), np.bincount(new_N)
        # One integer a pair: rows of codes are many times slower to sort.
        _, first_P, products_P = np.unique(old_N * len(new_size_Q) + new_N, return_index=True, return_counts=True)
        yield PrefixPairs(
            old_NL[first_P, :depth], new_NL[first_P, :depth], products_P, old_N[first_P], new_N[first_P], old_size_O, new_size_Q
        )


def _sizes(codes_NL: NDArray[np.integer]) -> list[int]:
    return [int(code_N.max(initial=0)) + 1 for code_N in codes_NL.T]
