"""Many waits at once, results in order, and never more of them in memory than are worked on."""

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from shelfcode.parallel import in_order


def test_results_come_in_order_and_waits_are_shared() -> None:
    all_wait = threading.Barrier(32)

    def slow(number: int) -> int:
        all_wait.wait(timeout=60)  # passed only while all 32 wait side by side
        time.sleep(0.001 * (number % 7))
        return -number

    assert list(in_order(slow, range(320), at_once=32)) == [-number for number in range(320)]


def test_no_more_than_asked_for_are_begun_before_their_turn() -> None:
    begun, taken, most = 0, 0, 0
    lock = threading.Lock()

    def count(number: int) -> int:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        return number

    for _ in in_order(count, range(200), at_once=4):
        time.sleep(0.0005)
        with lock:
            taken += 1
    assert begun == 200
    assert most <= 6


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), at_once=3)
    assert next(results) == 0
    assert len(taken) == 4
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 4


def test_an_error_comes_where_its_result_would_and_ends_the_rest() -> None:
    done: list[int] = []

    def fail_at_ten(number: int) -> int:
        if number == 10:
            raise ValueError("ten")
        done.append(number)
        return number

    results = in_order(fail_at_ten, range(10_000), at_once=4)
    assert list(islice(results, 10)) == list(range(10))
    with pytest.raises(ValueError, match="ten"):
        next(results)
    assert len(done) < 20


def test_nothing_gives_nothing() -> None:
    assert list(in_order(str, [])) == []
