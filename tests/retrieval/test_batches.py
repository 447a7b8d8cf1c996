"""Which sessions each step learns from."""

import numpy as np
import pytest

from shelfcode.optimisation import Worker
from shelfcode.retrieval.batches import SessionSampler

LENGTHS = np.random.default_rng(0).integers(2, 60, 400)


def a_sampler(sessions: int, size: int, seed: int = 0) -> SessionSampler:
    """Of sessions 1000, 1001, ..."""
    return SessionSampler(np.arange(1000, 1000 + sessions), LENGTHS[:sessions], seed, size)


def epoch(sampler: SessionSampler, number: int) -> list[int]:
    steps = sampler.steps_per_epoch
    return np.concatenate([sampler.batch(step) for step in range(number * steps, (number + 1) * steps)]).tolist()


def test_an_epoch_holds_every_session_once_in_an_order_of_its_own() -> None:
    sampler = a_sampler(400, 8)
    first, second = epoch(sampler, 0), epoch(sampler, 1)
    assert sorted(first) == sorted(second) == list(range(1000, 1400))
    assert first != second != epoch(a_sampler(400, 8, seed=1), 1)


def test_what_is_left_over_of_an_epoch_is_drawn_anew_in_each() -> None:
    sampler = a_sampler(23, 4)
    seen: set[int] = set()
    for number in range(20):
        drawn = epoch(sampler, number)
        assert len(drawn) == len(set(drawn)) == 20
        seen.update(drawn)
    assert seen == set(range(1000, 1023))  # the longest sessions, too


def test_fewer_sessions_than_a_batch_are_one_batch() -> None:
    sampler = a_sampler(5, 8)
    assert sampler.steps_per_epoch == 1
    assert sorted(epoch(sampler, 0)) == sorted(epoch(sampler, 3)) == list(range(1000, 1005))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_taken_together_learn_from_the_batch_whatever_their_number(workers: int) -> None:
    sampler = a_sampler(64, 8)
    for step in (0, 5, 8, 31):
        shares = [sampler.share(step, Worker(rank, workers)) for rank in range(workers)]
        assert {len(share) for share in shares} == {8 // workers}
        assert sorted(np.concatenate(shares).tolist()) == sorted(a_sampler(64, 8).batch(step).tolist())


def test_a_run_that_goes_on_sees_what_it_would_have_seen() -> None:
    through, steps = a_sampler(64, 8), range(20)
    batches = [through.batch(step).tolist() for step in steps]
    assert [a_sampler(64, 8).batch(step).tolist() for step in steps] == batches
    assert through.batch(3).tolist() == batches[3]


def test_sessions_of_about_one_length_share_a_batch_and_short_ones_do_not_come_first() -> None:
    sampler = a_sampler(256, 8)
    lengths = [LENGTHS[sampler.batch(step) - 1000] for step in range(sampler.steps_per_epoch)]
    assert max(int(np.ptp(length)) for length in lengths) < 15
    mean = np.array([length.mean() for length in lengths])
    assert abs(np.corrcoef(mean, np.arange(len(mean)))[0, 1]) < 0.5
