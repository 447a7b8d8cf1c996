"""How sure a figure is."""

import numpy as np
import pytest

from shelfcode.retrieval.evaluation import intervals
from shelfcode.retrieval.evaluation.intervals import differences_of, figures_of

NORMAL = np.random.default_rng(1).standard_normal(400)


def test_the_interval_of_a_mean_is_two_standard_errors_wide() -> None:
    figure = figures_of([{"x": NORMAL + 5}], seed=0)["x"]
    error = NORMAL.std() / np.sqrt(400)
    assert figure.value == pytest.approx(NORMAL.mean() + 5)
    assert (figure.low, figure.high) == pytest.approx((figure.value - 1.96 * error, figure.value + 1.96 * error), abs=0.15 * error)
    assert (figure.cases, figure.spread, figure.apart) == (400, None, True)


def test_cases_without_a_part_in_a_figure_do_not_count() -> None:
    figures = figures_of([{"x": np.where(np.arange(400) < 300, NORMAL, np.nan), "none": np.full(400, np.nan)}], seed=0)
    assert figures["x"].value == pytest.approx(NORMAL[:300].mean())
    assert figures["x"].cases == 300
    assert (figures["none"].value, figures["none"].low, figures["none"].cases) == (None, None, 0)
    assert set(figures["none"].undefined) == {"value", "low", "high"}


def test_few_cases_have_no_interval() -> None:
    figure = figures_of([{"x": np.arange(5.0)}], seed=0)["x"]
    assert (figure.value, figure.low) == (2, None)
    assert "fewer than" in figure.undefined["low"]


def test_a_difference_is_paired() -> None:
    a, b = {"x": NORMAL, "only": NORMAL}, {"x": NORMAL + 0.01}
    difference = differences_of([a], [b], seed=0)
    assert set(difference) == {"x"}
    assert (difference["x"].value, difference["x"].low, difference["x"].high) == pytest.approx((0.01, 0.01, 0.01))
    assert difference["x"].apart
    assert not differences_of([a], [{"x": np.random.default_rng(2).permutation(NORMAL)}], seed=0)["x"].apart


def test_versions_are_averaged_and_their_spread_is_told() -> None:
    figure = figures_of([{"x": NORMAL}, {"x": NORMAL + 0.3}, {"x": NORMAL + 0.6}], seed=0)["x"]
    assert figure.value == pytest.approx(NORMAL.mean() + 0.3)
    assert figure.spread == pytest.approx(0.3)


def test_the_seed_alone_decides_and_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = figures_of([{"x": NORMAL}], seed=3)["x"]
    monkeypatch.setattr(intervals, "CELLS_AT_ONCE", 3 * 400)
    again, other = (figures_of([{"x": NORMAL}], seed=seed)["x"] for seed in (3, 4))
    assert (again.low, again.high) == pytest.approx((whole.low, whole.high))
    assert (other.low, other.high) != pytest.approx((whole.low, whole.high))
