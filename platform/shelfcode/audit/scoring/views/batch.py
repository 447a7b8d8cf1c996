"""Products as the views read them: what is computed once per batch."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.scores import BEST_LEAVES

LEAST_P = 1e-6
"""No leaf has a lower probability in any view: the logarithm is never of zero, and one view alone cannot rule a leaf out."""


@dataclass(frozen=True)
class Batch:
    """B products.

    Attributes:
        fold_B: int8, the fold that each belongs to.
        x_BD: float32, of unit norm.
        words_BG: tf-idf weights of hashed grams, rows of unit norm; None where words are no view.
        codes: codes in each flavor: uint16[B, L].
        nearest_BJ: int64, fitted products, nearest first, -1 where there are fewer.
        cosine_BJ: float32, 0 where there are fewer.
        asked_BJ: which of them may be asked: those with another text.
    """

    fold_B: NDArray[np.int8]
    x_BD: NDArray[np.float32]
    words_BG: csr_matrix | None
    codes: tuple[NDArray[np.uint16], ...]
    nearest_BJ: NDArray[np.int64]
    cosine_BJ: NDArray[np.float32]
    asked_BJ: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.fold_B)


def rows_of(batch: Batch, rows: NDArray[np.integer]) -> Batch:
    """Some products of a batch."""
    return replace(
        batch, fold_B=batch.fold_B[rows], x_BD=batch.x_BD[rows], words_BG=None if batch.words_BG is None else batch.words_BG[rows],
        codes=tuple(codes[rows] for codes in batch.codes), nearest_BJ=batch.nearest_BJ[rows], cosine_BJ=batch.cosine_BJ[rows],
        asked_BJ=batch.asked_BJ[rows],
    )  # fmt: skip


def rows_of_each(value_B: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """The rows of each value that occurs, values rising."""
    order_B = np.argsort(value_B, kind="stable")
    return [rows for rows in np.split(order_B, np.flatnonzero(np.diff(value_B[order_B])) + 1) if len(rows)]


class FittedView(Protocol):
    """A view, fitted: it knows the labels of the fitted products, and leaves those of a product's own fold, or of itself, out."""

    @property
    def name(self) -> str: ...

    def log_posterior(self, batch: Batch) -> NDArray[np.float32]:
        """Logarithm of the probability of each leaf: float32[B, U], over the leaves that are in use."""
        ...


def log_probabilities(p_BU: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logarithms of probabilities, of which none is taken for less than LEAST_P."""
    leaves = p_BU.shape[1]
    return np.log(p_BU * (1 - LEAST_P * min(leaves, 1000)) + LEAST_P).astype(np.float32)


def log_softmax(z_BU: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scores as logarithms of probabilities."""
    z_BU = z_BU - z_BU.max(axis=1, keepdims=True)
    return (z_BU - np.log(np.exp(z_BU).sum(axis=1, keepdims=True))).astype(np.float32)


def best_leaves(log_p_BU: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The likeliest leaves, best first, and their probabilities: [B, K], K up to BEST_LEAVES."""
    count = min(BEST_LEAVES, log_p_BU.shape[1])
    best_BK = np.argpartition(-log_p_BU, count - 1, axis=1)[:, :count]
    log_p_BK = np.take_along_axis(log_p_BU, best_BK, axis=1)
    order_BK = np.argsort(-log_p_BK, axis=1, kind="stable")
    return np.take_along_axis(best_BK, order_BK, axis=1), np.exp(np.take_along_axis(log_p_BK, order_BK, axis=1))
