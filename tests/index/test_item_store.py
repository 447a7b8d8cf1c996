"""What is known of products is found by its row, whatever the parts of a snapshot look like."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.attributes.prompt import text_hashes
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.errors import ShelfcodeError
from shelfcode.index.item_store import ROWS_PER_BATCH, ItemStore, open_store
from shelfcode.keys import item_keys
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

FOLDER, ATTRIBUTES = "catalog/one", "attributes/rules"


def products(count: int, first: int = 0, **columns: Any) -> pa.Table:
    """Products as a catalog has them, with more columns."""
    numbers = range(first, first + count)
    return pa.table({
        "item_id": [f"item {number}" for number in numbers], "title": [f"title {number}" for number in numbers],
        "description": pa.nulls(count, pa.string()), "brand": [None if number % 3 else "Mossy Glen" for number in numbers], **columns,
    })  # fmt: skip


def attributes(table: pa.Table, product_types: Sequence[str], **columns: Any) -> pa.Table:
    count = len(table)
    return pa.table({
        "item_id": table["item_id"], "text_hash": text_hashes(table), "product_type": pa.array(product_types, pa.string()),
        "dietary_tags": pa.array([["vegan", "organic"] if row % 2 else [] for row in range(count)], pa.list_(pa.string())),
        "format": ["carton"] * count,
        "extractor": ["rules"] * count, "failure": pa.nulls(count, pa.string()), **columns,
    })  # fmt: skip


def write(workspace: Workspace, *parts: pa.Table, folder: str = FOLDER) -> None:
    """A snapshot of these parts."""
    paths = [f"{folder}/part-{number:06}.parquet" for number in range(len(parts))]
    for path, table in zip(paths, parts, strict=True):
        workspace.write_table(path, table)
    rows = sum(map(len, parts))
    snapshot = Snapshot(
        folder=folder, source="test", fingerprint="f", read=rows, rejected=0, rejected_folder="rejected/1", reasons={},
        parts=tuple(SnapshotPart(path=path, rows=len(table)) for path, table in zip(paths, parts, strict=True)),
    )  # fmt: skip
    workspace.write_json(f"{folder}/manifest.json", snapshot.model_dump(mode="json"))


def store_of(workspace: Workspace, *parts: pa.Table) -> ItemStore:
    write(workspace, *parts)
    return open_store(workspace, FOLDER, ATTRIBUTES)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace, on a node whose scratch folder is empty."""
    monkeypatch.setenv("SHELFCODE_SCRATCH", str(tmp_path / "scratch"))
    return Workspace(str(tmp_path / "workspace"))


def test_every_row_is_found(workspace: Workspace) -> None:
    parts = [products(3), products(1, first=3), products(4, first=4)]
    workspace.write_table(f"{ATTRIBUTES}/part-0.parquet", attributes(parts[0], ["a", "b", "c"]))
    store = store_of(workspace, *parts)
    assert len(store) == 8
    assert [store.value(row, "item_id") for row in range(8)] == [f"item {row}" for row in range(8)]
    assert store.values(6, ["title", "brand"]) == {"title": "title 6", "brand": "Mossy Glen"}
    assert store.attributes_of(1) == {"product_type": "b", "dietary_tags": ["vegan", "organic"], "format": "carton"}
    assert store.attributes_of(3) is None
    np.testing.assert_array_equal(store.keys_N, np.concatenate([item_keys(part["item_id"]) for part in parts]))


@pytest.mark.parametrize(
    "sizes",
    [[ROWS_PER_BATCH], [ROWS_PER_BATCH + 1], [ROWS_PER_BATCH - 1, 2], [5, 2 * ROWS_PER_BATCH + 3, 7], [1] * 9],
    ids=lambda sizes: str(sizes),
)
def test_rows_are_found_across_batches(workspace: Workspace, sizes: list[int]) -> None:
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
    store = store_of(workspace, *(products(size, first) for size, first in zip(sizes, firsts, strict=True)))
    rows = sum(sizes)
    assert len(store) == rows
    looked_at = {
        0,
        rows - 1,
        *(row for edge in (*firsts, ROWS_PER_BATCH, 2 * ROWS_PER_BATCH) for row in (edge - 1, edge) if 0 <= row < rows),
    }
    assert [store.value(row, "item_id") for row in sorted(looked_at)] == [f"item {row}" for row in sorted(looked_at)]


def test_parts_may_have_other_columns_and_other_numbers(workspace: Workspace) -> None:
    store = store_of(
        workspace,
        products(2, colour=["red", None], size=pa.array([1, 2], pa.int32())),
        products(2, first=2, size=pa.array([1.5, None]), tags=[["a"], None]),
        products(1, first=4, colour=pa.nulls(1), tags=pa.array([[]], pa.list_(pa.null()))),
    )
    assert [store.value(row, "colour") for row in range(5)] == ["red", None, None, None, None]
    assert [store.value(row, "size") for row in range(5)] == [1.0, 2.0, 1.5, None, None]
    assert [store.value(row, "tags") for row in range(5)] == [None, None, ["a"], None, []]


def test_parts_whose_columns_cannot_be_one_are_refused_by_name(workspace: Workspace) -> None:
    with pytest.raises(ShelfcodeError, match="size has incompatible types"):
        store_of(workspace, products(1, size=[1]), products(1, first=1, size=["large"]))


