"""How often the pairs of a relation share a prefix, how often they would by chance, and how certain both figures are.

For P pairs (l_p, r_p) of groups g_p and a prefix depth d, with c(x) the prefix of product x:

    share  = share of the pairs with c(l_p) = c(r_p)
    chance = share of all (l_p, r_q), with p and q of different groups and l_p another product than r_q, with c(l_p) = c(r_q)
    lift   = share / chance

So chance draws its two products independently from the left and the right ends of the pairs, and a product that is in many
pairs is drawn often: popularity, of a product or of a prefix, does not count as alignment. Ends within one group are left out
because they are what is measured: with few groups and long prefixes they alone would make chance look high. Where the two
ends of a pair do not differ in kind, both are pooled. Chance is exact, from the count of each prefix:

    sum over prefixes c of A(c) B(c), less the same sum over single products, less the pairs of ends within one group

where A and B count the left and the right ends.

Bootstrap: groups are drawn with replacement, as many as there are (Efron and Tibshirani, 1993, of clusters); a group drawn w
times counts w times in share and chance, and chance is computed anew for each resample. Copies of one group count as one
group: no chance pair is drawn between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.reporting.intervals import RESAMPLES, divided
from shelfcode.semantic_id import shared_depth

CELLS_PER_CHUNK = 4_000_000
"""Resamples are taken in chunks of so many cells (groups or products, times resamples): what is held at once."""


@dataclass(frozen=True)
class PrefixRates:
    """Rates at each of L depths: row 0 is of the pairs as they are, the other S rows are resamples of their groups.

    Attributes:
        share_SL: float64[1 + S, L], 0 to 1; NaN where there is no pair.
        chance_SL: the same; NaN where no two ends of different groups and products are left.
    """

    share_SL: NDArray[np.float64]
    chance_SL: NDArray[np.float64]

    @property
    def lift_SL(self) -> NDArray[np.float64]:
        """share / chance; infinite where only chance is 0, NaN where both are."""
        return divided(self.share_SL, self.chance_SL)


@dataclass(frozen=True)
class _Ends:
    """Ends of the pairs, counted by group G and product X (a place among the distinct products of the pairs)."""

    products_X: NDArray[np.int64]
    left_GX: csr_matrix
    right_GX: csr_matrix
    pairs_G: NDArray[np.float64]


def prefix_rates(
    pairs: RelationPairs,
    codes: Sequence[NDArray[np.integer]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    cells_per_chunk: int = CELLS_PER_CHUNK,
) -> list[PrefixRates]:
    """The rates of the same pairs under one or more sets of codes; each resample serves all sets.

    Args:
        pairs: positions in the codes.
        codes: each int[N, L]; L may differ between them.
        rng: draws the resamples.
        cells_per_chunk: bounds the memory that is held at once; the figures do not depend on it.
    """
    ends, groups = _ends(pairs), int(pairs.group_P.max(initial=-1)) + 1
    same_G = _agreeing(ends.left_GX, ends.right_GX)
    left_G, right_G = _row_sums(ends.left_GX), _row_sums(ends.right_GX)
    apart_G = left_G * right_G - same_G
    sets = [_CodedEnds.of(codes_NL, pairs, ends, same_G) for codes_NL in codes]
    left_XG = ends.left_GX.T.tocsr()
    right_XG = ends.right_GX.T.tocsr() if pairs.ordered else None
    rates: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = [[] for _ in codes]
    for weight_GS in _weights(groups, rng, resamples, max(1, cells_per_chunk // max(groups, len(ends.products_X), 1))):
        a_XS = left_XG @ weight_GS
        b_XS = a_XS if right_XG is None else right_XG @ weight_GS
        same_S, square_SG = (a_XS * b_XS).sum(axis=0), (weight_GS**2).T
        strangers_S = (left_G @ weight_GS) * (right_G @ weight_GS) - same_S - square_SG @ apart_G
        for coded, of_set in zip(sets, rates, strict=True):
            share_SL = divided(weight_GS.T @ coded.shared_GL, (weight_GS.T @ ends.pairs_G)[:, None])
            meetings = [((prefix_CX @ a_XS) * (prefix_CX @ b_XS)).sum(axis=0) - same_S for prefix_CX in coded.prefixes]
            meeting_SL = np.stack(meetings, axis=1) - square_SG @ coded.within_GL
            of_set.append((share_SL, divided(meeting_SL, strangers_S[:, None])))
    return [PrefixRates(*(np.concatenate(parts) for parts in zip(*of_set, strict=True))) for of_set in rates]


@dataclass(frozen=True)
class _CodedEnds:
    """What one set of codes says of the ends.

    Attributes:
        prefixes: per depth, which products (columns) have each prefix (rows).
        shared_GL: pairs of each group that share a prefix of each depth.
        within_GL: pairs of a left and a right end of each group, of different products, that share one.
    """

    prefixes: list[csr_matrix]
    shared_GL: NDArray[np.float64]
    within_GL: NDArray[np.float64]

    @classmethod
    def of(cls, codes_NL: NDArray[np.integer], pairs: RelationPairs, ends: _Ends, same_G: NDArray[np.float64]) -> "_CodedEnds":
        codes_XL, levels = codes_NL[ends.products_X], codes_NL.shape[1]
        depth_P = shared_depth(codes_NL[pairs.left_P], codes_NL[pairs.right_P])
        groups = len(ends.pairs_G)
        shared = [np.bincount(pairs.group_P, weights=depth_P >= depth, minlength=groups) for depth in range(1, levels + 1)]
        sizes = [int(code_X.max(initial=0)) + 1 for code_X in codes_XL.T]
        prefixes = [_membership(number_X) for number_X in prefix_numbers(codes_XL, sizes)]
        within = [_agreeing(ends.left_GX @ prefix_CX.T, ends.right_GX @ prefix_CX.T) - same_G for prefix_CX in prefixes]
        return cls(prefixes, np.stack(shared, axis=1), np.stack(within, axis=1))


def _ends(pairs: RelationPairs) -> _Ends:
    products_X, place = np.unique(np.concatenate([pairs.left_P, pairs.right_P]), return_inverse=True)
    groups = int(pairs.group_P.max(initial=-1)) + 1
    shape, one_P = (groups, len(products_X)), np.ones(len(pairs.group_P))
    left_GX = csr_matrix((one_P, (pairs.group_P, place[: len(one_P)])), shape=shape)
    right_GX = csr_matrix((one_P, (pairs.group_P, place[len(one_P) :])), shape=shape)
    if not pairs.ordered:
        left_GX = right_GX = left_GX + right_GX
    return _Ends(products_X, left_GX, right_GX, np.bincount(pairs.group_P, minlength=groups).astype(np.float64))


def _membership(number_X: NDArray[np.int64]) -> csr_matrix:
    """1 where a product (column) has a prefix (row)."""
    return csr_matrix((np.ones(len(number_X)), (number_X, np.arange(len(number_X)))))


def _agreeing(left_GC: csr_matrix, right_GC: csr_matrix) -> NDArray[np.float64]:
    """Pairs of a left and a right end of each group that are in one column."""
    return _row_sums(left_GC.multiply(right_GC))


def _row_sums(matrix: csr_matrix) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()


def _weights(groups: int, rng: np.random.Generator, resamples: int, step: int) -> Iterator[NDArray[np.float64]]:
    """How often each group is drawn, float64[G, up to `step` samples]: once each in the first sample, then resamples."""
    for start in range(0, resamples + 1, step):
        weights = [
            np.bincount(rng.integers(0, groups, groups), minlength=groups) if number else np.ones(groups)
            for number in range(start, min(start + step, resamples + 1))
        ]
        yield np.stack(weights, axis=1).astype(np.float64)
