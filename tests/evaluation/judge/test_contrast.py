"""Differences over the same anchors, and an estimate over all clusters that the judged ones correct."""

import numpy as np
import pytest

from shelfcode.evaluation.judge.contrast import CheapStatistics, cheap_statistics, difference, headline, mean_of, rest_estimate
from shelfcode.evaluation.judge.sets import Anchors

NAMES = ("precision@v0001", "discovery@v0001")
ANCHORS = [Anchors(level, tuple(range(30)), tuple((f"{row}", f"{row % 5}") for row in range(30))) for level in (1, 2)]


def _worth(first: float, second: float) -> dict[tuple[str, str], float]:
    rng = np.random.default_rng(0)
    return {
        **{(NAMES[0], str(row)): first + 0.1 * rng.standard_normal() for row in range(30)},
        **{(NAMES[1], str(row)): second + 0.1 * rng.standard_normal() for row in range(5)},
    }


def test_the_headline_is_the_difference_of_differences() -> None:
    worth = {"functional": _worth(0.9, 0.5), "journey": _worth(0.6, 0.7)}
    *_, all_levels = headline(ANCHORS, NAMES, worth, seed=0)
    assert all_levels.level == 0
    assert all_levels.anchors == 60
    assert all_levels.value == pytest.approx(0.5, abs=0.1)
    assert all_levels.apart
    assert difference(ANCHORS, NAMES, worth["functional"], 0)[0].value == pytest.approx(0.4, abs=0.1)


def test_few_anchors_get_no_interval_and_unjudged_ones_none_at_all() -> None:
    few = [Anchors(1, (0, 1), (("0", "0"), ("1", "1")))]
    (mean,) = mean_of(few, 0, NAMES[0], _worth(0.5, 0.5), 0)
    assert mean.value is not None
    assert mean.low is None
    assert mean.undefined["low"] == "fewer than 10 anchors"
    (none,) = mean_of(few, 0, "other@v0001", _worth(0.5, 0.5), 0)
    assert none.value is None


def test_an_estimate_over_all_clusters_is_corrected_by_the_judged_ones() -> None:
    rng = np.random.default_rng(0)
    all_PF = np.stack([rng.uniform(0, 1, 5000), rng.uniform(1, 5, 5000)], axis=1)
    worth_P = 0.2 + 0.7 * all_PF[:, 0] + 0.02 * rng.standard_normal(5000)
    judged = rng.integers(0, 5000, 60)
    estimate = rest_estimate(1, worth_P[judged], CheapStatistics(all_PF[judged], all_PF))
    assert estimate.estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < worth_P.mean() < estimate.high
    alone = 1.96 * worth_P[judged].std(ddof=1) / 60**0.5  # half the interval that the judged ones alone would have
    assert estimate.high - estimate.low < alone  # half as wide as that, and more
    assert rest_estimate(1, worth_P[:3], CheapStatistics(all_PF[:3], all_PF)).estimate is None


def test_cheap_statistics_count_the_most_frequent_leaf() -> None:
    prefix_N, leaf_N = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([5, 5, 5, 6, 7, -1, 7])
    cheap = cheap_statistics(prefix_N, leaf_N, least=2, rows=[0, 4], seed=0)
    assert cheap.of_anchors_AF[:, 0].tolist() == [0.75, 0.5]
    assert len(cheap.of_all_PF) == 6
