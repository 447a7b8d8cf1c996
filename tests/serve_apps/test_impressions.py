"""Rows come to the store by number or by time, and neither a store that is down nor an end loses them while they may wait."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import serve_apps.impressions as module
from serve_apps.impressions import KEPT_BATCHES, ImpressionsDeployment
from shelfcode.interactions.impressions import FOLDER, Chosen, Shown
from shelfcode.workspace import Workspace

AT = datetime(2026, 1, 31, tzinfo=UTC)
NEVER = 1000.0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def shown(request_id: str, products: int = 2) -> Shown:
    items = tuple(f"p{number}" for number in range(products))
    return Shown(request_id, "cart", AT, "cr", 0.1, items, (1.0,) * products, ("cr",) * products, user_id="u")


def files(workspace: Workspace) -> list[str]:
    """Without those that are being written."""
    return [file.path for file in workspace.files(FOLDER) if "/part-" in file.path]


def written(workspace: Workspace) -> list[dict[str, Any]]:
    tables = [workspace.read_table(file) for file in files(workspace)]
    return pa.concat_tables(tables).to_pylist() if tables else []


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


def test_rows_are_written_when_they_are_many_and_when_time_is_up(workspace: Workspace) -> None:
    async def write() -> None:
        deployment = ImpressionsDeployment(workspace.url, NEVER, 4)
        await deployment.write([shown("r1")], [])
        await asyncio.sleep(0.02)
        assert written(workspace) == []
        await deployment.write([shown("r2")], [])
        await until(lambda: len(written(workspace)) == 4)
        assert len(files(workspace)) == 1
        deployment.seconds = 0.01
        await deployment.write([], [Chosen("r1", ("p1", "p7"), AT, "cart")])
        await until(lambda: len(written(workspace)) == 6)
        await deployment.write([], [])
        assert deployment.timer is None

    asyncio.run(write())
    chosen = [row for row in written(workspace) if row["event"] == "chosen"]
    assert [(row["item_id"], row["position"], row["user_id"], row["side"]) for row in chosen] == [
        ("p1", 2, "u", "cr"),
        ("p7", None, "u", "cr"),
    ]


def test_a_store_that_is_down_is_tried_again_and_what_may_not_wait_is_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_impressions, tries = module.write_impressions, list[int]()

    def down(_: Workspace, rows: pa.Table) -> str:
        tries.append(len(rows))
        raise OSError("the bucket is asleep")

    async def write() -> None:
        deployment = ImpressionsDeployment(workspace.url, 0.01, 2)
        for number in range(KEPT_BATCHES + 3):
            await deployment.write([shown(f"r{number}")], [])
        await until(lambda: len(tries) > KEPT_BATCHES)
        monkeypatch.setattr(module, "write_impressions", write_impressions)
        await until(lambda: not deployment.batches)
        await deployment.write([shown("later")], [])
        await until(lambda: not deployment.batches)

    monkeypatch.setattr(module, "write_impressions", down)
    monkeypatch.setattr(module, "log", logging.getLogger("impressions"))  # Ray's own may keep its records to itself
    asyncio.run(write())
    assert [row["session_id"] for row in written(workspace) if row["session_id"] == "later"] == ["later"] * 2
    assert sorted({row["session_id"] for row in written(workspace)}) == sorted([*(f"r{number}" for number in range(KEPT_BATCHES)), "later"])
    assert len(written(workspace)) == 2 * (KEPT_BATCHES + 1)
    assert "are kept: the bucket is asleep" in caplog.text
    assert sum(int(record.args[0]) for record in caplog.records if "were dropped" in record.msg and record.args) == 6  # type: ignore[index,call-overload]


def test_the_end_writes_what_waits_once(workspace: Workspace) -> None:
    async def write() -> ImpressionsDeployment:
        deployment = ImpressionsDeployment(workspace.url, NEVER, 100)
        await deployment.write([shown("r1")], [Chosen("r1", ("p0",), AT, "cart", "order")])
        deployment.__del__()  # as Ray Serve does
        assert deployment.timer is None
        return deployment

    deployment = asyncio.run(write())
    assert len(written(workspace)) == 3
    del deployment
    assert len(files(workspace)) == 1


def test_a_text_that_is_none_takes_nothing_else_with_it(workspace: Workspace) -> None:
    async def write() -> None:
        deployment = ImpressionsDeployment(workspace.url, NEVER, 100)
        await deployment.write([shown("r1")], [])
        with pytest.raises(UnicodeEncodeError):
            await deployment.write([], [Chosen("r1", ("\ud800",), AT, "cart")])
        deployment.__del__()

    asyncio.run(write())
    assert {row["session_id"] for row in written(workspace)} == {"r1"}
