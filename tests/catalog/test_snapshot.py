"""A snapshot gives back the products that were read, in one order."""

from pathlib import Path

import pyarrow as pa

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, load_snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.workspace import Workspace


def stored_snapshot(workspace: Workspace) -> Snapshot:
    parts = []
    for number, paths in enumerate([[["Dairy", "Milk"], None], [["Dairy", "Cheese"]]]):
        ids = [f"{number}-{row}" for row in range(len(paths))]
        path = f"catalog/1/part-{number}.parquet"
        table = pa.table({"item_id": ids, "title": ids, "category_path": pa.array(paths, pa.list_(pa.string()))})
        workspace.write_table(path, table)
        parts.append(SnapshotPart(path=path, rows=len(paths)))
    return Snapshot(
        folder="catalog/1", source="shop", fingerprint="0", read=4, rejected=1, rejected_folder="rejected/1", reasons={"x": 1},
        parts=tuple(parts),
    )  # fmt: skip


def test_products_come_in_the_order_of_the_parts_with_the_columns_asked_for(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    snapshot = stored_snapshot(workspace)
    batches = list(snapshot_batches(workspace, snapshot, ["item_id"]))
    assert [batch.column_names for batch in batches] == [["item_id"], ["item_id"]]
    assert [value for batch in batches for value in batch["item_id"].to_pylist()] == ["0-0", "0-1", "1-0"]
    assert snapshot.products == 3


def test_the_taxonomy_counts_products_as_the_snapshot_does(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    taxonomy = snapshot_taxonomy(workspace, stored_snapshot(workspace))
    assert [taxonomy.paths[leaf] if leaf >= 0 else None for leaf in taxonomy.leaf_of_N] == [("Dairy", "Milk"), None, ("Dairy", "Cheese")]


def test_a_snapshot_without_its_manifest_does_not_count(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    snapshot = stored_snapshot(workspace)
    assert load_snapshot(workspace, "catalog/1") is None
    workspace.write_json("catalog/1/manifest.json", snapshot.model_dump(mode="json"))
    assert load_snapshot(workspace, "catalog/1") == snapshot
