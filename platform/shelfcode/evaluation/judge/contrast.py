"""How two releases differ in what a judge sees in their clusters, and what the clusters that were not judged would be worth.

Both releases are judged over the same anchors: products, each with the cluster that it lies in under either release.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict

from shelfcode.evaluation.judge.instruments import FUNCTIONAL, JOURNEY
from shelfcode.evaluation.judge.sets import Anchors
from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import LEAST_GROUPS, RESAMPLES, bootstrap_interval

FOLDS = 5

Worth = Mapping[tuple[str, str], float]
"""Calibrated value of a cluster by release and prefix."""


class Contrast(Figures):
    """A mean over anchors with its 95% bootstrap interval, by anchor.

    Attributes:
        level: 0 for all levels together.
    """

    level: int
    anchors: int
    value: float | None
    low: float | None
    high: float | None

    @property
    def apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


class RestEstimate(Figures):
    """What the clusters of a level are worth on average, weighted by their products, those that were not judged among them.

    Attributes:
        judged: mean of the judged ones alone.
        estimate: with cheap statistics of all clusters, corrected by the judged ones (Angelopoulos et al., 2023).
    """

    level: int
    judged: float
    estimate: float | None
    low: float | None
    high: float | None


def mean_of(anchors: Sequence[Anchors], place: int, release: str, worth: Worth, seed: int) -> list[Contrast]:
    """Mean worth of a release's clusters at each level.

    Args:
        place: of the release among those of the anchors.
    """
    return [_mean(each.level, anchor_values(each, place, release, worth), seed) for each in anchors]


def difference(anchors: Sequence[Anchors], releases: Sequence[str], worth: Worth, seed: int) -> list[Contrast]:
    """First release minus second, at each level and over all."""
    each_level = [(each.level, anchor_values(each, 0, releases[0], worth) - anchor_values(each, 1, releases[1], worth)) for each in anchors]
    return [*(_mean(level, value_A, seed) for level, value_A in each_level), _mean(0, _joined([value for _, value in each_level]), seed)]


def headline(anchors: Sequence[Anchors], releases: Sequence[str], worth: Mapping[str, Worth], seed: int) -> list[Contrast]:
    """(functional of the first - functional of the second) - (journey of the first - journey of the second).

    Above 0: what the first has over the second is that its products replace one another, rather than that they serve one occasion.

    Args:
        worth: by dimension.
    """

    def gap(each: Anchors, dimension: str) -> NDArray[np.float64]:
        return anchor_values(each, 0, releases[0], worth[dimension]) - anchor_values(each, 1, releases[1], worth[dimension])

    each_level = [(each.level, gap(each, FUNCTIONAL) - gap(each, JOURNEY)) for each in anchors]
    return [*(_mean(level, value_A, seed) for level, value_A in each_level), _mean(0, _joined([value for _, value in each_level]), seed)]


@dataclass(frozen=True)
class CheapStatistics:
    """What is known of every cluster of a level without a judge.

    Attributes:
        of_anchors_AF: of the clusters of the level's anchors.
        of_all_PF: of the clusters of a sample of all products that lie in a cluster large enough to be judged.
    """

    of_anchors_AF: NDArray[np.float64]
    of_all_PF: NDArray[np.float64]


def cheap_statistics(
    prefix_N: NDArray[np.integer], leaf_N: NDArray[np.integer], least: int, rows: Sequence[int], seed: int
) -> CheapStatistics:
    """Share of a cluster's products in its most frequent leaf, and the logarithm of its size.

    Args:
        prefix_N: number of each product's cluster.
        leaf_N: its leaf; negative for none.
        least: products of a cluster that can be judged.
        rows: the anchors.
    """
    size_P = np.bincount(prefix_N)
    leaves, has_leaf = int(leaf_N.max(initial=0)) + 1, leaf_N >= 0
    pair, count = np.unique(prefix_N[has_leaf].astype(np.int64) * leaves + leaf_N[has_leaf], return_counts=True)
    most_P = np.zeros(len(size_P))
    np.maximum.at(most_P, pair // leaves, count)
    statistics_PF = np.stack([most_P / np.maximum(size_P, 1), np.log(np.maximum(size_P, 1))], axis=1)
    large_N = np.flatnonzero(size_P[prefix_N] >= least)
    drawn = np.random.default_rng([seed, 19]).choice(large_N, min(len(large_N), 20_000), replace=False)
    return CheapStatistics(statistics_PF[prefix_N[np.asarray(rows, dtype=np.int64)]], statistics_PF[prefix_N[drawn]])


def rest_estimate(level: int, value_A: NDArray[np.float64], cheap: CheapStatistics) -> RestEstimate:
    """The worth of a level's clusters, judged or not, by prediction-powered inference."""
    known_A = ~np.isnan(value_A)
    judged = float(value_A[known_A].mean()) if known_A.any() else float("nan")
    if known_A.sum() < 2 * FOLDS:
        reason = dict.fromkeys(("estimate", "low", "high"), f"fewer than {2 * FOLDS} clusters were judged")
        return RestEstimate(level=level, judged=judged, estimate=None, low=None, high=None, undefined=reason)
    x_AF, y_A = cheap.of_anchors_AF[known_A], value_A[known_A]
    foretold_A = cross_val_predict(LinearRegression(), x_AF, y_A, cv=FOLDS)
    foretold_P = LinearRegression().fit(x_AF, y_A).predict(cheap.of_all_PF)
    estimate, half = _prediction_powered_mean(y_A, foretold_A, foretold_P)
    low, high = estimate - half, estimate + half
    return RestEstimate(level=level, judged=judged, estimate=estimate, low=low, high=high)


