"""The step that every training takes: its rate, its direction, and whose rows it is of."""

import pytest
import torch

from shelfcode.optimisation import Worker, descend, warmup_cosine


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


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_workers_share_a_batch_without_a_gap(workers: int) -> None:
    rows = [row for rank in range(workers) for row in range(12)[Worker(rank, workers).share(12)]]
    assert rows == list(range(12))


@pytest.mark.parametrize(("clip_norm", "expected"), [(None, 3.0), (0.5, 0.5), (100.0, 3.0)])
def test_a_step_goes_down_the_gradient_clipped_at_the_rate_asked_for(clip_norm: float | None, expected: float) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([weight], lr=99.0)
    for _ in range(2):  # no gradient of an earlier step is left over
        before = weight.item()
        descend(optimizer, 3 * weight.sum(), 0.1, clip_norm)
        assert before - weight.item() == pytest.approx(0.1 * expected, abs=1e-5)
