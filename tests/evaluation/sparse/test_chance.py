"""The chance is calibrated where there is something to learn, says the base rate where there is nothing, and refuses too little."""

import numpy as np
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.sparse.chance import Examples, auroc, learn_chance, measure
from shelfcode.evaluation.sparse.signals import SIGNALS


def planted(products: int, steepness: float, seed: int = 0, base: float = 0.0) -> Examples:
    """Four examples a product, whose chance follows the margin of L1 and nothing else."""
    rng = np.random.default_rng(seed)
    signals_XF = rng.standard_normal((4 * products, len(SIGNALS))).astype(np.float32)
    chance_X = 1 / (1 + np.exp(steepness * signals_XF[:, SIGNALS.index("margin_l1")] - base))
    return Examples(signals_XF, rng.random(4 * products) < chance_X, np.repeat(np.arange(products), 4), np.tile(np.arange(4), products))


def test_a_planted_chance_is_found_and_calibrated() -> None:
    chance, calibration = learn_chance(planted(1200, 2.0))
    assert calibration.held_out_products == 300
    assert calibration.examples == 1200
    assert calibration.ece < 0.06
    assert calibration.auroc is not None
    assert calibration.auroc > 0.8
    assert calibration.auroc_words == pytest.approx(0.5, abs=0.06)
    assert calibration.brier < 0.75 * calibration.brier_base_rate
    firm, loose = np.zeros((1, len(SIGNALS)), np.float32), np.zeros((1, len(SIGNALS)), np.float32)
    firm[0, SIGNALS.index("margin_l1")], loose[0, SIGNALS.index("margin_l1")] = 2, -2
    assert chance.predict(firm)[0] < 0.15
    assert chance.predict(loose)[0] > 0.85


def test_noise_gives_no_order_and_the_base_rate() -> None:
    _, calibration = learn_chance(planted(1200, 0.0, base=-1.0))
    assert calibration.auroc == pytest.approx(0.5, abs=0.06)
    assert calibration.brier == pytest.approx(calibration.brier_base_rate, rel=0.05)
    assert calibration.ece < 0.07


def test_a_wrong_chance_is_seen_to_be_wrong() -> None:
    chance, right = learn_chance(planted(400, 2.0))
    wrong = measure(chance, planted(400, -2.0, seed=1), 200)
    assert wrong.ece > 3 * right.ece
    assert wrong.auroc is not None
    assert wrong.auroc < 0.3


def test_no_product_is_on_both_sides() -> None:
    examples = planted(100, 2.0)
    _, calibration = learn_chance(examples)
    assert (calibration.fitted_products, calibration.held_out_products) == (50, 25)
    assert calibration.title_alone is not None
    assert calibration.title_alone.examples == 25


def test_codes_that_never_change_have_no_chance_to() -> None:
    examples = planted(100, 2.0)
    never = Examples(examples.signals_XF, np.zeros(400, bool), examples.product_X, examples.sentences_X)
    chance, calibration = learn_chance(never)
    assert (chance.predict(examples.signals_XF) == 0).all()
    assert calibration.auroc is None
    assert "none of the examples" in calibration.undefined["auroc"]


def test_too_few_rich_products_are_refused() -> None:
    with pytest.raises(ShelfcodeError, match="only 20 products have enough sentences"):
        learn_chance(planted(20, 2.0))


def test_ties_count_half() -> None:
    assert auroc(np.array([1.0, 1.0, 1.0]), np.array([True, False, False])) == 0.5
    assert auroc(np.array([2.0, 1.0]), np.array([True, False])) == 1
    assert auroc(np.array([2.0, 1.0]), np.array([True, True])) is None
