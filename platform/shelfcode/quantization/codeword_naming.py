"""Codewords renamed after a retraining, so that as many products as possible keep their code.

A codebook's order means nothing: a training may give the same clusters other numbers. Level by level, the new codewords get
the numbers of the old ones that hold the same products: a maximum-weight matching on the overlap (Kuhn 1955; Crouse 2016, as
`scipy.optimize.linear_sum_assignment` has it).

Below the first level a codebook is shared by all prefixes, so a codeword cannot be named a prefix at a time, and which name is
best for it depends on the names above and below. The names are therefore found together: what is maximised is the number of
leading levels kept, summed over products, and one level after another is matched anew with the others held, a product counting
at a level only where all levels above it keep their code, and then once more for every level below that keeps it too. Each match
is the best there is for its level, so the sum never falls; it ends where no level can gain. That need not be the best there
is for all levels together, and depends on where it starts: from the order there is, which suits a training that went on from
the old codewords, and from a match level by level from the top, which suits one that did not. The better end counts, so
that it is no worse than either.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from shelfcode.semantic_id import shared_depth

Names = tuple[NDArray[np.int64], ...]
"""Of each level, int64[K]: the number that each of its codewords gets."""

MOST_ROUNDS = 20


def align_codewords(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], sizes: Sequence[int]) -> Names:
    """New numbers for the codewords of a retrained quantizer.

    Args:
        old_NL, new_NL: codes of the same products before and after, of any two numbers of levels; those that both have are aligned.
            Old codes of -1 are none.
        sizes: codewords a level of the new quantizer.

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
    """Each level matched once, without a look at those below."""
    matched = list(names)
    for level in range(levels):
        matched[level] = _match(_weights(old_NL, new_NL, matched, level, level + 1))
    return tuple(matched)


def _improve(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], levels: int) -> Names:
    """Each level matched anew with the others held, until no level can gain."""
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
    """Codes in the new names: int64[N, L]."""
    return np.stack([name_K[codes_NL[:, level]] for level, name_K in enumerate(names)], axis=1)


def _weights(
    old_NL: NDArray[np.integer], new_NL: NDArray[np.integer], names: Sequence[NDArray[np.int64]], level: int, levels: int
) -> NDArray[np.float64]:
    """What it is worth to give each new codeword of a level each number: float64[K, K].

    Levels kept come first. What is left open by them is settled by the products that have both codes under whatever prefix, and
    then by the order there is.
    """
    size = len(names[level])
    same_NL = old_NL[:, :levels] == rename(new_NL, names)[:, :levels]
    reached_N = same_NL[:, :level].all(axis=1)
    gained_N = reached_N * (1 + np.cumprod(same_NL[:, level + 1 :], axis=1).sum(axis=1))
    nameable_N = (old_NL[:, level] >= 0) & (old_NL[:, level] < size)  # of a codebook that has become smaller some numbers are gone
    pair_N = new_NL[nameable_N, level].astype(np.int64) * size + old_NL[nameable_N, level]
    gained_KK, together_KK = (
        np.bincount(pair_N, weight_N, size * size).reshape(size, size) for weight_N in (gained_N[nameable_N], np.ones(len(pair_N)))
    )
    # All products together weigh less than one kept level, and the order less than one product.
    return gained_KK + together_KK / (2 * len(old_NL) + 1) + np.eye(size) / (4 * size * (2 * len(old_NL) + 1))


def _match(weight_KK: NDArray[np.float64]) -> NDArray[np.int64]:
    _, name_K = linear_sum_assignment(weight_KK, maximize=True)
    return name_K.astype(np.int64)
