"""Who passes the gate and who does not: on values of which it is known what they can tell."""

import numpy as np
import pytest

from shelfcode.evaluation.judge.controls import BASKET, DOSES, LEAF, POPULAR, SHUFFLED, planted
from shelfcode.evaluation.judge.gate import gate, halo
from shelfcode.evaluation.judge.scale import Values

LEAVES = 40


def readings(gain: float, seed: int = 0, noise: float = 0.3) -> tuple[dict[str, Values], dict[str, Values]]:
    """Values of controls and a second reading of each; `gain` is how much of purity the judge sees."""
    rng = np.random.default_rng(seed)
    first, second = {}, {}
    for kind, dose in [(LEAF, 0), *((planted(dose), dose) for dose in DOSES), (SHUFFLED, 7)]:
        seen = gain * (1 - dose / 8) + noise * rng.standard_normal(LEAVES)
        first[kind], second[kind] = seen + 0.1 * rng.standard_normal(LEAVES), seen + 0.1 * rng.standard_normal(LEAVES)
    return first, second


def test_a_judge_that_sees_purity_is_usable() -> None:
    found = gate("pmi.functional", *readings(2.0), 1.0, None, 8, 0)
    assert found.verdict == "usable", found.reasons
    assert found.separation is not None
    assert found.separation.low > 0.85
    assert list(found.dose) == ["0%", "12%", "25%", "50%"]


@pytest.mark.parametrize("seed", range(20))
def test_a_judge_that_sees_nothing_is_never_usable(seed: int) -> None:
    assert gate("pmi.functional", *readings(0.0, seed), 1.0, None, 8, seed).verdict != "usable"


def test_what_is_amiss_is_said() -> None:
    first, second = readings(2.0)
    assert "40% of questions" in gate("intruder.functional", first, second, 1.0, 0.4, 8, 0).reasons[0]
    assert gate("rating.functional", first, second, 0.95, None, 8, 0).verdict == "weak"
    assert gate("rating.functional", first, second, 0.5, None, 8, 0).verdict == "cannot_tell"
    unlike = {kind: np.random.default_rng(1).standard_normal(LEAVES) for kind in second}
    assert any("alpha" in reason for reason in gate("pmi.functional", first, unlike, 1.0, None, 8, 0).reasons)
    flat = {**first, planted(4): first[planted(2)] + 1}
    assert any("planted" in reason for reason in gate("pmi.functional", flat, second, 1.0, None, 8, 0).reasons)
    assert gate("pmi.functional", {}, {}, 0.0, None, 8, 0).verdict == "cannot_tell"


def test_purchase_wants_real_baskets_that_it_tells_from_popular_products() -> None:
    first, second = readings(2.0)
    assert "--interactions" in gate("pmi.purchase", first, second, 1.0, None, 8, 0).reasons[-1]
    rng = np.random.default_rng(0)
    blind = {**first, BASKET: rng.standard_normal(LEAVES), POPULAR: rng.standard_normal(LEAVES)}
    assert gate("pmi.purchase", blind, second, 1.0, None, 8, 0).verdict == "cannot_tell"
    seeing = {**first, BASKET: 2 + rng.standard_normal(LEAVES), POPULAR: rng.standard_normal(LEAVES)}
    assert gate("pmi.purchase", seeing, second, 1.0, None, 8, 0).verdict == "usable"


def test_dimensions_that_move_together_are_one() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal(100), rng.standard_normal(100)
    assert (halo({"functional": one, "journey": one + 0.1 * other}, ["functional", "journey"]) or 0) > 0.9
    assert (halo({"functional": one, "journey": other}, ["functional", "journey"]) or 0) < 0.5
    assert halo({"functional": one}, ["functional"]) is None