def test_descriptions_and_bytes_are_left_out(workspace: Workspace) -> None:
    structure = pa.array([{"name": "a", "data": b"\xff"}, None])
    images = {
        "image": [b"\xff", None],
        "large": pa.array([b"\xff", None], pa.large_binary()),
        "fixed": pa.array([b"ab", None], pa.binary(2)),
    }
    store = store_of(workspace, products(2, **images, images=[[b"\xff"], None], structure=structure, known=[1, 2]))
    assert set(store.columns) == {"item_id", "title", "brand", "known"}


# Attributes.


def test_attributes_of_an_older_text_are_not_used(workspace: Workspace) -> None:
    now = products(3)
    before = now.set_column(1, "title", pa.array(["title 0", "an older title", "title 2"]))
    workspace.write_table(f"{ATTRIBUTES}/part-0.parquet", attributes(before, ["a", "b", "c"]))
    store = store_of(workspace, now)
    assert [told and told["product_type"] for told in map(store.attributes_of, range(3))] == ["a", None, "c"]
    workspace.write_table(f"{ATTRIBUTES}/part-1.parquet", attributes(now.slice(1, 1), ["new"]))
    store = open_store(workspace, FOLDER, ATTRIBUTES)
    assert [told and told["product_type"] for told in map(store.attributes_of, range(3))] == ["a", "new", "c"]


def test_attributes_of_other_products_and_a_products_order_do_not_matter(workspace: Workspace) -> None:
    everything = products(6)
    table = attributes(everything, list("abcdef"), occasion=[["breakfast"]] * 6).take([5, 0, 3, 1, 2, 4])
    workspace.write_table(f"{ATTRIBUTES}/part-0.parquet", table)
    store = store_of(workspace, everything.take([4, 2, 0]))
    assert [store.value(row, "product_type") for row in range(3)] == ["e", "c", "a"]
    told = store.attributes_of(0)
    assert told is not None
    assert told["occasion"] == ["breakfast"]
    assert {"text_hash", "extractor", "failure"}.isdisjoint(store.columns)


def test_a_catalogs_own_columns_keep_their_values_beside_attributes_of_the_same_name(workspace: Workspace) -> None:
    table = products(2, format=["large box", None], dietary_tags=["none", "none"])
    workspace.write_table(f"{ATTRIBUTES}/part-0.parquet", attributes(table, ["a", "b"]))
    store = store_of(workspace, table)
    assert [store.value(row, "format") for row in range(2)] == ["large box", None]
    assert store.attributes_of(1) == {"product_type": "b", "dietary_tags": ["vegan", "organic"], "format": "carton"}


def test_without_attributes_nobody_has_any(workspace: Workspace) -> None:
    write(workspace, products(2))
    for folder in (None, "attributes/not-there"):
        assert open_store(workspace, FOLDER, folder).attributes_of(0) is None


# Files.


def stores_on_disk() -> set[str]:
    return {path.name for path in scratch_folder().glob("items-*.arrow")}


def test_a_store_is_built_once_and_anew_when_attributes_come(workspace: Workspace) -> None:
    before, table = stores_on_disk(), products(2)
    first = store_of(workspace, table)
    path = scratch_folder() / first.name
    made = path.stat().st_mtime_ns
    assert open_store(workspace, FOLDER, ATTRIBUTES).name == first.name
    assert path.stat().st_mtime_ns == made
    workspace.write_table(f"{ATTRIBUTES}/part-0.parquet", attributes(table, ["a", "b"]))
    second = open_store(workspace, FOLDER, ATTRIBUTES)
    assert second.attributes_of(0)
    assert stores_on_disk() - before == {second.name}
    assert first.value(1, "title") == "title 1"  # whoever has the earlier one keeps it


def test_stores_of_two_catalogs_do_not_take_each_other_away(workspace: Workspace) -> None:
    write(workspace, products(2))
    write(workspace, products(3), folder="catalog/two")
    names = {open_store(workspace, folder, None).name for folder in (FOLDER, "catalog/two")}
    assert names <= stores_on_disk()


def test_a_draft_that_was_broken_off_is_written_again(workspace: Workspace) -> None:
    name = store_of(workspace, products(2)).name
    path = scratch_folder() / name
    path.unlink()
    path.with_suffix(".draft").write_bytes(b"half of it")
    assert open_store(workspace, FOLDER, ATTRIBUTES).value(1, "title") == "title 1"


def test_those_who_build_at_once_all_read_a_whole_file(workspace: Workspace) -> None:
    write(workspace, products(5000))
    together, read = threading.Barrier(4), []

    def build() -> None:
        together.wait()
        store = open_store(workspace, FOLDER, None)
        read.append([store.value(row, "item_id") for row in (0, 4999)])

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [["item 0", "item 4999"]] * 4


@pytest.mark.parametrize("damage", ["gone", "cut off", "no table", "no snapshot", "no manifest"])
def test_a_damaged_snapshot_is_told_by_its_address(workspace: Workspace, damage: str) -> None:
    write(workspace, products(100), products(100, first=100))
    path = f"{FOLDER}/part-000001.parquet"
    if damage == "gone":
        workspace.remove(path)
    elif damage == "no snapshot":
        workspace.remove(f"{FOLDER}/manifest.json")
    elif damage == "no manifest":
        workspace.write_bytes(f"{FOLDER}/manifest.json", b'{"folder": ')
    else:
        workspace.write_bytes(path, workspace.read_bytes(path)[:200] if damage == "cut off" else b"no table")
    before = stores_on_disk()
    with pytest.raises(ShelfcodeError, match=FOLDER):
        open_store(workspace, FOLDER, None)
    assert stores_on_disk() == before
    write(workspace, products(100), products(100, first=100))
    assert len(open_store(workspace, FOLDER, None)) == 200
