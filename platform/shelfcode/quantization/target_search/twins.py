"""The last level: near-twins share a codeword, and whatever else shares their prefix gets another.

Within each prefix the products are clustered by average linkage of their cosines (Sokal and Michener 1958), cut at a cosine: unlike
products share an ID only where a prefix has more clusters than there are codewords. Each cluster is then given a codeword of its own, so
that the squared distances of products to their codewords are the least in all (an assignment problem; Crouse 2016, which
`scipy.optimize.linear_sum_assignment` implements).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import average, fcluster
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from shelfcode.quantization.codebook import nearest
from shelfcode.quantization.target_search.moves import means

NO_CODE = -1
"""Of a product that has no code to keep."""

ROUNDS = 2
"""Clusters get codewords, codewords move to the mean of their products, and so again."""

MOST_COMPARED = 2000
"""Distinct products of a prefix that are compared with each other; a prefix with more keeps the nearest codewords of its products."""

ROWS_READ = 65_536
"""Embeddings read from disk at a time, and more only for a prefix that has more."""


def twin_codes(
    x_ME: NDArray[np.float32], copy_M: NDArray[np.int64], prefix_M: NDArray[np.int64], cosine: float, residual_MD: Tensor,
    codewords_KD: Tensor, held_M: NDArray[np.int64],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Codes of the last level, int64[M], and the codewords that they leave, float[K, D].

    Args:
        x_ME: embeddings, of unit norm, in memory or memory-mapped.
        copy_M: the first product that has the same embedding (`first_copies`).
        prefix_M: a number for the codes above the last level.
        cosine: near-twins have at least this mean cosine.
        residual_MD: what the codewords above leave over of each product.
        codewords_KD: of k-means, or of the parent.
        held_M: the parent's code of products that have kept all codes above, NO_CODE for the others. A cluster keeps the code of its first
            product that holds one, unless a larger cluster of its prefix keeps it.
    """
    code_M = nearest(residual_MD, codewords_KD)
    cluster_M, prefix_C = twin_clusters(x_ME, copy_M, prefix_M, cosine, code_M.cpu().numpy())
    cluster, size_C = torch.from_numpy(cluster_M).to(residual_MD.device), np.bincount(cluster_M)
    centre_CD = means(residual_MD, cluster, residual_MD.new_zeros(len(prefix_C), residual_MD.shape[1]))
    held_C = np.full(len(prefix_C), NO_CODE)
    holding_H = np.flatnonzero(held_M != NO_CODE)[::-1]
    held_C[cluster_M[holding_H]] = held_M[holding_H]
    for _ in range(ROUNDS):
        code_C = codes_of_clusters(centre_CD, size_C, prefix_C, codewords_KD, held_C)
        code_M = torch.from_numpy(code_C).to(residual_MD.device)[cluster]
        codewords_KD = means(residual_MD, code_M, codewords_KD)
    return code_M, codewords_KD


def twin_clusters(
    x_ME: NDArray[np.float32], copy_M: NDArray[np.int64], prefix_M: NDArray[np.int64], cosine: float, otherwise_M: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Clusters within each prefix: the cluster of each product, int64[M], numbered over all prefixes, and the prefix of each, int64[C].

    Args:
        x_ME, copy_M, prefix_M, cosine: as in `twin_codes`.
        otherwise_M: clusters within the prefix for a prefix with too many products to be compared.
    """
    within_M = np.zeros(len(prefix_M), np.int64)
    for rows_G, x_GE in _prefixes(x_ME, prefix_M):
        _, first_U, number_G = np.unique(copy_M[rows_G], return_index=True, return_inverse=True)
        if len(first_U) > MOST_COMPARED:
            within_M[rows_G] = otherwise_M[rows_G]
        elif len(first_U) > 1:
            within_M[rows_G] = _linked(x_GE[first_U], cosine)[number_G]
    both, cluster_M = np.unique(np.stack([prefix_M, within_M], axis=1), axis=0, return_inverse=True)
    return cluster_M.ravel(), both[:, 0]


def _prefixes(x_ME: NDArray[np.float32], prefix_M: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Positions and embeddings of the products of each prefix that has two or more; many prefixes are read at a time."""
    order_M = np.argsort(prefix_M, kind="stable")
    begin_G = np.flatnonzero(np.diff(prefix_M[order_M], prepend=-1))
    end_G = np.append(begin_G[1:], len(order_M))
    group = 0
    while group < len(end_G):
        first = begin_G[group]
        beyond = max(group + 1, int(np.searchsorted(end_G, first + ROWS_READ, side="right")))
        x_BE = x_ME[order_M[first : end_G[beyond - 1]]]
        for begin, end in zip(begin_G[group:beyond], end_G[group:beyond], strict=True):
            if end - begin > 1:
                yield order_M[begin:end], x_BE[begin - first : end - first]
        group = beyond


def _linked(x_GE: NDArray[np.float32], cosine: float) -> NDArray[np.int64]:
    """Clusters by average linkage: int64[G]."""
    distance_P = np.clip(1 - x_GE @ x_GE.T, 0, None)[np.triu_indices(len(x_GE), 1)]
    clusters_G: NDArray[np.int64] = fcluster(average(distance_P), 1 - cosine, "distance").astype(np.int64)
    return clusters_G


def codes_of_clusters(
    centre_CD: Tensor, size_C: NDArray[np.integer], prefix_C: NDArray[np.int64], codewords_KD: Tensor, held_C: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The codeword of each cluster, each its own within a prefix as far as there are codewords: int64[C].

    Args:
        size_C: products of each cluster. Where a prefix has more clusters than there are codewords, the largest get one of their own, and
            the others share the nearest.
        prefix_C: in rising order.
        held_C: the codeword that a cluster should keep, or NO_CODE.
    """
    code_C: NDArray[np.int64] = np.where(held_C == NO_CODE, nearest(centre_CD, codewords_KD).cpu().numpy(), held_C)
    end_G = np.append(np.flatnonzero(np.diff(prefix_C)) + 1, len(prefix_C))
    for begin, end in zip(np.append(0, end_G[:-1]), end_G, strict=True):
        if len(np.unique(code_C[begin:end])) == end - begin:
            continue  # each has the codeword that suits it best
        largest_A = begin + np.argsort(-size_C[begin:end], kind="stable")[: len(codewords_KD)]
        cost_AK = torch.cdist(centre_CD[largest_A], codewords_KD).square().cpu().numpy()
        holding_A = np.flatnonzero(held_C[largest_A] != NO_CODE)
        cost_AK[holding_A, held_C[largest_A[holding_A]]] -= cost_AK.max()  # whatever it costs, before all that hold none
        chosen_A, code_A = linear_sum_assignment(cost_AK * size_C[largest_A, None])
        code_C[largest_A[chosen_A]] = code_A
    return code_C
