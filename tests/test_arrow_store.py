"""A part is read by columns, from a store that takes its time or fails now and then, and no more of it than was asked for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from flaky_store import FlakyStore, flaky_store
from fsspec.implementations.memory import MemoryFileSystem
from tenacity import wait_none

from shelfcode import arrow_store
from shelfcode.arrow_store import read_parquet
from shelfcode.workspace import Workspace

ROWS, DIMENSIONS = 20_000, 64


@pytest.fixture
def store(s3: str) -> Iterator[FlakyStore]:
    with flaky_store() as opened, opened.as_endpoint():
        yield opened


def vectors(rows: int = ROWS) -> pa.Table:
    x_ND = np.random.default_rng(0).random((rows, DIMENSIONS), dtype=np.float32)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.reshape(-1)), DIMENSIONS)
    return pa.table({"item_id": [f"{n}" for n in range(rows)], "embedding": embedding, "text_hash": [f"{n:032x}" for n in range(rows)]})


def test_of_a_part_in_a_bucket_only_the_columns_asked_for_are_fetched(store: FlakyStore, s3: str, tmp_path: Path) -> None:
    workspace, table = Workspace(f"{s3}/{tmp_path.name}"), vectors()
    workspace.write_table("embeddings/part-0.parquet", table)
    stored = workspace.files("")[0].bytes
    before = store.served
    assert workspace.read_table("embeddings/part-0.parquet", columns=["text_hash", "item_id"]).equals(
        table.select(["text_hash", "item_id"])
    )
    assert store.served - before < stored / 5
    before = store.served
    assert workspace.read_schema("embeddings/part-0.parquet") == table.schema
    assert store.served - before < stored / 20
    assert workspace.read_table("embeddings/part-0.parquet").equals(table)


def test_many_parts_wait_for_a_slow_store_together(store: FlakyStore, s3: str, tmp_path: Path) -> None:
    workspace = Workspace(f"{s3}/{tmp_path.name}")
    for number in range(24):
        workspace.write_table(f"t/part-{number:02}.parquet", pa.table({"item_id": [f"{number}"]}))
    parts = workspace.parts("t")
    store.delay, store.most_waiting = 0.05, 0
    tables = list(workspace.read_tables(parts, ["item_id"]))
    assert [table["item_id"][0].as_py() for table in tables] == [f"{number}" for number in range(24)]
    assert store.most_waiting > 4
    store.most_waiting = 0
    workspace.move_folder("t", "u")
    assert store.most_waiting > 4
    store.delay = 0
    assert len(workspace.parts("u")) == 24


def test_a_file_or_column_that_is_not_there_is_told_as_such(workspace_url: str) -> None:
    workspace = Workspace(workspace_url)
    workspace.write_table("part-0.parquet", pa.table({"item_id": ["1"]}))
    workspace.write_bytes("part-1.parquet", b"PAR1, or half of it")
    with pytest.raises(FileNotFoundError):
        workspace.read_table("nowhere.parquet")
    with pytest.raises(FileNotFoundError):
        workspace.read_schema("nowhere.parquet")
    with pytest.raises(pa.ArrowException, match="price"):
        workspace.read_table("part-0.parquet", columns=["item_id", "price"])
    with pytest.raises((pa.ArrowException, OSError)):
        workspace.read_table("part-1.parquet")


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    workspace.write_table("shop=7/part-0.parquet", pa.table({"item_id": ["1"]}))
    assert workspace.read_table("shop=7/part-0.parquet").column_names == ["item_id"]


def test_a_store_that_pyarrow_does_not_know_is_read_through_fsspec() -> None:
    workspace = Workspace("memory://shelf")
    workspace.write_table("t/part-0.parquet", vectors(10))
    assert workspace.read_table("t/part-0.parquet", columns=["item_id"]).equals(vectors(10).select(["item_id"]))
    MemoryFileSystem.store.clear()


def failing_read(errors: list[OSError], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pa.Table:
    """A read whose first tries fail in these ways."""
    workspace = Workspace(str(tmp_path))
    workspace.write_table("part-0.parquet", pa.table({"item_id": ["1"]}))
    read_table = arrow_store.pq.read_table

    def read(*arguments: object, **named: object) -> pa.Table:
        if errors:
            raise errors.pop(0)
        return read_table(*arguments, **named)

    monkeypatch.setattr(arrow_store.pq, "read_table", read)
    monkeypatch.setattr(arrow_store, "WAIT", wait_none())
    return read_parquet(workspace.fs, workspace.path("part-0.parquet"))


@pytest.mark.parametrize(
    "told",
    ["SLOW_DOWN during GetObject operation", "NETWORK_CONNECTION during HeadObject operation: curlCode: 52", "UNKNOWN (HTTP status 500)"],
)
def test_a_read_that_the_store_did_not_answer_is_tried_again(told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(failing_read([OSError(f"AWS Error {told}")] * 9, monkeypatch, tmp_path)) == 1
    with pytest.raises(OSError, match="AWS Error"):
        failing_read([OSError(f"AWS Error {told}")] * 10, monkeypatch, tmp_path)


@pytest.mark.parametrize("told", ["AWS Error ACCESS_DENIED during HeadObject", "AWS Error UNKNOWN (HTTP status 301) during", "thrift"])
def test_a_read_that_will_never_succeed_is_tried_once(told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    errors = [OSError(told), OSError("the second try")]
    with pytest.raises(OSError, match=r"thrift|AWS"):
        failing_read(errors, monkeypatch, tmp_path)
    assert len(errors) == 1
