"""What a product and one label of it look like to the ranker: some forty numbers."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from shelfcode.audit.scoring.typicality import Typicality
from shelfcode.audit.scoring.views.batch import LEAST_P, Batch

NEAREST_FEW = 5
SHRINK = 5
MOST_LEAVES = 1_000


@dataclass(frozen=True)
class Panel:
    """What all views say of B products, whatever their labels are.

    Attributes:
        log_p_VBU: of each view.
        pooled_BU: pooled log-posterior.
    """

    batch: Batch
    log_p_VBU: NDArray[np.float32]
    pooled_BU: NDArray[np.float32]


@dataclass(frozen=True)
class LeafFacts:
    """What is known of the U leaves in use, from the fitted products.

    Attributes:
        ancestors_UD: nodes of each leaf's path, -1 beyond its end.
        parent_U: the node above, -1 for none.
        size_U: products.
        hardness_FU: the mean pooled log-probability of a leaf's own products, those of one fold left out.
        mistaken_FUU: logarithm of the share of one leaf's products that look most like another, those of one fold left out; None where
            there are too many leaves for a table.
        label_M: label of each fitted product, -1 for none.
        centre_FUD: the mean embedding of a leaf's products, those of one fold left out, as a unit vector; zero where there is none.
        typicality: None where it does not count.
    """

    ancestors_UD: NDArray[np.int32]
    parent_U: NDArray[np.int32]
    size_U: NDArray[np.float64]
    hardness_FU: NDArray[np.float32]
    mistaken_FUU: NDArray[np.float32] | None
    label_M: NDArray[np.int32]
    centre_FUD: NDArray[np.float16]
    typicality: Typicality | None


OWN_FEATURES = (
    "log_p", "margin", "rank", "entropy", "best_p", "department_p", "parent_p", "shared_depth", "sibling", "views_for", "views_against",
    "lowest_log_p", "highest_log_p", "size", "other_size", "hardness", "other_hardness", "mistaken", "mistaken_back", "neighbours_few",
    "neighbours_all", "centre_cosine", "centre_margin", "nearest_cosine", "nearest_of_label", "nearest_other",
)  # fmt: skip
VIEW_FEATURES = ("log_p", "margin", "rank", "department_p", "entropy")
TYPICAL = slice(-3, None)
"""Columns of typicality's three measures; zero where it does not count."""


def features_of(panel: Panel, label_B: NDArray[np.integer], facts: LeafFacts) -> NDArray[np.float32]:
    """Features of each product under a label: float32[B, F], the columns of OWN_FEATURES, those of VIEW_FEATURES a view, then TYPICAL."""
    rows = np.arange(len(label_B))
    pooled_BU = panel.pooled_BU
    p_BU = np.exp(pooled_BU)
    given_B = pooled_BU[rows, label_B]
    other_B, best_B = _best_other(pooled_BU, label_B)
    top_VB = panel.log_p_VBU.argmax(axis=2)
    given_VB = panel.log_p_VBU[:, rows, label_B]
    ancestors_BD = facts.ancestors_UD[label_B]
    shared_B = ((ancestors_BD == facts.ancestors_UD[best_B]) & (ancestors_BD >= 0)).sum(axis=1)
    sibling_B = (facts.parent_U[label_B] == facts.parent_U[best_B]) & (facts.parent_U[label_B] >= 0)
    mistaken_B = back_B = np.zeros(len(rows))  # where it is not known; a column without a single number cannot be learnt from
    fold_B = panel.batch.fold_B
    if facts.mistaken_FUU is not None:
        mistaken_B, back_B = facts.mistaken_FUU[fold_B, label_B, best_B], facts.mistaken_FUU[fold_B, best_B, label_B]
    columns = [
        given_B, other_B - given_B, np.log1p((pooled_BU > given_B[:, None]).sum(axis=1)), -(p_BU * pooled_BU).sum(axis=1), p_BU.max(axis=1),
        _node_log_p(p_BU, facts.ancestors_UD[:, 0], label_B), _node_log_p(p_BU, facts.parent_U, label_B), shared_B, sibling_B,
        (top_VB == label_B).sum(axis=0), (top_VB == best_B).sum(axis=0), given_VB.min(axis=0), given_VB.max(axis=0),
        np.log1p(facts.size_U[label_B]), np.log1p(facts.size_U[best_B]), facts.hardness_FU[fold_B, label_B],
        facts.hardness_FU[fold_B, best_B],
        mistaken_B, back_B, *_neighbour_features(panel.batch, label_B, facts),
    ]  # fmt: skip
    for log_p_BU, given_view_B in zip(panel.log_p_VBU, given_VB, strict=True):
        p_view_BU = np.exp(log_p_BU)
        columns += [
            given_view_B,
            _best_other(log_p_BU, label_B)[0] - given_view_B,
            np.log1p((log_p_BU > given_view_B[:, None]).sum(axis=1)),
            _node_log_p(p_view_BU, facts.ancestors_UD[:, 0], label_B),
            -(p_view_BU * log_p_BU).sum(axis=1),
        ]
    nothing = np.zeros(len(rows), np.float32)
    columns += facts.typicality.measures(panel.batch, panel.log_p_VBU, label_B) if facts.typicality else [nothing] * 3
    return np.stack(columns, axis=1).astype(np.float32)


