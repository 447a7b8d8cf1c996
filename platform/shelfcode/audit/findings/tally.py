"""What all scored products come to: sums per label and pair of labels, and where the limits lie that single products are held against."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.findings.label_counts import LabelCounts, count_labels
from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.taxonomy import NO_LEAF

FAR = 0.05
"""The share of products whose nearest ones count as far."""

_GRID = np.linspace(0, 1, 1001)


@dataclass(frozen=True)
class Tally:
    """Sums over all labelled products, of P labels.

    Attributes:
        products_P: with each label; expected_P: of them expected to be wrong; variance_P: of that number, if labels are wrong
            independently of each other; fit_P: sum of the probability of the given label.
        pair_M, mass_M: labels a and b as a * P + b, sorted, and the probability that products of a have in b.
        same_title: labels per title, of titles that have several.
        score_min: products with a higher score are the likeliest wrong ones.
        score_G: quantiles of the scores.
        far: mean cosine of the nearest products, below which they are far.
        popularity_max: NaN where there is none.
    """

    products_P: NDArray[np.int64]
    expected_P: NDArray[np.float64]
    variance_P: NDArray[np.float64]
    fit_P: NDArray[np.float64]
    pair_M: NDArray[np.int64]
    mass_M: NDArray[np.float64]
    same_title: LabelCounts
    score_min: float
    score_G: NDArray[np.float64]
    far: float
    popularity_max: float

    @property
    def labels(self) -> int:
        return len(self.products_P)

    def rank(self, score_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """The share of the labelled products that have a lower score."""
        return np.interp(score_N, self.score_G, _GRID)


def take_tally(parts: Iterable[ScoredProducts], label_N: NDArray[np.int32], labels: int, settings: AuditSettings) -> Tally:
    """Go through all scored products once. Of each a few numbers are kept, whatever the number of labels.

    Args:
        label_N: of all products of the release; NO_LEAF for those without a label that says something.
    """
    sums_4P = np.zeros((4, labels))
    pairs, masses = [np.empty(0, np.int64)], [np.empty(0)]
    scores, cosines = [np.empty(0)], [np.empty(0, np.float32)]
    keys, key_labels = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    popularity_max = np.nan
    for part in parts:
        label_B = label_N[part.place_N]
        has_B = label_B != NO_LEAF
        keys.append(part.title_key_N)
        key_labels.append(label_B)
        cosines.append(nearest_mean(part))
        popularity_max = np.fmax(popularity_max, np.fmax.reduce(part.popularity_N, initial=np.nan))
        label_M, p_M = label_B[has_B], np.nan_to_num(part.scores.p_wrong_N[has_B])
        scores.append(part.scores.score_N[has_B & np.isfinite(part.scores.score_N)])
        for row, weight_M in enumerate((np.ones(len(label_M)), p_M, p_M * (1 - p_M), part.scores.given_p_N[has_B])):
            sums_4P[row] += np.bincount(label_M, weight_M, labels)
        best_MK, mass_MK = part.scores.best_leaf_NK[has_B].astype(np.int64), part.scores.best_p_NK[has_B]
        pair, mass = _summed((label_M[:, None].astype(np.int64) * labels + best_MK)[best_MK >= 0], mass_MK[best_MK >= 0])
        pairs.append(pair)
        masses.append(mass)
    pair_M, mass_M = _summed(np.concatenate(pairs), np.concatenate(masses))
    score_L, cosine_N = np.concatenate(scores), np.concatenate(cosines)
    return Tally(
        sums_4P[0].astype(np.int64), sums_4P[1], sums_4P[2], sums_4P[3], pair_M, mass_M,
        count_labels(np.concatenate(keys), np.concatenate(key_labels), products_min=2, labels_min=2),
        float(np.quantile(score_L, 1 - settings.share_min)) if len(score_L) else np.inf,
        np.quantile(score_L, _GRID).astype(np.float64) if len(score_L) else np.zeros(len(_GRID)),
        float(np.nanquantile(cosine_N, FAR)) if np.isfinite(cosine_N).any() else -1.0,
        float(popularity_max),
    )  # fmt: skip


def nearest_mean(part: ScoredProducts) -> NDArray[np.float32]:
    """Mean cosine of each product's nearest ones; NaN where there are none."""
    known_NJ = part.scores.nearest_NJ >= 0
    sums_N = np.where(known_NJ, part.scores.nearest_cosine_NJ, 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return (sums_N / known_NJ.sum(axis=1)).astype(np.float32)


def _summed(key_M: NDArray[np.int64], mass_M: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    distinct_K, owner_M = np.unique(key_M, return_inverse=True)
    return distinct_K, np.bincount(owner_M, mass_M, len(distinct_K)).astype(np.float64)
