"""Sessions as flat arrays: from plain values, from a workspace, and parts of them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.record import EventCounts, InteractionsRecord, LogPart
from shelfcode.interactions.session_log import (
    NO_TIME,
    SessionLog,
    log_of_sessions,
    only_sessions,
    open_session_log,
    session_of_events,
    without_events,
)  # fmt: skip
from shelfcode.interactions.sessions import SESSIONS
from shelfcode.workspace import Workspace


def lists(log: SessionLog) -> list[tuple[int, list[int]]]:
    return [
        (int(user), log.product_E[first:end].tolist())
        for user, first, end in zip(log.user_S, log.first_S[:-1], log.first_S[1:], strict=True)
    ]


def test_sessions_of_a_user_stand_side_by_side_oldest_first() -> None:
    log = log_of_sessions([[1, 2], [3], [4, 4], [5]], users=["a", None, "a", None], retailers=["x", None, "y", "x"], times=[9, 3, 2, None])
    assert lists(log) == [(0, [4, 4]), (0, [1, 2]), (1, [3]), (2, [5])]
    assert log.at_S.tolist() == [2, 9, 3, NO_TIME]
    assert ([*log.retailers], log.retailer_S.tolist(), log.surface_S.tolist()) == (["x", "y"], [1, 0, -1, 0], [-1] * 4)
    assert [array.dtype for array in (log.product_E, log.first_S, log.user_S, log.retailer_S, log.at_S, log.key_S)] == [
        np.int32, np.int64, np.int32, np.int32, np.int64, np.uint64
    ]  # fmt: skip
    assert len(set(log.key_S.tolist())) == log.sessions == 4


def test_a_set_has_a_product_once() -> None:
    assert lists(log_of_sessions([[4, 5, 4]], ordered=False)) == [(0, [4, 5])]
    assert lists(log_of_sessions([[4, 5, 4]])) == [(0, [4, 5, 4])]


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="1 users for 2 sessions"):
        log_of_sessions([[1], [2]], users=["a"])
    with pytest.raises(ValueError, match="session 1 has no product"):
        log_of_sessions([[1], []])
    assert log_of_sessions([]).sessions == 0


def test_a_part_keeps_who_is_who() -> None:
    log = log_of_sessions([[1, 2], [3], [4, 5, 6]], users=["a", "a", "b"], times=[1, 2, 3])
    assert session_of_events(log, np.array([0, 1, 2, 5])).tolist() == [0, 0, 1, 2]
    some = only_sessions(log, np.array([False, True, True]))
    assert lists(some) == [(0, [3]), (1, [4, 5, 6])]
    assert (some.key_S.tolist(), some.at_S.tolist()) == (log.key_S[1:].tolist(), [2, 3])
    rest = without_events(log, np.array([2, 4]))
    assert lists(rest) == [(0, [1, 2]), (1, [4, 6])]
    assert rest.key_S.tolist() == log.key_S[[0, 2]].tolist()
    assert lists(without_events(log, np.arange(6))) == []
    assert lists(without_events(log, np.empty(0, np.int64))) == lists(log)


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Workspace, InteractionsRecord]:
    """Two parts: user 7 with two sessions, and two other users."""
    workspace = Workspace(str(tmp_path / "workspace"))
    columns = ("session", "user", "retailer", "surface", "at", "products")
    rows = [[(71, 7, 0, -1, 5, [1, 2]), (72, 7, 1, 0, 6, [3])], [(81, 8, -1, -1, NO_TIME, [4]), (91, 9, 0, 0, 2, [5, 6, 7])]]
    parts = []
    for number, part in enumerate(rows):
        table = SESSIONS.empty_table().from_pylist([dict(zip(columns, row, strict=True)) for row in part], SESSIONS)
        parts.append(LogPart(path=f"interactions/x/part-{number}.parquet", sessions=2, events=sum(len(row[-1]) for row in part)))
        workspace.write_table(parts[-1].path, table)
    record = InteractionsRecord(
        folder="interactions/x", source="log", settings={"ordered": False}, catalog="c", products=8, fingerprint="f",
        rows=4, events=EventCounts(read=7, used=7), reasons={}, rejected_folder="rejected/r", unknown_events=0, joined_events=7,
        unknown_examples=(), kinds={}, sessions=4, single_sessions=2, users=3, returning_users=1, anonymous_sessions=0,
        sessions_without_time=1, users_over_limit=0, mixed_sessions=0, retailers=("r", "s"), surfaces=("web",), first_at=2, last_at=6,
        parts=tuple(parts),
    )  # fmt: skip
    return workspace, record


def test_a_stored_log_is_mapped_and_built_once(stored: tuple[Workspace, InteractionsRecord]) -> None:
    workspace, record = stored
    with ThreadPoolExecutor(4) as threads:
        logs = list(threads.map(lambda _: open_session_log(workspace, record), range(4)))
    log = logs[0]
    assert lists(log) == [(0, [1, 2]), (0, [3]), (1, [4]), (2, [5, 6, 7])]
    assert (log.retailer_S.tolist(), log.surface_S.tolist(), log.at_S.tolist()) == ([0, 1, -1, 0], [-1, 0, -1, 0], [5, 6, NO_TIME, 2])
    assert (log.key_S.tolist(), log.retailers, log.surfaces, log.ordered) == ([71, 72, 81, 91], ("r", "s"), ("web",), False)
    assert all(isinstance(each.product_E, np.memmap) for each in logs)
    workspace.remove("interactions")
    assert lists(open_session_log(workspace, record)) == lists(log)


def test_another_reading_of_the_log_takes_the_place_of_the_earlier(stored: tuple[Workspace, InteractionsRecord]) -> None:
    workspace, record = stored
    log = open_session_log(workspace, record)
    later = open_session_log(workspace, record.model_copy(update={"fingerprint": "g"}))
    assert lists(log) == lists(later)
    workspace.remove("interactions")
    with pytest.raises(OSError, match="part-0"):
        open_session_log(workspace, record)


def test_a_part_that_is_not_what_the_manifest_says_is_refused(stored: tuple[Workspace, InteractionsRecord]) -> None:
    workspace, record = stored
    parts = (record.parts[0].model_copy(update={"sessions": 1}), *record.parts[1:])
    with pytest.raises(ShelfcodeError, match=r"part-0.parquet holds 2 sessions.* says 1.*delete"):
        open_session_log(workspace, record.model_copy(update={"parts": parts, "sessions": 3}))
