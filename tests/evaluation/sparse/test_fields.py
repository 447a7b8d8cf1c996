"""What a catalog and an extractor know of products."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.evaluation.sparse.fields import Fields, read_fields
from shelfcode.workspace import Workspace


def shelf(folder: Path) -> tuple[Workspace, Snapshot]:
    workspace, path = Workspace(str(folder)), "catalog/x/part-000000-000000.parquet"
    table = pa.table({
        "item_id": ["a", "b", "c", "d"],
        "description": ["d", None, None, None],
        "brand": pa.array([None, "B", None, None], pa.string()),
        "category_path": pa.array([["Food", "Milk"], ["Food", "Other"], None, ["Food", "Tea"]], pa.list_(pa.string())),
    })  # fmt: skip
    workspace.write_table(path, table)
    part = SnapshotPart(path=path, rows=4)
    return workspace, Snapshot(
        folder="catalog/x", source="x", fingerprint="f", read=4, rejected=0, rejected_folder="rejected/1", reasons={}, parts=(part,)
    )


def test_without_an_extractor_the_leaf_is_the_product_type(tmp_path: Path) -> None:
    fields = read_fields(*shelf(tmp_path), np.array([0, 1, 2]), CatalogSettings(), None)
    assert fields.values["product_type"] == ["Milk", None, None], "a leaf called Other names nothing"
    assert "format" not in fields.values
    assert fields.missing() == [
        ["brand"],
        ["description", "category_path", "product_type"],
        ["description", "brand", "category_path", "product_type"],
    ]


def test_an_extractor_knows_more(tmp_path: Path) -> None:
    attributes = pa.table({"item_id": ["d", "b"], "product_type": ["", "oat milk"], "format": ["bag", ""]})
    fields = read_fields(*shelf(tmp_path), np.array([0, 1, 3]), CatalogSettings(), attributes)
    assert fields.values["product_type"] == ["Milk", "oat milk", "Tea"]
    assert fields.values["format"] == [None, None, "bag"]


def test_a_field_that_is_unknown_altogether_cannot_be_filled() -> None:
    lacks = Fields({"brand": ["A", None]}).lacking(("brand", "format"), np.array([1]))
    assert {name: each.tolist() for name, each in lacks.items()} == {"brand": [True]}
