"""Whether a product is thought to be what the other products of a label are thought to be.

A posterior spreads over all labels that mean the same: a lemonade is half one shop's "Soft drinks" and half another's "Beverages", under
whichever of the two it is filed. So products are compared by their whole posteriors: the cosine between a product's own and each of those
of a label's products, on the mean. Products of the asking product's fold are left out.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from shelfcode.audit.scoring.views.batch import best_leaves
from shelfcode.audit.scoring.views.neighbours import posteriors_known
from shelfcode.audit.scoring.views.prefixes import sizes_elsewhere


@dataclass(frozen=True)
class Kinship:
    """Posteriors of V views, side by side, summed over products.

    Attributes:
        sum_F: one per fold: those of each of U leaves' products in other folds, [U, V * U].
        size_FU: how many products these are.
    """

    sum_F: tuple[csr_matrix, ...]
    size_FU: NDArray[np.float32]

    def measure(self, posterior_BE: csr_matrix, fold_B: NDArray[np.int8], label_B: NDArray[np.integer]) -> NDArray[np.float32]:
        """The mean cosine with a label's products, summed over views: float32[B]; 0 where it has none in another fold."""
        found_B = np.empty(len(fold_B), np.float32)
        for fold, sum_UE in enumerate(self.sum_F):
            rows = np.flatnonzero(fold_B == fold)
            cosine_R = np.asarray(posterior_BE[rows].multiply(sum_UE[label_B[rows]]).sum(axis=1)).ravel()
            found_B[rows] = cosine_R / self.size_FU[fold, label_B[rows]].clip(min=1)
        return found_B


def fit_kinship(posterior_ME: csr_matrix, label_M: NDArray[np.integer], fold_M: NDArray[np.int8], leaves: int, folds: int) -> Kinship:
    """Sums the posteriors of each leaf's products.

    Args:
        posterior_ME: see `likely_leaves`.
        label_M: a leaf's number among those in use, -1 where there is none.
    """
    sums = []
    for fold in range(folds):
        rows = np.flatnonzero((label_M >= 0) & (fold_M != fold))
        of_leaf = csr_matrix((np.ones(len(rows), np.float32), (label_M[rows], rows)), (leaves, len(label_M)))
        sums.append(csr_matrix(of_leaf @ posterior_ME))
    return Kinship(tuple(sums), sizes_elsewhere(label_M, fold_M, leaves, folds))


def likely_leaves(log_p_VBU: Sequence[NDArray[np.float32]]) -> csr_matrix:
    """The likeliest leaves of each product by each view, views side by side, each of unit norm: [B, V * U]."""
    parts = []
    for log_p_BU in log_p_VBU:
        best_BK, p_BK = best_leaves(log_p_BU)
        parts.append(posteriors_known(best_BK, p_BK / np.linalg.norm(p_BK, axis=1, keepdims=True), log_p_BU.shape[1]))
    return csr_matrix(hstack(parts, format="csr"))