def centres(
    x_MD: NDArray[np.float32], label_M: NDArray[np.integer], fold_M: NDArray[np.integer], folds: int, leaves: int
) -> NDArray[np.float16]:
    """The mean of each leaf's products, without those of each fold, as unit vectors: float16[F, U, D]; label_M is -1 for no leaf."""
    rows = np.flatnonzero(label_M >= 0)
    place = csr_matrix((np.ones(len(rows), np.float32), (label_M[rows] * folds + fold_M[rows], rows)), (leaves * folds, len(x_MD)))
    sum_UFD = np.asarray(place @ x_MD, np.float32).reshape(leaves, folds, -1)
    elsewhere_FUD = (sum_UFD.sum(axis=1, keepdims=True) - sum_UFD).transpose(1, 0, 2)
    length_FU1 = np.linalg.norm(elsewhere_FUD, axis=2, keepdims=True)
    return (elsewhere_FUD / np.where(length_FU1 > 1e-4, length_FU1, np.inf)).astype(np.float16)


def _centre_features(batch: Batch, label_B: NDArray[np.integer], centre_FUD: NDArray[np.float16]) -> list[NDArray[np.floating]]:
    """The cosine with the centre of the label, and how much higher that with the centre of the best other leaf is."""
    own_B, margin_B = np.empty(len(batch), np.float32), np.empty(len(batch), np.float32)
    for fold in range(len(centre_FUD)):
        rows = np.flatnonzero(batch.fold_B == fold)
        if len(rows):
            cosine_RU = batch.x_BD[rows] @ centre_FUD[fold].astype(np.float32).T
            place = np.arange(len(rows))
            own_B[rows] = cosine_RU[place, label_B[rows]]
            cosine_RU[place, label_B[rows]] = -1
            margin_B[rows] = cosine_RU.max(axis=1) - own_B[rows]
    return [own_B, margin_B]


def hardness(
    label_M: NDArray[np.integer], log_p_M: NDArray[np.floating], fold_M: NDArray[np.integer], folds: int, leaves: int
) -> NDArray[np.float32]:
    """The mean log-probability of each leaf's own products, shrunk, without those of each fold: float32[F, U]."""
    sum_FU, count_FU = np.zeros((folds, leaves)), np.zeros((folds, leaves))
    np.add.at(sum_FU, (fold_M, label_M), log_p_M)
    np.add.at(count_FU, (fold_M, label_M), 1)
    sum_FU, count_FU = sum_FU.sum(axis=0) - sum_FU, count_FU.sum(axis=0) - count_FU
    return ((sum_FU + SHRINK * log_p_M.mean()) / (count_FU + SHRINK)).astype(np.float32)


def mistaken_shares(
    label_M: NDArray[np.integer], best_M: NDArray[np.integer], fold_M: NDArray[np.integer], folds: int, leaves: int
) -> NDArray[np.float32] | None:
    """Logarithm of the share of one leaf's products that look most like another, without those of each fold: float32[F, U, U]."""
    if leaves > MOST_LEAVES:
        return None
    count_FUU = np.zeros((folds, leaves, leaves), np.float32)
    np.add.at(count_FUU, (fold_M, label_M, best_M), 1)
    count_FUU = count_FUU.sum(axis=0) - count_FUU
    return np.log((count_FUU + 1 / leaves) / (count_FUU.sum(axis=2, keepdims=True) + 1))


def _best_other(log_p_BU: NDArray[np.float32], label_B: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The likeliest leaf but for the label, its log-probability first."""
    rows = np.arange(len(label_B))
    others_BU = log_p_BU.copy()
    others_BU[rows, label_B] = -np.inf
    best_B = others_BU.argmax(axis=1)
    return others_BU[rows, best_B].clip(min=np.log(LEAST_P) * 4), best_B


def _node_log_p(p_BU: NDArray[np.float32], node_U: NDArray[np.integer], label_B: NDArray[np.integer]) -> NDArray[np.float32]:
    """Log-probability of the node above the label: all leaves that have the same one, or the leaf alone where it has none."""
    own_U = np.where(node_U >= 0, node_U, node_U.max(initial=0) + 1 + np.arange(len(node_U)))
    _, group_U = np.unique(own_U, return_inverse=True)
    order_U = np.argsort(group_U, kind="stable")
    first_G = np.searchsorted(group_U[order_U], np.arange(group_U.max() + 1))
    p_BG = np.add.reduceat(p_BU[:, order_U], first_G, axis=1)
    return np.log(p_BG[np.arange(len(label_B)), group_U[label_B]].clip(LEAST_P * 1e-3, 1))


def _neighbour_features(batch: Batch, label_B: NDArray[np.integer], facts: LeafFacts) -> list[NDArray[np.floating]]:
    """Shares of the nearest that have the label; the nearest cosine; how much lower that of the label's own and of another's nearest is."""
    label_BJ = np.where(batch.asked_BJ, facts.label_M[batch.nearest_BJ.clip(min=0)], -1)
    same_BJ, has_BJ = label_BJ == label_B[:, None], label_BJ >= 0
    cosine_BJ = np.where(has_BJ, batch.cosine_BJ, -1.0)
    nearest_B = cosine_BJ.max(axis=1, initial=-1.0)
    same_B = np.where(same_BJ, cosine_BJ, -1.0).max(axis=1, initial=-1.0)
    other_B = np.where(has_BJ & ~same_BJ, cosine_BJ, -1.0).max(axis=1, initial=-1.0)
    few = same_BJ[:, :NEAREST_FEW].sum(axis=1) / has_BJ[:, :NEAREST_FEW].sum(axis=1).clip(min=1)
    every = same_BJ.sum(axis=1) / has_BJ.sum(axis=1).clip(min=1)
    return [few, every, *_centre_features(batch, label_B, facts.centre_FUD), nearest_B, nearest_B - same_B, nearest_B - other_B]
