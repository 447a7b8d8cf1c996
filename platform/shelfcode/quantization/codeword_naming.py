"""Names for codewords after a retraining, so that as many products as possible keep their code.

A codeword's name is its number. The order of a codebook means nothing: a training may give the same clusters other numbers.
Level by level, the new codewords get the numbers of the old ones that hold the same products: a maximum-weight matching on the
overlap (Kuhn 1955; Crouse 2016, which `scipy.optimize.linear_sum_assignment` implements).

Below the first level all prefixes share a codebook. A codeword cannot have one name per prefix, and its best name depends on
the names above and below. The names are therefore found together. What is maximised is the number of leading levels kept,
summed over products. One level after another is matched again while the others are held. A product counts at a level only if all
levels above it keep their code, and once more for every level below that keeps it too. Each match is optimal for its level, so
the sum never falls; the search ends when no level can gain.

The end need not be the optimum over all levels together, and it depends on the start. There are two starts: the order as it
is, which suits a training that went on from the old codewords, and a match level by level from the top, which suits one that
did not. The better of the two ends counts, so the result is no worse than either.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from shelfcode.semantic_id import shared_depth

Names = tuple[NDArray[np.int64], ...]
"""Of each level, int64[K]: the number that each of its codewords gets."""

MOST_ROUNDS = 20


def codeword_names(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], sizes: Sequence[int]) -> Names:
    """New numbers for the codewords of a retrained quantizer.

    Args:
        old_NL, new_NL: codes of the same products before and after; an old code of -1 means that the product had none. Where the
            numbers of levels differ, the levels that both have are named.
        sizes: codewords per level of the new quantizer.

    Returns:
        A permutation of each level's codewords; levels that the old codes lack keep their order.
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    order = [np.arange(size) for size in sizes]
    from_order, from_top = (_improve(old_NL, new_NL, start, levels) for start in (order, _from_the_top(old_NL, new_NL, order, levels)))
    if _levels_kept(old_NL, new_NL, from_top, levels) > _levels_kept(old_NL, new_NL, from_order, levels):
        return from_top
    return from_order


def _from_the_top(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], levels: int) -> Names:
    """Each level matched once, from the top, without regard to those below."""
    matched = list(names)
    for level in range(levels):
        matched[level] = _match(_weights(old_NL, new_NL, matched, level, level + 1))
    return tuple(matched)


def _improve(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], levels: int) -> Names:
    """Each level matched again while the others are held, until no level can gain."""
    improved, kept = list(names), _levels_kept(old_NL, new_NL, names, levels)
    for _ in range(MOST_ROUNDS):
        for level in range(levels):
            improved[level] = _match(_weights(old_NL, new_NL, improved, level, levels))
        before, kept = kept, _levels_kept(old_NL, new_NL, improved, levels)
        if kept == before:
            break
    return tuple(improved)


def _levels_kept(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], levels: int) -> int:
    return int(shared_depth(old_NL[:, :levels], rename(new_NL, names)[:, :levels]).sum())


def rename(codes_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Codes under the new names: int64[N, L]."""
    return np.stack([name_K[codes_NL[:, level]] for level, name_K in enumerate(names)], axis=1)


def _weights(
    old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], level: int, levels: int
) -> NDArray[np.float64]:
    """The gain of giving each new codeword of a level each number: float64[K, K].

    Levels kept come first. Ties are settled by the products that have both codes, under any prefix, and then by the order
    as it is.
    """
    size = len(names[level])
    same_NL = old_NL[:, :levels] == rename(new_NL, names)[:, :levels]
    reached_N = same_NL[:, :level].all(axis=1)
    gained_N = reached_N * (1 + np.cumprod(same_NL[:, level + 1 :], axis=1).sum(axis=1))
    nameable_N = (old_NL[:, level] >= 0) & (old_NL[:, level] < size)  # a codebook that became smaller has lost some numbers
    pair_N = new_NL[nameable_N, level].astype(np.int64) * size + old_NL[nameable_N, level]
    gained_KK, together_KK = (
        np.bincount(pair_N, weight_N, size * size).reshape(size, size) for weight_N in (gained_N[nameable_N], np.ones(len(pair_N)))
    )
    # All products together weigh less than one kept level, and the whole order less than one product.
    return gained_KK + together_KK / (2 * len(old_NL) + 1) + np.eye(size) / (4 * size * (2 * len(old_NL) + 1))


def _match(weight_KK: NDArray[np.float64]) -> NDArray[np.int64]:
    _, name_K = linear_sum_assignment(weight_KK, maximize=True)
    return name_K.astype(np.int64)
