"""The learning rate of every training."""

import pytest

from shelfcode.learning_rate import warmup_cosine


@pytest.mark.parametrize("floor", [0.05, 0.01])
def test_it_warms_up_then_falls_to_its_floor(floor: float) -> None:
    rates = [warmup_cosine(step, 100, 10, 2.0, floor) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(1 + floor)
    assert rates[100] == pytest.approx(2.0 * floor)


@pytest.mark.parametrize(("warmup_steps", "steps"), [(0, 1), (0, 5), (5, 5), (9, 5)])
def test_a_short_run_has_a_rate_at_every_step(warmup_steps: int, steps: int) -> None:
    assert all(0 < warmup_cosine(step, steps, warmup_steps, 1.0, 0.05) <= 1 for step in range(steps))
