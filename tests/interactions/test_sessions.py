"""Events become sessions: of each user side by side, oldest first, products once in a set, and the latest of too many."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.interactions.instants import PER_SECOND
from shelfcode.interactions.session_log import NO_PLACE, NO_TIME
from shelfcode.interactions.session_rows import NO_KEY, anonymous_key
from shelfcode.interactions.sessions import SettledEvents, session_table, settled
from shelfcode.keys import item_keys

ITEMS = item_keys(pa.array([f"p{number}" for number in range(100)]))
R, S = (int(key) for key in item_keys(pa.array(["r", "s"])))


def events(*rows: tuple[int, int, int | None, int], retailers: list[int] | None = None, start: int = 0) -> pa.Table:
    """User, session, second and product of each."""
    user, session, at, product = zip(*rows, strict=True)
    return pa.table({
        "user": pa.array(user, pa.uint64()), "session": pa.array(session, pa.uint64()),
        "retailer": pa.array(retailers or [NO_KEY] * len(rows), pa.uint64()), "surface": pa.array([NO_KEY] * len(rows), pa.uint64()),
        "at": pa.array([NO_TIME if second is None else second * PER_SECOND for second in at], pa.int64()),
        "product": pa.array(product, pa.int32()), "order": np.arange(start, start + len(rows)),
    })  # fmt: skip


def sessions(done: SettledEvents, **options: Any) -> list[tuple[int, int, list[int]]]:
    table, _ = session_table(done.table, ["r", "s"], [], ITEMS, **{"ordered": True, **options})
    return [(row["user"], row["session"], row["products"]) for row in table.to_pylist()]


def test_events_are_grouped_by_session_and_sessions_by_user_oldest_first() -> None:
    rows = events((1, 11, 9, 0), (2, 21, 5, 1), (1, 12, 3, 2), (1, 11, 8, 3), (1, 12, 4, 4), (2, 22, 5, 5), (1, 12, 3, 2))
    assert sessions(settled(rows, True, 100)) == [(1, 12, [2, 2, 4]), (1, 11, [3, 0]), (2, 21, [1]), (2, 22, [5])]


def test_without_times_the_order_of_the_rows_counts_and_what_has_none_comes_first() -> None:
    rows = events((1, 13, None, 0), (1, 12, None, 1), (1, 13, None, 2), (1, 11, 7, 3), (1, 11, None, 4))
    assert sessions(settled(rows, True, 100)) == [(1, 13, [0, 2]), (1, 12, [1]), (1, 11, [4, 3])]


def test_a_set_has_a_product_once_and_a_sequence_as_often_as_it_comes() -> None:
    rows = events((1, 11, 2, 7), (1, 11, 1, 7), (1, 11, 3, 8), (1, 12, 4, 7))
    done = settled(rows, False, 100)
    assert (sessions(done), done.duplicates) == ([(1, 11, [7, 8]), (1, 12, [7])], 1)
    assert settled(rows, True, 100).duplicates == 0


def test_of_a_user_with_too_many_events_the_latest_stay() -> None:
    rows = events(*((1, 10 + second // 3, second, second) for second in range(8)), (2, 21, 0, 50))
    done = settled(rows, True, 4)
    assert sessions(done) == [(1, 11, [4, 5]), (1, 12, [6, 7]), (2, 21, [50])]
    assert (done.over_limit, done.users_over_limit.tolist()) == (4, [1])
    assert settled(rows, True, 8).over_limit == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_events_that_come_in_pieces_become_the_same_sessions(ordered: bool) -> None:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 4, 300)
    rows = [(int(u), int(u * 10 + rng.integers(3)), int(rng.integers(20)), int(rng.integers(5))) for u in user]
    at_once = settled(events(*rows), ordered, 1000)
    one = settled(events(*rows[:100]), ordered, 1000)
    two = settled(pa.concat_tables([one.table, events(*rows[100:], start=100)]), ordered, 1000)
    assert sessions(two) == sessions(at_once)
    assert one.duplicates + two.duplicates == at_once.duplicates
    assert (at_once.duplicates > 0) is not ordered
    limited = settled(events(*rows), True, 30)
    first = settled(events(*rows[:100]), True, 30)
    second = settled(pa.concat_tables([first.table, events(*rows[100:], start=100)]), True, 30)
    assert sessions(second) == sessions(limited)
    assert first.over_limit + second.over_limit == limited.over_limit > 0


def test_what_is_known_of_sessions_is_counted() -> None:
    anonymous = int(anonymous_key(np.array([31], np.uint64))[0])
    rows = events((1, 11, 5, 0), (1, 11, 6, 1), (1, 12, None, 2), (2, 21, 9, 3), (anonymous, 31, 7, 4), retailers=[0, S, R, R, R])
    table, facts = session_table(settled(rows, True, 9).table, ["r", "s"], [], ITEMS, True)
    assert table["retailer"].to_pylist() == [0, 1, 0, 0]
    assert table["surface"].to_pylist() == [NO_PLACE] * 4
    assert table["at"].to_pylist() == [NO_TIME, 5, 9, 7]
    assert facts.model_dump(exclude={"fingerprint"}) == {
        "sessions": 4, "single_sessions": 3, "users": 2, "returning_users": 1, "anonymous_sessions": 1, "sessions_without_time": 1,
        "mixed_sessions": 0, "first_at": 5, "last_at": 9,
    }  # fmt: skip
    mixed = events((1, 11, 5, 0), (1, 11, 6, 1), (1, 11, 7, 1), retailers=[0, S, R])
    table, facts = session_table(settled(mixed, True, 9).table, ["r", "s"], [], ITEMS, True)
    assert (table["retailer"].to_pylist(), facts.mixed_sessions) == ([1], 1)
    empty, facts = session_table(events((1, 1, 1, 1)).slice(0, 0), [], [], ITEMS, True)
    assert (len(empty), facts.sessions, facts.first_at) == (0, 0, None)


def test_the_fingerprint_is_of_what_the_sessions_are() -> None:
    def fingerprint(*rows: tuple[int, int, int | None, int], ordered: bool = True) -> int:
        return session_table(settled(events(*rows), ordered, 9).table, [], [], ITEMS, ordered)[1].fingerprint

    one, other = (1, 11, 5, 0), (1, 11, 5, 1)
    assert fingerprint(one, other) == fingerprint((1, 12, 5, 0), (1, 12, 5, 1)) != fingerprint(other, one)
    assert fingerprint(one, other, ordered=False) == fingerprint(other, one, ordered=False)
    assert len({fingerprint(one), fingerprint((2, 11, 5, 0)), fingerprint((1, 11, 6, 0)), fingerprint((1, 11, 5, 1))}) == 4
    assert (fingerprint(one) + fingerprint((2, 21, 3, 4))) % 2**64 == fingerprint(one, (2, 21, 3, 4))
