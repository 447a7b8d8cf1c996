"""The views of the nearest products: how they are labelled, and what the other views say that they are.

A neighbour's weight falls by e with every `width` that its cosine is below the first one's. A neighbour with the same text is not asked:
it may be a copy with the same mistake. The second view weighs what the networks found of the neighbours, in place of their labels: a wrong
label of a neighbour then does no harm. It asks the networks of the product's own fold, not of the neighbour's: those have learnt from the
product's own label, and repeat it when they are asked about what is like it.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.views.batch import Batch, log_probabilities, rows_of

PRIOR = 1.0
"""Beside labels, the catalog's own shares of leaves weigh as much as one neighbour at the distance of the first."""


@dataclass(frozen=True)
class NeighbourView:
    """What is known of each fitted product's leaf: its label, or a sparse posterior, whose rows may add up to less than one.

    Attributes:
        known: [M, U], one per fold of those who ask; or one for all of them.
        base_FU: shares of the leaves among the products that are not of a fold.
        prior: how much these shares count, in neighbours.
    """

    name: str
    known: tuple[csr_matrix, ...]
    base_FU: NDArray[np.float32]
    width: float
    prior: float

    def log_posterior(self, batch: Batch) -> NDArray[np.float32]:
        """The weighted mean over the neighbours: float32[B, U]."""
        if len(self.known) == 1:
            return self._asked(self.known[0], batch)
        log_p_BU = np.empty((len(batch), self.base_FU.shape[1]), np.float32)
        for fold, known_MU in enumerate(self.known):
            rows = np.flatnonzero(batch.fold_B == fold)
            if len(rows):
                log_p_BU[rows] = self._asked(known_MU, rows_of(batch, rows))
        return log_p_BU

    def _asked(self, known_MU: csr_matrix, batch: Batch) -> NDArray[np.float32]:
        weight_BJ = neighbour_weights(batch, self.width)
        products, neighbours = batch.nearest_BJ.shape
        start_B = np.arange(0, products * neighbours + 1, neighbours)
        weights_BM = csr_matrix((weight_BJ.ravel(), batch.nearest_BJ.clip(min=0).ravel(), start_B), (products, known_MU.shape[0]))
        votes_BU = (weights_BM @ known_MU).toarray()
        missing_B1 = np.maximum(1e-6, self.prior + weight_BJ.sum(axis=1, keepdims=True) - votes_BU.sum(axis=1, keepdims=True))
        votes_BU += missing_B1 * self.base_FU[batch.fold_B]
        return log_probabilities(votes_BU / votes_BU.sum(axis=1, keepdims=True))


def neighbour_weights(batch: Batch, width: float) -> NDArray[np.float32]:
    """How much each neighbour counts: float32[B, J], 1 for the nearest that is asked, 0 for those that are not."""
    cosine_BJ = np.where(batch.asked_BJ, batch.cosine_BJ, -np.inf)
    best_B1 = cosine_BJ.max(axis=1, keepdims=True, initial=-1.0)
    return np.where(batch.asked_BJ, np.exp((np.where(batch.asked_BJ, cosine_BJ, 0) - best_B1) / width), 0).astype(np.float32)


def labels_known(label_M: NDArray[np.integer], leaves: int) -> csr_matrix:
    """Labels as sparse posteriors: [M, U], an empty row where there is none."""
    has = np.flatnonzero(label_M >= 0)
    return csr_matrix((np.ones(len(has), np.float32), (has, label_M[has])), (len(label_M), leaves), dtype=np.float32)


def posteriors_known(best_MK: NDArray[np.integer], p_MK: NDArray[np.floating], leaves: int) -> csr_matrix:
    """The likeliest leaves of each fitted product as sparse posteriors: [M, U]."""
    rows = np.repeat(np.arange(len(best_MK)), best_MK.shape[1])
    return csr_matrix((p_MK.ravel().astype(np.float32), (rows, best_MK.ravel())), (len(best_MK), leaves), dtype=np.float32)
