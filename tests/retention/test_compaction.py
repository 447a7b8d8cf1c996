"""A part is written again only where it pays, and every row that is referred to has one place."""

import numpy as np
import pytest

from shelfcode.retention.compaction import SIZES, Part, group_parts, plan_table

FULL, LARGE = SIZES.largest, SIZES.small


def parts(*counts: tuple[int, int]) -> list[Part]:
    """Parts by their rows and how many of them live."""
    return [Part(number, f"part-{number}", rows, live) for number, (rows, live) in enumerate(counts)]


def grouped(*counts: tuple[int, int]) -> list[list[int]]:
    return [sorted(part.number for part in group) for group in group_parts(parts(*counts))]


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([], []),
        ([(LARGE, LARGE), (FULL, FULL)], []),
        ([(5, 5)], []),  # small, and nothing to join it with
        ([(5, 5), (LARGE, LARGE)], []),
        ([(5, 5), (7, 7)], [[0, 1]]),
        ([(LARGE - 1, LARGE - 1), (LARGE - 1, LARGE - 1)], [[0, 1]]),
        ([(FULL, int(FULL * 0.7) + 1)], []),
        ([(FULL, int(FULL * 0.7) - 1)], [[0]]),  # more than 30 % is dead
        ([(10, 6)], [[0]]),
        ([(10, 0), (10, 10)], []),  # a part of which nothing is left is not joined with any
        ([(FULL, FULL // 2), (FULL, FULL // 2)], [[0, 1]]),
        ([(FULL, FULL // 2), (FULL, FULL // 2), (9, 9)], [[0, 2], [1]]),
        ([(2 * FULL, FULL + 1)], [[0]]),  # larger than parts are made here: alone
    ],
)
def test_what_is_written_again(counts: list[tuple[int, int]], groups: list[list[int]]) -> None:
    assert grouped(*counts) == groups


def test_two_hundred_small_parts_become_one_and_large_ones_stay_below_the_limit() -> None:
    assert [len(group) for group in group_parts(parts(*[(100, 100)] * 200))] == [200]
    groups = group_parts(parts(*[(LARGE - 1, LARGE - 1)] * 40))
    assert sum(len(group) for group in groups) == 40
    assert all(sum(part.live for part in group) <= FULL for group in groups)
    assert len(groups) == 10


def test_what_the_rules_filled_in_place_of_a_model_is_not_joined_with_the_models_answers() -> None:
    table = [Part(number, f"t/part-{name}.parquet", 5, 5) for number, name in enumerate(["00", "ff", "rules-00", "rules-ff"])]
    assert [sorted(part.number for part in group) for group in group_parts(table)] == [[0, 1], [2, 3]]


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_of_a_row_stored_twice_the_first_copy_stays_and_of_rows_nobody_refers_to_none() -> None:
    plan = plan_table("t", ["a", "b"], [keys(1, 2, 2, 9), keys(2, 3)], 0, keys(1, 2, 3))
    assert [(part.path, part.rows, part.live) for group in plan.groups for part in group] == [("b", 2, 1), ("a", 4, 2)]
    assert dict(zip(plan.owner.keys_K.tolist(), plan.owner.values_K.tolist(), strict=True)) == {1: 0, 2: 0, 3: 1}
    assert (plan.parts, plan.parts_after, plan.rows_dropped) == (2, 1, 3)


def test_where_it_is_not_known_what_is_referred_to_every_row_stays_once() -> None:
    plan = plan_table("t", ["a", "b"], [keys(1, 2), keys(2, 9)], 0, None)
    assert plan.owner.keys_K.tolist() == [1, 2, 9]
    assert plan.rows_dropped == 1


def test_young_parts_are_not_touched_and_what_they_hold_need_not_be_elsewhere() -> None:
    plan = plan_table("t", ["young", "a", "b"], [keys(1, 2, 3), keys(1, 2), keys(3)], 1, keys(1, 2, 3))
    assert plan.groups == ()
    assert [part.path for part in plan.empty] == ["a", "b"]
    assert (plan.parts_after, plan.rows_dropped) == (1, 3)


def test_a_table_without_rows_has_nothing_to_do() -> None:
    plan = plan_table("t", ["a"], [keys(1)], 0, None)
    assert plan.replaced == []
