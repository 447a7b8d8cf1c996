"""By Ray Data a log becomes sessions in the workspace, once, from every shape of source and any store."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions import pipeline
from shelfcode.interactions.pipeline import take_interactions
from shelfcode.interactions.record import InteractionsRecord
from shelfcode.interactions.session_log import NO_TIME, open_session_log
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import item_keys
from shelfcode.workspace import Workspace

pytestmark = pytest.mark.usefixtures("local_ray")

ITEMS = item_keys(pa.array([f"p{number}" for number in range(10)]))


def take(url: str, workspace: Workspace, run: str = "run", told: list[int] | None = None, **settings: Any) -> InteractionsRecord:
    """A log, read by many tasks. What must add up is seen to."""
    record = take_interactions(url, InteractionSettings(**settings), ITEMS, workspace, run, (told if told is not None else []).append)
    counts = record.events.model_dump()
    assert counts.pop("read") == sum(counts.values())
    assert record.events.rejected == sum(len(workspace.read_table(part)) for part in workspace.parts(record.rejected_folder))
    return record


def sessions(workspace: Workspace, record: InteractionsRecord) -> Iterator[tuple[str | None, int, list[int]]]:
    log = open_session_log(workspace, record)
    for place, at, first, end in zip(log.retailer_S, log.at_S, log.first_S[:-1], log.first_S[1:], strict=True):
        yield log.retailers[place] if place >= 0 else None, int(at), log.product_E[first:end].tolist()


def test_baskets_with_other_names_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "EVENTS_PER_PARTITION", 500)  # so that there are several
    rows = [
        {"basket": f"b{number}", "household": number % 3, "store": f"s{number % 2}", "at": datetime(2017, 1, 1) + timedelta(days=number),
         "products": [f"p{number % 9}", "p9", "p9"]}
        for number in range(12)
    ]  # fmt: skip
    future = {**rows[0], "basket": "b12", "at": datetime.now(UTC).replace(tzinfo=None) + timedelta(days=3)}
    pq.write_table(pa.Table.from_pylist([*rows, future]), tmp_path / "baskets.parquet")
    columns = {"session_id": "basket", "user_id": "household", "retailer_id": "store", "item_ids": "products"}
    workspace, told = Workspace(str(tmp_path / "workspace")), list[int]()
    record = take(str(tmp_path / "baskets.parquet"), workspace, told=told, columns=columns, ordered=False)
    assert sum(told) == record.rows == 13
    assert record.events.model_dump() == {"read": 39, "used": 24, "duplicates": 12, "rejected": 3, "over_limit": 0, "passed_over": 0}
    assert record.reasons == {"at is in the future": 3}
    start = int(datetime(2017, 1, 1, tzinfo=UTC).timestamp())
    assert sorted(sessions(workspace, record), key=lambda each: each[1]) == [
        (f"s{number % 2}", start + number * 86400, [number % 9, 9]) for number in range(12)
    ]
    assert len(record.parts) > 1
    assert workspace.names("runs") == []

    again = take(str(tmp_path / "baskets.parquet"), workspace, "later", told, columns=columns, ordered=False)
    assert (again, sum(told)) == (record, 26)
    assert not workspace.exists("rejected/later")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "baskets.parquet")
    assert take(str(tmp_path / "baskets.parquet"), workspace, "later", columns=columns, ordered=False).folder != record.folder


def test_events_in_a_bucket_are_one_session_in_whichever_file_they_are(tmp_path: Path, s3: str) -> None:
    kinds = ["view", "cart", "view"]
    for name, items in (("1.parquet", ["p1", "p2", "p0"]), ("2.parquet", ["p3", "p4", "p0"])):
        pq.write_table(pa.table({"session_id": ["s", "t", "s"], "event": kinds, "item_id": items}), tmp_path / name)
        fsspec.filesystem("s3").put(str(tmp_path / name), f"{s3}/interactions/log/{name}")
    workspace = Workspace(f"{s3}/interactions/workspace")
    record = take(f"{s3}/interactions/log", workspace)
    assert sorted(sessions(workspace, record)) == [(None, NO_TIME, [1, 0, 3, 0]), (None, NO_TIME, [2, 4])]
    assert record.kinds == {"view": 4, "cart": 2}
    with pytest.raises(
        ShelfcodeError, match=rf"^--interactions {s3}/interactions/log: interactions.events names 'buy'. Kinds .*'view' \(4\)"
    ):
        take(f"{s3}/interactions/log", workspace, events=["buy"])


def test_a_csv_of_another_catalog_is_refused_or_let_through(tmp_path: Path) -> None:
    with (tmp_path / "log.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["visitor", "when", "item_ids"], ["v", "2017-01-01T08:00:00+01:00", '["p1", "p2"]'], ["v", "", "x|p3"]])
    url, columns = str(tmp_path / "log.csv"), {"user_id": "visitor", "at": "when"}
    workspace = Workspace(str(tmp_path / "workspace"))
    with pytest.raises(ShelfcodeError, match=rf"^--interactions {url}: 1 of 4 events \(25 %\) .* such as 'x'"):
        take(url, workspace, columns=columns)
    assert not workspace.exists("interactions")
    record = take(url, workspace, columns=columns, unknown_products_max=0.25)
    at = int(datetime(2017, 1, 1, 7, tzinfo=UTC).timestamp())
    assert list(sessions(workspace, record)) == [(None, NO_TIME, [3]), (None, at, [1, 2])]
    with pytest.raises(ShelfcodeError, match="1 of 4 events"):
        take(url, workspace, columns=columns)  # read before, under another threshold


def test_a_log_that_teaches_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,p1\nv,p2\n")
    workspace = Workspace(str(tmp_path / "workspace"))
    with pytest.raises(ShelfcodeError, match="a log with one product a session"):
        take(str(tmp_path / "log.csv"), workspace)
    assert workspace.names("interactions") == workspace.names("runs") == []
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,p1\nu,p2\n")
    assert list(sessions(workspace, take(str(tmp_path / "log.csv"), workspace))) == [(None, NO_TIME, [1, 2])]
