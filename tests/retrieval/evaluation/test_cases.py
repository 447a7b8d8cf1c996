"""Cases from a log."""

import numpy as np
import pytest

from shelfcode.interactions.session_log import NO_TIME, log_of_sessions
from shelfcode.retrieval.contexts import HISTORY_EVENTS
from shelfcode.retrieval.evaluation.cases import Cases, cases_by_time, leave_one_out


def rows(cases: Cases) -> list[tuple[list[int], list[int], list[int]]]:
    """History, cart and targets of each case."""
    bounds = zip(cases.target_first_R[:-1], cases.target_first_R[1:], strict=True)
    targets = [cases.target_T[first:end].tolist() for first, end in bounds]
    return [(cases.contexts.history(row).tolist(), cases.contexts.cart(row).tolist(), targets[row]) for row in range(len(cases))]


def test_the_last_product_of_a_user_is_asked_for_with_all_before_it() -> None:
    log = log_of_sessions([[1, 2], [3, 4], [5, 6], [7, 8, 9]], ["a", "a", "b", None], ["x", "y", "x", None], [10, 20, 5, 7])
    cases = leave_one_out(log)
    assert rows(cases) == [([], [1, 2, 3], [4]), ([], [7, 8], [9])]
    assert [log.retailers[place] if place >= 0 else None for place in cases.contexts.retailer_R] == ["y", None]
    assert cases.contexts.at_R.tolist() == [20, 7]
    assert cases.user_R.tolist() == [0, 2]


def test_to_validate_on_the_last_but_one_is_asked_for() -> None:
    log = log_of_sessions([[1, 2], [3], [4]], ["a", "a", "a"], None, [1, 2, 3])
    cases = leave_one_out(log, held_out=2)
    assert rows(cases) == [([], [1, 2], [3])]
    assert cases.contexts.at_R.tolist() == [2]


def test_a_target_that_was_had_before_makes_no_case() -> None:
    assert rows(leave_one_out(log_of_sessions([[1, 2, 1], [4, 5, 6]]))) == [([], [4, 5], [6])]


def test_later_sessions_of_known_users_and_retailers_make_cases() -> None:
    log = log_of_sessions(
        [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 9], [4, 3, 2, 1], [1, 2, 3], [9, 8, 7, 6, 5]],
        ["a", "a", "new", "a", "a", "a"], ["x", "x", "x", "elsewhere", "x", "x"], [10, 100, 110, 120, 130, 300],
    )  # fmt: skip
    assert rows(cases_by_time(log, since=100)) == [([1, 2, 3, 4], [5, 6], [7, 8]), ([1, 2, 3, 4], [9, 8], [7, 6, 5])]
    assert rows(cases_by_time(log, since=100, until=300)) == [([1, 2, 3, 4], [5, 6], [7, 8])]
    assert len(cases_by_time(log, since=1000)) == 0


def test_a_session_without_a_time_is_in_no_part() -> None:
    log = log_of_sessions([[1, 2], [5, 6, 7, 8]], ["a", "a"], None, [None, 100])
    assert log.at_S[0] == NO_TIME
    assert len(cases_by_time(log, since=50)) == 0


def test_the_history_is_the_latest_products_before_the_split() -> None:
    log = log_of_sessions([[0, 1], list(range(100, 100 + HISTORY_EVENTS)), [5, 6, 7, 8]], ["a"] * 3, None, [1, 2, 100])
    ((history, _, _),) = rows(cases_by_time(log, since=50))
    assert history == list(range(100, 100 + HISTORY_EVENTS))


def test_halves_of_a_set_are_drawn_and_stay_what_they_are_in_a_longer_log() -> None:
    products = [[1], list(range(10, 70)), [1]]
    log = log_of_sessions(products, ["a", "a", "b"], None, [1, 100, 1], ordered=False)
    ((_, cart, targets),) = rows(cases_by_time(log, since=50))
    assert len(cart) == 20
    assert sorted(cart + targets) == list(range(10, 70))
    assert cart != sorted(cart)
    longer = log_of_sessions([*products, list(range(5))], ["a", "a", "b", "b"], None, [1, 100, 1, 120], ordered=False)
    assert rows(cases_by_time(longer, since=50))[0][1] == cart


def test_a_product_counts_once_in_a_session() -> None:
    log = log_of_sessions([[1], [5, 6, 5, 7, 8, 6], [5, 5, 5, 6]], ["a"] * 3, None, [1, 100, 200])
    assert rows(cases_by_time(log, since=50)) == [([1], [5, 6], [7, 8])]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_limit_draws_some_of_the_cases(seed: int) -> None:
    log = log_of_sessions([[0], *([place, place + 1, place + 2, place + 3] for place in range(30))], ["a"] * 31, None, list(range(31)))
    some = cases_by_time(log, since=1, limit=5, seed=seed)
    assert len(some) == 5
    assert np.all(np.diff(some.contexts.at_R) > 0)
    assert rows(some) == rows(cases_by_time(log, since=1, limit=5, seed=seed))
