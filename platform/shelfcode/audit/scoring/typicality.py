"""How usual a product is among the products of a label, whatever other labels there are.

A posterior asks which label a product should have. Where many labels mean the same, as with the categories of different shops, it is low
for all of them, and says little of any one. Typicality looks at one label alone: how near its products are to this one, how many of them
lie under the same prefixes, and whether they are thought to be what this one is (kinship.py). Products of the asking product's fold are
left out. It counts in catalogs whose labels have few products each and, where they have enough to be learnt, are often not the likeliest
ones; elsewhere posteriors know better.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.scoring.kinship import Kinship, likely_leaves
from shelfcode.audit.scoring.pooling import STRAY_SHARE
from shelfcode.audit.scoring.views.batch import Batch, rows_of_each
from shelfcode.audit.scoring.views.prefixes import PrefixLevel, PrefixView, prefix_keys

MEMBERS = 64
"""So many products of a label are looked at, drawn at random."""
NEARER_SHARE = 0.25
"""The cosine is told that so many of a label's products reach. Their mean would be lowered by whatever else the label holds."""
PREFIX_LENGTHS = 2
SHRINK = 3.0
"""A label's shares are drawn towards those of the catalog as if so many of its products were drawn from all."""
WEIGHT, FEW_PRODUCTS, LEAST_WEIGHT = 64.0, 20.0, 0.2
"""Beside the ranker, typicality weighs WEIGHT * m * (FEW_PRODUCTS / (n + FEW_PRODUCTS))^2, where m is the share of labels that are not the
likeliest one, as far as stray ones do not explain it, and n the products a label has; nothing below the least."""
LEARNABLE = 8
"""Only labels with so many products tell m: of smaller ones many are missed, whatever the others mean."""


@dataclass(frozen=True)
class Typicality:
    """What it is found by.

    Attributes:
        kinship, kin_views: of which views; their places among all.
        weight: how much each measure counts beside the ranker, all having a standard deviation of one.
    """

    members: "Members"
    prefixes: tuple[PrefixView, ...]
    kinship: Kinship
    kin_views: tuple[int, ...]
    weight: float

    def measures(self, batch: Batch, log_p_VBU: NDArray[np.float32], label_B: NDArray[np.integer]) -> list[NDArray[np.float32]]:
        """Of each product under a label: the cosine that some of the label's products reach, the sum of its prefixes' shares, its kinship.

        Args:
            log_p_VBU: what all views say.
        """
        shares = [share_B for view in self.prefixes for share_B in prefix_shares(batch, label_B, view)]
        kin_B = self.kinship.measure(likely_leaves([log_p_VBU[view] for view in self.kin_views]), batch.fold_B, label_B)
        return [high_cosine(batch, label_B, self.members), np.sum(shares, axis=0, dtype=np.float32), kin_B]


def typical_weight(label_M: NDArray[np.integer], likeliest_M: NDArray[np.integer], leaves: int) -> float:
    """How much typicality counts in a catalog; 0 where it is not worth asking.

    Args:
        label_M: -1 for no leaf.
        likeliest_M: the leaf that the pool thinks each product should have.
    """
    has = label_M >= 0
    size_U = np.bincount(label_M[has], minlength=leaves)
    told = has & (size_U[label_M] >= LEARNABLE)
    missed = (label_M[told] != likeliest_M[told]).mean() if told.any() else 0.0
    weight = WEIGHT * max(0.0, missed - STRAY_SHARE) * (FEW_PRODUCTS / (has.sum() / leaves + FEW_PRODUCTS)) ** 2
    return float(weight) if weight >= LEAST_WEIGHT else 0.0


@dataclass(frozen=True)
class Members:
    """Some products of each of U leaves, side by side: float16 vectors, and the fold of each. `start_U` has one entry more at the end."""

    x_TD: NDArray[np.float16]
    fold_T: NDArray[np.int8]
    start_U: NDArray[np.int64]


def draw_members(x_MD: NDArray[np.float32], label_M: NDArray[np.integer], fold_M: NDArray[np.int8], leaves: int, seed: int) -> Members:
    """Draws the products of each leaf that others are compared with; label_M is -1 for no leaf."""
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(label_M >= 0))
    by_label = shuffled[np.argsort(label_M[shuffled], kind="stable")]
    label_T = label_M[by_label]
    place_T = np.arange(len(by_label)) - np.searchsorted(label_T, label_T)
    kept = by_label[place_T < MEMBERS]
    start_U = np.searchsorted(label_M[kept], np.arange(leaves + 1))
    return Members(x_MD[kept].astype(np.float16), fold_M[kept], start_U.astype(np.int64))


def high_cosine(batch: Batch, label_B: NDArray[np.integer], members: Members) -> NDArray[np.float32]:
    """The cosine that a quarter of a label's products reach: float32[B]; 0 where it has none in another fold."""
    high_B = np.zeros(len(batch), np.float32)
    for rows in rows_of_each(label_B):
        label = label_B[rows[0]]
        first, end = members.start_U[label], members.start_U[label + 1]
        cosine_RT = batch.x_BD[rows] @ members.x_TD[first:end].T.astype(np.float32)
        cosine_RT[batch.fold_B[rows][:, None] == members.fold_T[first:end]] = -np.inf
        cosine_RT = -np.sort(-cosine_RT, axis=1)
        count_R = (cosine_RT > -np.inf).sum(axis=1)
        found_R = cosine_RT[np.arange(len(rows)), (count_R * NEARER_SHARE).astype(np.int64)] if end > first else np.zeros(len(rows))
        high_B[rows] = np.where(count_R > 0, found_R, 0)
    return high_B


def prefix_shares(batch: Batch, label_B: NDArray[np.integer], view: PrefixView) -> list[NDArray[np.float32]]:
    """Of a label's products, how many lie under the product's prefix: float32[B] for each of the first lengths, shrunk."""
    keys = prefix_keys(batch.codes[view.which])[:PREFIX_LENGTHS]
    return [_share(batch.fold_B, key_B, label_B, level, view) for key_B, level in zip(keys, view.levels, strict=False)]


def _share(
    fold_B: NDArray[np.int8], key_B: NDArray[np.uint64], label_B: NDArray[np.integer], level: PrefixLevel, view: PrefixView
) -> NDArray[np.float32]:
    folds = len(view.size_FU)
    place_B = level.place.get(key_B)
    first_B = place_B.clip(min=0) * (folds + 1)
    in_all_B = np.asarray(level.counts_QU[first_B + folds, label_B] - level.counts_QU[first_B + fold_B, label_B]).ravel()
    under_B = level.products_Q[first_B + folds] - level.products_Q[first_B + fold_B]
    usual_B = np.where(place_B >= 0, under_B, 0) / view.size_FU.sum(axis=1)[fold_B].clip(min=1)
    count_B = np.where(place_B >= 0, in_all_B, 0)
    return ((count_B + SHRINK * usual_B) / (view.size_FU[fold_B, label_B] + SHRINK)).astype(np.float32)
