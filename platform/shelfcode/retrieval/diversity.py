"""Lists whose products are not all alike: each place is given to the product that is worth most, less what it repeats.

Maximal marginal relevance (Carbonell & Goldstein 1998), with the semantic ID as the likeness: two products are as alike as their IDs share
levels. Scores are logarithms of probabilities up to a constant, so a diversity of 1 means that a product which shares its whole ID with one
further up must be e times as probable to keep its place, and one that shares half of the levels the root of that.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list, C candidates, L levels.

import numpy as np
from numpy.typing import NDArray

from shelfcode.retrieval.lists import Lists


def spread(lists: Lists, codes_NL: NDArray[np.integer], k_R: NDArray[np.int64], diversity_R: NDArray[np.float32]) -> Lists:
    """The first k of each list by score less diversity times the largest share of levels that a product has with one before it.

    Args:
        lists: more candidates than are wanted, or there is nothing to choose from.
        diversity_R: 0 leaves a list as it is, cut after k.
    """
    most = int(k_R.max(initial=0))
    products_RK, scores_RK = lists.products_RK[:, :most].copy(), lists.scores_RK[:, :most].copy()
    for row, (k, diversity) in enumerate(zip(k_R.tolist(), diversity_R.tolist(), strict=True)):
        if diversity > 0:
            product_C = lists.products_RK[row][lists.products_RK[row] >= 0]
            chosen = _chosen(codes_NL[product_C], lists.scores_RK[row, : len(product_C)], k, diversity)
            products_RK[row], scores_RK[row] = -1, -np.inf
            products_RK[row, : len(chosen)], scores_RK[row, : len(chosen)] = product_C[chosen], lists.scores_RK[row][chosen]
        products_RK[row, k:], scores_RK[row, k:] = -1, -np.inf
    return Lists(products_RK, scores_RK)


def _chosen(codes_CL: NDArray[np.integer], score_C: NDArray[np.float32], k: int, diversity: float) -> list[int]:
    """The candidates that are taken, in the order in which they are."""
    left_C, repeated_C, chosen = score_C.astype(np.float64), np.zeros(len(score_C)), []
    for _ in range(min(k, len(score_C))):
        best = int(np.argmax(left_C - diversity * repeated_C))
        chosen.append(best)
        left_C[best] = -np.inf
        shared_C = np.minimum.accumulate(codes_CL == codes_CL[best], axis=1).mean(1)
        repeated_C = np.maximum(repeated_C, shared_C)
    return chosen
