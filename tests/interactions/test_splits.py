"""Nothing is learnt from what came later than it is measured on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.columns import order_values
from shelfcode.interactions.session_log import SessionLog, log_of_sessions, only_sessions, without_events
from shelfcode.interactions.splits import (
    check_no_leak,
    leave_one_out,
    leave_one_out_sessions,
    split_by_time,
    split_sessions_by_time,
    targets_of_events,
)  # fmt: skip


def test_rows_are_split_where_the_times_say_and_keep_their_order():
    split = split_by_time(np.array([5, 1, 3, 4, 2, 4, 9]), validation_from=3, test_from=5)
    assert (split.train_R.tolist(), split.validation_R.tolist(), split.test_R.tolist()) == ([1, 4], [2, 3, 5], [0, 6])
    without_test = split_by_time(np.array([5.5, 1, 3]), validation_from=3)
    assert (without_test.train_R.tolist(), without_test.validation_R.tolist(), without_test.test_R.tolist()) == ([1], [0, 2], [])


def test_rows_without_a_time_and_a_test_before_the_validation_are_refused():
    with pytest.raises(ValueError, match="1 of 2 rows have no time"):
        split_by_time(np.array([1, np.nan]), 2)
    with pytest.raises(ValueError, match="the test begins at 2, before the validation at 3"):
        split_by_time(np.array([1.0]), 3, 2)


def test_the_last_row_of_each_user_is_the_test_and_the_one_before_it_the_validation():
    user_R, order_R = np.array([7, 8, 7, 9, 7, 8, 7, 9, 9]), np.array([4, 1, 2, 5, 3, 2, 1, 5, 5])
    split = leave_one_out(user_R, order_R)
    assert (split.test_R.tolist(), split.validation_R.tolist()) == ([0, 8], [4, 7])
    assert split.train_R.tolist() == [1, 2, 3, 5, 6], "user 8 has two rows and is only learnt from"
    as_they_stand = leave_one_out(user_R)
    assert (as_they_stand.test_R.tolist(), as_they_stand.validation_R.tolist()) == ([6, 8], [4, 7])
    assert all(len(part) == 0 for part in vars(leave_one_out(np.empty(0, np.int64))).values())


def test_real_baskets_split_by_week_and_by_household(shelfcode_data):
    baskets = pq.read_table(shelfcode_data / "completejourney/baskets.parquet", columns=["household_id", "week", "at"])
    week_R, at_R = order_values(baskets["week"]), order_values(baskets["at"])
    split = split_by_time(week_R, validation_from=45)
    assert (week_R[split.train_R].max(), week_R[split.validation_R].min(), week_R[split.validation_R].max()) == (44, 45, 47)
    assert len(split.train_R) + len(split.validation_R) == len(baskets)
    assert at_R[split.train_R].max() < at_R[split.validation_R].max()

    user_R = np.unique(baskets["household_id"].to_numpy(), return_inverse=True)[1]
    left_out = leave_one_out(user_R, at_R)
    last_U = np.full(user_R.max() + 1, -np.inf)
    np.maximum.at(last_U, user_R, at_R)
    assert len(np.unique(user_R[left_out.test_R])) == len(left_out.test_R) == (np.bincount(user_R) > 2).sum()
    np.testing.assert_array_equal(at_R[left_out.test_R], last_U[user_R[left_out.test_R]])
    first_U = dict(zip(user_R[left_out.validation_R].tolist(), at_R[left_out.validation_R].tolist(), strict=True))
    assert all(first_U[user] <= at for user, at in zip(user_R[left_out.test_R].tolist(), at_R[left_out.test_R].tolist(), strict=True))


def sequences(*products: list[int], users: list[str] | None = None, **options: Any) -> SessionLog:
    return log_of_sessions(products, users or [f"user {number}" for number in range(len(products))], **options)


def test_of_each_user_the_last_product_is_the_test_and_the_one_before_it_the_validation_across_sessions():
    log = sequences([1, 2], [3], [4, 5, 6, 7], [8, 9], [1], users=["a", "a", "b", "c", "d"])
    left_out = leave_one_out_sessions(log)
    assert log.product_E[left_out.test_event_T].tolist() == [3, 7]
    assert log.product_E[left_out.validation_event_V].tolist() == [2, 6]
    training = without_events(log, left_out.events)
    assert training.product_E.tolist() == [1, 4, 5, 8, 9, 1], "users of two products are only learnt from"
    for events in (left_out.test_event_T, left_out.validation_event_V):
        check_no_leak(training, targets_of_events(log, events, whole_sessions=False))
    assert len(leave_one_out_sessions(log_of_sessions([])).events) == 0


def test_leave_one_out_of_sets_is_refused():
    with pytest.raises(ShelfcodeError, match=r"ordered=false. Split by time"):
        leave_one_out_sessions(sequences([1, 2, 3], ordered=False))


def test_a_log_with_a_row_a_step_is_refused():
    growing = [[product + user for product in range(length)] for user in range(5) for length in range(2, 6)]
    with pytest.raises(ShelfcodeError, match=r"15 of 15 sessions .* such as session 0, from 0.*keep the longest row of each user"):
        leave_one_out_sessions(sequences(*growing, users=[str(row // 4) for row in range(20)]))
    other_users = sequences(*growing)
    assert len(leave_one_out_sessions(other_users).test_event_T) == 15
    turned = [list(reversed(row)) for row in growing]
    assert len(leave_one_out_sessions(sequences(*turned, users=[str(row // 4) for row in range(20)])).test_event_T) == 5


def test_sessions_are_split_where_the_times_say():
    log = sequences([1, 2], [3], [4], [5], users=["a", "a", "b", "b"], times=[10, 30, 20, 40])
    split = split_sessions_by_time(log, 20, 40)
    assert [mask.tolist() for mask in (split.train_S, split.validation_S, split.test_S)] == [
        [True, False, False, False], [False, True, True, False], [False, False, False, True]
    ]  # fmt: skip
    assert not split_sessions_by_time(log, 20).test_S.any()


@pytest.mark.parametrize(("times", "edges", "message"), [
    ([10, None], (20, None), "1 of 2 sessions have no time.*columns.at="),
    ([10, 30], (30, 20), "the test begins at 1970-01-01 00:00:20, before the validation at 1970-01-01 00:00:30"),
    ([10, 30], (5, None), "no session is left to learn from: .*the log is of 1970-01-01 00:00:10 to 1970-01-01 00:00:30"),
    ([10, 30], (20, 25), "no session is left to validate on"),
])  # fmt: skip
def test_a_split_that_leaves_nothing_or_knows_no_times_is_refused(times, edges, message):
    with pytest.raises(ShelfcodeError, match=message):
        split_sessions_by_time(sequences([1], [2], times=times), *edges)


@pytest.fixture
def bought() -> SessionLog:
    """User a buys 1 again, b has another basket; the last session of each is the test."""
    return sequences([1, 2], [1, 3], [4, 5], [6, 7], users=["a", "a", "b", "b"], times=[10, 30, 20, 40], ordered=False)


def test_a_basket_on_both_sides_is_a_leak_and_one_bought_again_is_none(bought):
    test_S = bought.at_S >= 30
    events = np.flatnonzero(np.repeat(test_S, np.diff(bought.first_S)))
    targets = targets_of_events(bought, events, whole_sessions=True)
    assert targets.new_T.tolist() == [False, True, True, True]
    check_no_leak(only_sessions(bought, ~test_S), targets)
    with pytest.raises(ShelfcodeError, match=r"in 2 of 4 cases: product 6 .* the same rows are on both sides \(case 2, user 1\)"):
        check_no_leak(only_sessions(bought, np.array([True, False, True, True])), targets)
    part = without_events(bought, events[1:])
    with pytest.raises(ShelfcodeError, match=r"in 2 of 4 cases: product 1 .* the same rows are on both sides"):
        check_no_leak(part, targets)


def test_a_target_that_stays_in_the_training_history_is_a_leak():
    log = sequences([1, 2, 3, 4], [5, 6, 7])
    left_out = leave_one_out_sessions(log)
    targets = targets_of_events(log, left_out.test_event_T, whole_sessions=False)
    check_no_leak(without_events(log, left_out.test_event_T), targets)
    with pytest.raises(ShelfcodeError, match=r"in 1 of 2 cases: product 7"):
        check_no_leak(without_events(log, left_out.test_event_T[:1]), targets)
    moved = replace(log, key_S=log.key_S + np.uint64(1))  # the same rows under other names of sessions
    with pytest.raises(ShelfcodeError, match=r"in 2 of 2 cases: product 4 .* new to its user, whose training history has it"):
        check_no_leak(moved, targets)


def test_real_sequences_and_baskets_split_without_a_leak(shelfcode_data):
    places = {item: place for place, item in enumerate(column(shelfcode_data, "amazon_beauty/catalog.parquet", "item_id"))}
    products = [[places[item] for item in items] for items in column(shelfcode_data, "amazon_beauty/sequences.parquet", "item_ids")]
    log = sequences(*products)
    left_out = leave_one_out_sessions(log)
    assert len(left_out.test_event_T) == len(products) == 22_363
    assert log.product_E[left_out.test_event_T].tolist() == [each[-1] for each in products]
    check_no_leak(without_events(log, left_out.events), targets_of_events(log, left_out.events, whole_sessions=False))


def column(folder: Path, file: str, name: str) -> list[Any]:
    return pq.read_table(folder / file, columns=[name])[name].to_pylist()