def _prediction_powered_mean(
    y_A: NDArray[np.float64], foretold_A: NDArray[np.float64], foretold_P: NDArray[np.float64]
) -> tuple[float, float]:
    """A mean and half its 95% interval (Angelopoulos, Duchi and Zrnic, 2023: PPI++ for a mean, its power tuned).

    The package of its authors is not used: it installs a package called `tests` beside itself, which hides that of whoever has one.
    """
    labelled, all_ = len(y_A), len(foretold_P)
    spread = float(np.var(foretold_P, ddof=1))
    weight = float(np.cov(y_A, foretold_A)[0, 1]) / ((1 + labelled / all_) * spread) if spread else 0.0
    weight = min(max(weight, 0.0), 1.0)
    estimate = float(y_A.mean() + weight * (foretold_P.mean() - foretold_A.mean()))
    variance = float(np.var(y_A - weight * foretold_A, ddof=1)) / labelled + weight**2 * spread / all_
    return estimate, float(norm.ppf(0.975)) * variance**0.5


def anchor_values(each: Anchors, place: int, release: str, worth: Worth) -> NDArray[np.float64]:
    """Worth of each anchor's cluster; NaN where it has none."""
    return np.array([worth.get((release, prefixes[place]), np.nan) for prefixes in each.prefixes])


def _joined(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(values) if values else np.empty(0)


def _mean(level: int, value_A: NDArray[np.float64], seed: int) -> Contrast:
    known = value_A[~np.isnan(value_A)]
    if not len(known):
        return Contrast(level=level, anchors=0, value=None, low=None, high=None, undefined={"value": "no cluster was judged"})
    interval = None
    if len(known) >= LEAST_GROUPS:
        drawn = np.random.default_rng([seed, level, 23]).integers(len(known), size=(RESAMPLES, len(known)))
        interval = bootstrap_interval(known[drawn].mean(axis=1))
    low, high = interval or (None, None)
    reason = {} if interval else dict.fromkeys(("low", "high"), f"fewer than {LEAST_GROUPS} anchors")
    return Contrast(level=level, anchors=len(known), value=float(known.mean()), low=low, high=high, undefined=reason)
