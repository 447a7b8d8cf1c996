"""The view of a flavor's codes: what the other products under each prefix are labelled, from the root down.

The posterior of a prefix is its own counts, shrunk towards the posterior of the prefix above it: p = (n_leaf + s * p_above) / (n + s). Of a
product's own fold nothing is counted, so that neither its label nor that of a copy speaks for it.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.views.batch import Batch, log_probabilities
from shelfcode.keys import KeyIndex, index_keys


@dataclass(frozen=True)
class PrefixLevel:
    """The prefixes of one length: which there are, and how often each leaf occurs under each in each fold.

    Attributes:
        place: prefix as one number -> its place.
        counts_QU: sparse, how often each label occurs; row `place * (folds + 1) + fold`, and behind the folds their sum.
        products_Q: the sum of each row.
    """

    place: KeyIndex
    counts_QU: csr_matrix
    products_Q: NDArray[np.float32]


@dataclass(frozen=True)
class PrefixView:
    """Counts under every prefix of one flavor; `size_FU` is how many products of other folds each leaf has."""

    name: str
    which: int
    base_FU: NDArray[np.float32]
    size_FU: NDArray[np.float32]
    levels: tuple[PrefixLevel, ...]
    strength: float

    def log_posterior(self, batch: Batch) -> NDArray[np.float32]:
        """The posterior of each product's whole code: float32[B, U]."""
        p_BU, folds = self.base_FU[batch.fold_B], len(self.base_FU)
        for level, key_B in zip(self.levels, prefix_keys(batch.codes[self.which]), strict=True):
            place_B = level.place.get(key_B)
            known = np.flatnonzero(place_B >= 0)
            first_B = place_B[known] * (folds + 1)
            count_BU = (level.counts_QU[first_B + folds] - level.counts_QU[first_B + batch.fold_B[known]]).toarray()
            p_BU[known] = (count_BU + self.strength * p_BU[known]) / (count_BU.sum(axis=1, keepdims=True) + self.strength)
        return log_probabilities(p_BU)


def fit_prefixes(
    flavor: str, which: int, codes_ML: NDArray[np.uint16], label_M: NDArray[np.integer], fold_M: NDArray[np.integer],
    leaves: int, folds: int, strength: float,
) -> PrefixView:  # fmt: skip
    """Counts the labels under every prefix.

    Args:
        which: the flavor's place among a batch's codes.
        label_M: a leaf's number among those in use, -1 where there is none.
    """
    has = label_M >= 0
    base_FU = shares_elsewhere(label_M, fold_M, leaves, folds)
    levels = []
    for key_M in prefix_keys(codes_ML):
        place = index_keys(np.unique(key_M))
        first_M = place.get(key_M)[has] * (folds + 1)
        rows, columns = np.concatenate([first_M + fold_M[has], first_M + folds]), np.tile(label_M[has], 2)
        counts = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(place) * (folds + 1), leaves), dtype=np.float32)
        levels.append(PrefixLevel(place, counts, np.asarray(counts.sum(axis=1), np.float32).ravel()))
    size_FU = sizes_elsewhere(label_M, fold_M, leaves, folds)
    return PrefixView(f"prefixes:{flavor}", which, base_FU, size_FU, tuple(levels), strength)


def shares_elsewhere(label_M: NDArray[np.integer], fold_M: NDArray[np.integer], leaves: int, folds: int) -> NDArray[np.float32]:
    """Share of each leaf among the products that are not of a fold, as if each had half a product more: float32[F, U]."""
    elsewhere_FU = sizes_elsewhere(label_M, fold_M, leaves, folds) + np.float32(0.5)
    return (elsewhere_FU / elsewhere_FU.sum(axis=1, keepdims=True)).astype(np.float32)


def sizes_elsewhere(label_M: NDArray[np.integer], fold_M: NDArray[np.integer], leaves: int, folds: int) -> NDArray[np.float32]:
    """Products of each leaf that are not of a fold: float32[F, U]."""
    has = label_M >= 0
    per_fold_FU = np.zeros((folds, leaves), np.float32)
    np.add.at(per_fold_FU, (fold_M[has], label_M[has]), 1)
    return per_fold_FU.sum(axis=0) - per_fold_FU


def prefix_keys(codes_BL: NDArray[np.uint16]) -> list[NDArray[np.uint64]]:
    """The prefixes of every length as numbers, which differ where prefixes of one length do: uint64[B] a level."""
    keys, key_B = [], np.zeros(len(codes_BL), np.uint64)
    for level in range(codes_BL.shape[1]):
        key_B = key_B * np.uint64(65_521) + codes_BL[:, level].astype(np.uint64)
        keys.append(key_B)
    return keys
