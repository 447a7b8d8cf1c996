"""A log in any form and number of files becomes the same sessions, and every event of it is accounted for."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.listed_files import list_files
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions import account
from shelfcode.interactions.account import Tally, complete_record
from shelfcode.interactions.reading import LogDraft, count_partitions, log_columns, store_pieces, store_sessions
from shelfcode.interactions.record import InteractionsRecord, check_kinds, check_products, check_sessions
from shelfcode.interactions.session_log import NO_TIME, SessionLog, open_session_log
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import index_keys, item_keys
from shelfcode.workspace import Workspace

ITEMS = item_keys(pa.array([f"p{number}" for number in range(20)]))
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def read(url: Path, workspace: Workspace, partitions: int = 1, piece: int = 10**6, **settings: Any) -> InteractionsRecord:
    """A log, read in one process. What must add up is seen to."""
    of, files = InteractionSettings(**settings), list_files(str(url))
    draft = LogDraft(workspace, of, log_columns(files, of), "run", "interactions/x", "runs/run", partitions, NOW, piece, 10)
    tally = Tally()
    for task, file in enumerate(files):
        for done in store_pieces([file], task, draft, index_keys(ITEMS)):
            tally.add(Tally.from_json(done.to_json()))
    names = sorted(tally.retailers), sorted(tally.surfaces)
    stored = [store_sessions(partition, draft, *names, ITEMS) for partition in range(partitions)]
    said = {"folder": draft.folder, "source": str(url), "catalog": "c", "products": len(ITEMS), "rejected_folder": "rejected/run"}
    record = complete_record(of, tally, stored, said)
    counts = record.events.model_dump()
    assert counts.pop("read") == sum(counts.values())
    assert record.events.rejected == sum(len(workspace.read_table(part)) for part in workspace.parts("rejected/run"))
    assert record.events.rejected == sum(record.reasons.values())
    assert record.events.used == sum(part.events for part in record.parts)
    return record


def sessions(log: SessionLog) -> Iterator[tuple[str | None, int, list[int]]]:
    """Retailer, time and products of each session."""
    for place, at, first, end in zip(log.retailer_S, log.at_S, log.first_S[:-1], log.first_S[1:], strict=True):
        yield log.retailers[place] if place >= 0 else None, int(at), log.product_E[first:end].tolist()


def users(log: SessionLog) -> list[list[tuple[str | None, int, list[int]]]]:
    """The sessions of each user, whose numbers mean nothing."""
    number = np.unique(log.user_S, return_inverse=True)[1]
    assert (np.diff(log.user_S) >= 0).all()
    every = list(sessions(log))
    return sorted([[each for each, user in zip(every, number, strict=True) if user == one] for one in range(number.max() + 1)], key=str)


BASKETS: list[dict[str, Any]] = [
    {"basket": "b1", "household": 1, "store": "s1", "at": "2017-01-02T00:00:00", "items": ["p1", "p2", "p1"]},
    {"basket": "b2", "household": 1, "store": "s2", "at": "2017-01-01T00:00:00", "items": ["p3"]},
    {"basket": "b3", "household": 2, "store": None, "at": None, "items": ["p4", "nope"]},
    {"basket": "b4", "household": 2, "store": "s1", "at": "2093-01-01T00:00:00", "items": ["p5", "p6"]},
    {"basket": "b5", "household": None, "store": "s1", "at": "2017-01-03T00:00:00", "items": ["p7", "p8"]},
]
COLUMNS = {"session_id": "basket", "user_id": "household", "retailer_id": "store", "item_ids": "items"}
DAY1 = int(datetime(2017, 1, 1, tzinfo=UTC).timestamp())
EXPECTED = [
    [("s1", DAY1 + 2 * 86400, [7, 8])],
    [("s2", DAY1, [3]), ("s1", DAY1 + 86400, [1, 2, 1])],
    [(None, NO_TIME, [4])],
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]], separator: str = "|") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({name: cell for name, cell in row.items() if cell is not None}) + "\n" for row in rows))
    else:
        lines = [[separator.join(cell) if isinstance(cell, list) else "" if cell is None else str(cell) for cell in row.values()]
                 for row in rows]  # fmt: skip
        path.write_text("\n".join(";".join(line) for line in [list(rows[0]), *lines]) + "\n")
    return path


@pytest.mark.parametrize("name", ["b.parquet", "b.jsonl", "b.csv", "b.tsv.csv"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_format_becomes_the_same_sessions(tmp_path: Path, workspace: Workspace, name: str, partitions: int) -> None:
    path = write(tmp_path / name, BASKETS, "|" if name == "b.csv" else ", ")
    record = read(path, workspace, partitions, columns=COLUMNS)
    assert users(open_session_log(workspace, record)) == EXPECTED
    assert record.model_dump(include={"rows", "sessions", "users", "anonymous_sessions", "unknown_events", "joined_events"}) == {
        "rows": 5, "sessions": 4, "users": 2, "anonymous_sessions": 1, "unknown_events": 1, "joined_events": 8,
    }  # fmt: skip
    assert record.reasons == {"at is in the future": 2, "no such product in the catalog": 1}
    assert (record.retailers, record.unknown_examples) == (("s1", "s2"), ("nope",))
    assert (record.first_at, record.last_at) == (DAY1, DAY1 + 2 * 86400)


def test_how_a_log_is_cut_into_files_and_pieces_changes_nothing(tmp_path: Path, workspace: Workspace) -> None:
    whole = read(write(tmp_path / "whole" / "b.parquet", BASKETS), workspace, columns=COLUMNS)
    for number, row in enumerate(BASKETS):
        typed = pa.Table.from_pylist([row], pa.schema([("basket", pa.string()), ("household", pa.int64()), ("store", pa.string()),
                                                      ("at", pa.string()), ("items", pa.list_(pa.string()))]))  # fmt: skip
        (tmp_path / "cut").mkdir(exist_ok=True)
        pq.write_table(typed, tmp_path / "cut" / f"{number}.parquet")
    other = Workspace(str(tmp_path / "other"))
    cut = read(tmp_path / "cut", other, 2, piece=1, columns=COLUMNS)
    assert cut.fingerprint == whole.fingerprint
    assert users(open_session_log(other, cut)) == EXPECTED


def test_a_session_without_times_may_lie_in_several_files(tmp_path: Path, workspace: Workspace) -> None:
    for name, rows in (("1.csv", "s,p1\nt,p9\ns,p2\n"), ("2.csv", "s,p3\nt,p8\n")):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / name).write_text("session_id,item_id\n" + rows)
    record = read(tmp_path / "log", workspace, partitions=3, piece=1)
    assert sorted(products for _, _, products in sessions(open_session_log(workspace, record))) == [[1, 2, 3], [9, 8]]


def test_sets_and_limits_are_counted(tmp_path: Path, workspace: Workspace) -> None:
    rows = [{"user_id": "crawler", "at": number, "item_ids": [f"p{number % 20}", f"p{number % 20}"]} for number in range(50)]
    rows.append({"user_id": "u", "at": 5, "item_ids": ["p1", "p2"]})
    record = read(write(tmp_path / "b.jsonl", rows), workspace, piece=10, ordered=False, events_per_user_max=3)
    log = open_session_log(workspace, record)
    assert users(log) == [[(None, 47, [7]), (None, 48, [8]), (None, 49, [9])], [(None, 5, [1, 2])]]
    assert not log.ordered
    counts = record.events
    assert (counts.read, counts.used, counts.duplicates, counts.over_limit, record.users_over_limit) == (102, 5, 50, 47, 1)
    assert any("events left out of 1 users who have more than 3" in line for line in record.lines())


def test_lines_that_cannot_be_parsed_are_kept_and_half_a_log_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text('{"user_id": "u", "item_ids": ["p1", "p2"]}\n{"user_id": \n')
    record = read(path, workspace)
    assert (record.rows, record.events.read, record.events.rejected) == (2, 3, 1)
    broken = write(tmp_path / "b.parquet", BASKETS)
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(ShelfcodeError, match="file cannot be read"):
        read(broken, workspace)


def test_files_of_other_columns_are_refused_by_name(tmp_path: Path, workspace: Workspace) -> None:
    for name, head in (("1.csv", "session_id,user_id,item_id"), ("2.csv", "session_id,customer,item_id")):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / name).write_text(f"{head}\ns,u,p1\n")
    with pytest.raises(ShelfcodeError, match=r"2.csv has no column 'user_id' for user_id, and other files of the log have one"):
        read(tmp_path / "log", workspace)
    with pytest.raises(ShelfcodeError, match="there is nothing there"):
        list_files(str(tmp_path / "nowhere"))


def test_a_log_is_cut_by_the_size_of_its_files(tmp_path: Path) -> None:
    files = list_files(str(write(tmp_path / "b.csv", BASKETS * 100)))
    size = (tmp_path / "b.csv").stat().st_size
    assert count_partitions(files) == 1
    assert count_partitions(files, 10) == -(-size // 100)
    assert count_partitions(files * 2, 10) == -(-size // 100), "the shares of one file are one file"


def test_a_column_of_too_many_names_is_another_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(account.MOST_NAMES, "surfaces", ("surface", 2))
    monkeypatch.setattr(account, "MOST_KINDS", 2)
    tally = Tally(surfaces={"web", "app"}, kinds=Counter(view=2, cart=3))
    with pytest.raises(ShelfcodeError, match=r"surface has more than 2 different values.*columns.surface="):
        tally.add(Tally(surfaces={"shop"}, kinds=Counter(view=2, page=1)))
    assert tally.kinds == {"view": 4, "cart": 3}


def test_another_catalog_is_refused_with_examples_unless_the_threshold_lets_it_through() -> None:
    with pytest.raises(
        ShelfcodeError, match=r"151 of 1,000 events \(15.1 %\) .* such as 'x', 'y'; at most 10 % .*unknown_products_max=0.16"
    ):
        check_products(1000, 151, ("x", "y"), InteractionSettings())
    check_products(1000, 151, ("x", "y"), InteractionSettings(unknown_products_max=0.16))
    check_products(0, 0, (), InteractionSettings())


def test_kinds_that_no_event_has_are_refused_with_those_there_are() -> None:
    check_kinds({"view": 3, "order": 1}, InteractionSettings(events=["order"]))
    with pytest.raises(ShelfcodeError, match=r"names 'orders'. Kinds of events found: 'view' \(3\), 'order' \(1\)"):
        check_kinds({"view": 3, "order": 1}, InteractionSettings(events=["order", "orders"]))
    with pytest.raises(ShelfcodeError, match="found: none"):
        check_kinds({}, InteractionSettings(events=["order"]))


def test_a_log_with_one_product_a_session_is_refused_unless_a_user_comes_back(tmp_path: Path, workspace: Workspace) -> None:
    single = [{"user_id": f"u{number}", "item_ids": [f"p{number}"]} for number in range(5)]
    with pytest.raises(ShelfcodeError, match=r"a log with one product a session: nothing to learn from. None of its 5 sessions"):
        check_sessions(read(write(tmp_path / "a.jsonl", single), workspace))
    check_sessions(read(write(tmp_path / "b.jsonl", [*single, single[0]]), workspace))
    check_sessions(read(write(tmp_path / "c.jsonl", [*single, {"item_ids": ["p1", "p2"]}]), workspace))
    with pytest.raises(ShelfcodeError, match=r"no event can be used. 1 events read: 0 used"):
        check_sessions(read(write(tmp_path / "d.jsonl", [{"item_ids": ["nope"]}]), Workspace(str(tmp_path / "empty"))))
