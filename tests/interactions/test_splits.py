"""Nothing is learnt from what came later than it is measured on."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from shelfcode.interactions.columns import order_values
from shelfcode.interactions.splits import leave_one_out, split_by_time


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
