"""Purity recovered from raw values, on values whose purity is known."""

import numpy as np
import pytest

from shelfcode.evaluation.judge.controls import DOSES, LEAF, SHUFFLED, planted
from shelfcode.evaluation.judge.scale import Values, fit_scale, recovery_error


def controls(spread: float, leaves: int = 60, bend: float = 1.5, seed: int = 0) -> dict[str, Values]:
    """Values that rise with purity, not in a straight line, with a spread of a leaf's own and one of each reading."""
    rng = np.random.default_rng(seed)
    doses = [(LEAF, 0), *((planted(dose), dose) for dose in DOSES), (SHUFFLED, 7)]
    return {kind: 0.1 + 0.3 * (1 - dose / 8) ** bend + spread * rng.standard_normal(leaves) for kind, dose in doses}


def test_purity_that_was_never_fitted_to_is_recovered() -> None:
    scale = fit_scale(controls(0.0), products=8)
    assert scale is not None
    assert scale.purity_of(0.1 + 0.3 * (1 - 3 / 8) ** 1.5) == pytest.approx(1 - 3 / 8, abs=0.02)
    assert scale.purity_of(9.0) == 1.0
    assert scale.purity_of(-9.0) == pytest.approx(1 / 8)
    error = recovery_error(controls(0.02), products=8)
    assert error is not None
    assert error < 0.05


def test_leaves_are_one_and_shuffled_sets_are_zero() -> None:
    values = controls(0.01)
    scale = fit_scale(values, products=8)
    assert scale is not None
    assert scale.calibrated(float(values[LEAF].mean())) == pytest.approx(1)
    assert scale.calibrated(float(values[SHUFFLED].mean())) == pytest.approx(0)


def test_a_judge_that_puts_leaves_below_shuffled_sets_has_no_scale() -> None:
    turned = {kind: -raw for kind, raw in controls(0.01).items()}
    assert fit_scale(turned, products=8) is None
    assert recovery_error(turned, products=8) is None


def test_noise_shows_as_an_error_of_recovery() -> None:
    quiet, loud = (recovery_error(controls(spread, leaves=20), products=8) for spread in (0.01, 0.4))
    assert quiet is not None
    assert loud is None or loud > quiet
