"""Vectors of products before training: half of each says what it is bought with, the other half what it is.

From random vectors a transformer over product IDs needs a hundred epochs to learn what a matrix of counts and a table of embeddings have
ready: that products bought together, or described alike, are near each other.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here G groups, N products, D width, E dimensions of an embedding.

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from shelfcode.interactions.session_log import SessionLog
from shelfcode.retrieval.cooccurrence import products_of_groups

ITERATIONS, ROWS_AT_A_TIME = 3, 65_536


def start_vectors(log: SessionLog, train_S: NDArray[np.bool_], x_NE: NDArray[np.float32], width: int, seed: int) -> NDArray[np.float32]:
    """Both halves side by side, of root mean square 1: float32[N, D]; 0 in the first half of products that were never sold."""
    half = width // 2
    return np.concatenate([spectral_vectors(log, train_S, len(x_NE), half, seed), text_vectors(x_NE, width - half)], axis=1)


def text_vectors(x_NE: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The leading principal components of embeddings: float32[N, D]."""
    mean_E: NDArray[np.float64] = np.mean(x_NE, axis=0, dtype=np.float64)
    covariance_EE = np.zeros((len(mean_E), len(mean_E)))
    for first in range(0, len(x_NE), ROWS_AT_A_TIME):
        part_BE = x_NE[first : first + ROWS_AT_A_TIME] - mean_E
        covariance_EE += part_BE.T @ part_BE
    axes_ED = np.linalg.eigh(covariance_EE)[1][:, ::-1][:, :width]
    vectors_ND = np.zeros((len(x_NE), width), np.float32)
    for first in range(0, len(x_NE), ROWS_AT_A_TIME):
        vectors_ND[first : first + ROWS_AT_A_TIME, : axes_ED.shape[1]] = (x_NE[first : first + ROWS_AT_A_TIME] - mean_E) @ axes_ED
    return _evened(vectors_ND)


def spectral_vectors(log: SessionLog, train_S: NDArray[np.bool_], products: int, width: int, seed: int) -> NDArray[np.float32]:
    """The leading singular vectors of the normalised matrix of sessions and products: float32[N, D]; 0 for products never sold.

    Groups are sessions, or users where the order means something: X[g, n] = 1 / sqrt(products of g * groups of n), of which X^T X is a
    cosine of products (Sarwar et al. 2001), weighted by how little else is in the group.
    """
    x_GN: Any = products_of_groups(log, train_S, products)
    length_G, sold_N = np.maximum(x_GN.sum(1), 1), np.maximum(x_GN.sum(0), 1)
    x_GN = sparse.csr_array(sparse.diags_array(length_G**-0.5) @ x_GN @ sparse.diags_array(sold_N**-0.5))
    rank = min(width, min(x_GN.shape) - 1)
    vectors_ND = np.zeros((products, width), np.float32)
    if rank < 1:
        return vectors_ND
    _, value_D, right_DN = randomized_svd(x_GN, rank, n_iter=ITERATIONS, random_state=seed)
    vectors_ND[:, :rank] = (right_DN * value_D[:, None]).T * sold_N[:, None] ** 0.5
    return _evened(vectors_ND)


def _evened(vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors whose lengths differ less (by the root of what they did), of root mean square 1."""
    length_N = np.linalg.norm(vectors_ND, axis=1)
    some_N = length_N > 0
    vectors_ND[some_N] /= length_N[some_N, None] ** 0.5
    return vectors_ND / max(1e-9, float(np.sqrt(np.square(vectors_ND[some_N]).mean()))) if some_N.any() else vectors_ND
