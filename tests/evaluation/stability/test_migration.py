"""Two releases of a workspace, held against each other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.snapshot import Snapshot, SnapshotPart
from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.stability.migration import Migration, churn_of, read_migration, release_churn, write_migration
from shelfcode.evaluation.stability.translation import prefix_translation
from shelfcode.index.translation_table import TRANSLATION_SCHEMA
from shelfcode.keys import item_keys
from shelfcode.quantization.semantic_ids import semantic_ids_table
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

ITEMS = [f"item {number}" for number in range(40)]
"""Of a small release; product n has the codes n % 8 and n % 16."""


def write_ids(workspace: Workspace, folder: str, items: list[str], codes: list[list[int]], part: int = 0) -> None:
    table = semantic_ids_table(pa.chunked_array([items], pa.string()), np.array(codes))
    workspace.write_table(f"{folder}/semantic_ids/part-{part:06}.parquet", table)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def two(workspace: Workspace, publish_small: Callable[..., Manifest]) -> tuple[Manifest, Manifest]:
    """The second lacks items 0 to 4 and has one more; its order is another, and every item from 30 on has another first codeword."""
    old, new = publish_small(workspace), publish_small(workspace)
    workspace.remove(f"{new.folder}/semantic_ids")
    numbers = list(range(39, 4, -1))
    codes = [[number % 8 if number < 30 else (number + 1) % 8, number % 16] for number in numbers]
    write_ids(workspace, new.folder, [ITEMS[number] for number in numbers], codes)
    write_ids(workspace, new.folder, ["new"], [[0, 0]], part=1)
    return old, new


@pytest.fixture
def migration(workspace: Workspace, two: tuple[Manifest, Manifest]) -> Migration:
    return read_migration(workspace, two[0].folder, two[1].folder)


def test_products_are_matched_by_item_id_in_whatever_order_they_stand(migration: Migration) -> None:
    assert migration.item_ids_N.to_pylist() == ITEMS[:4:-1]
    assert migration.old_NL.tolist() == [[number % 8, number % 16] for number in range(39, 4, -1)]
    assert migration.new_NL[:, 0].tolist() == [number % 8 if number < 30 else (number + 1) % 8 for number in range(39, 4, -1)]
    assert (migration.added, migration.removed) == (1, 5)


def test_a_release_against_itself_has_no_churn(workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    churn = churn_of(read_migration(workspace, two[0].folder, two[0].folder), "small@v0001")
    assert (churn.products, churn.added, churn.removed, churn.changed) == (40, 0, 0, (0, 0))


def test_a_release_without_semantic_ids_is_named(workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    workspace.remove(f"{two[0].folder}/semantic_ids")
    with pytest.raises(ShelfcodeError, match=r"small/v0001/semantic_ids holds no semantic IDs"):
        read_migration(workspace, two[0].folder, two[1].folder)


def test_departments_are_found_by_item_id(migration: Migration) -> None:
    shuffled = np.random.default_rng(0).permutation(40)
    paths = [["late"] if number >= 30 else ["early"] for number in shuffled]
    keys_N = item_keys(pa.array([ITEMS[number] for number in shuffled]))
    churn = churn_of(migration, "small@v0001", taxonomy_from_paths(paths), keys_N)
    assert {each.department: (each.products, each.changed) for each in churn.departments} == {"early": (25, (0, 0)), "late": (10, (1, 1))}
    assert churn.changed == pytest.approx((10 / 35, 10 / 35))


def test_products_that_the_tree_lacks_are_of_no_department(migration: Migration) -> None:
    churn = churn_of(migration, "small@v0001", taxonomy_from_paths([["early"]] * 10), item_keys(pa.array(ITEMS[:10])))
    assert [(each.department, each.products) for each in churn.departments] == [("early", 5)]
    assert churn.products == 35


def test_departments_come_from_the_newer_releases_snapshot_while_it_is_there(
    workspace: Workspace, two: tuple[Manifest, Manifest], migration: Migration
) -> None:
    assert release_churn(workspace, migration, *two).departments == ()
    path = "catalog/1/part-0.parquet"
    workspace.write_table(path, pa.table({"item_id": ITEMS, "category_path": [["tea"]] * 40}))
    snapshot = Snapshot(
        folder="catalog/1", source="shop", fingerprint="f", read=40, rejected=0, rejected_folder="rejected/1", reasons={},
        parts=(SnapshotPart(path=path, rows=40),),
    )  # fmt: skip
    workspace.write_json("catalog/1/manifest.json", snapshot.model_dump(mode="json"))
    churn = release_churn(workspace, migration, *two)
    assert (churn.against, [each.department for each in churn.departments]) == ("small@v0001", ["tea"])


def test_the_tables_say_what_became_of_each_product_and_prefix(workspace: Workspace, migration: Migration) -> None:
    write_migration(workspace, "evaluations/x", migration)
    table = workspace.read_table("evaluations/x/migration.parquet")
    assert table.schema.names == ["item_id", "old", "new", "kept_levels"]
    assert table.schema.types == [pa.string(), pa.string(), pa.string(), pa.uint8()]
    rows = {row.pop("item_id"): row for row in table.to_pylist()}
    assert len(rows) == 35
    assert rows["item 29"] == {"old": "5_13", "new": "5_13", "kept_levels": 2}
    assert rows["item 30"] == {"old": "6_14", "new": "7_14", "kept_levels": 0}
    written = workspace.read_table("evaluations/x/translation.parquet")
    assert written.schema.equals(TRANSLATION_SCHEMA)
    assert written.equals(prefix_translation(migration.old_NL, migration.new_NL))


def test_releases_of_different_numbers_of_levels_keep_those_that_both_have(workspace: Workspace, migration: Migration) -> None:
    write_migration(workspace, "evaluations/x", replace(migration, new_NL=migration.old_NL[:, :1]))
    table = workspace.read_table("evaluations/x/migration.parquet")
    assert set(table["kept_levels"].to_pylist()) == {1}
    assert table["new"].to_pylist() == [old.split("_")[0] for old in table["old"].to_pylist()]


def test_without_a_common_product_the_tables_are_empty(workspace: Workspace, two: tuple[Manifest, Manifest]) -> None:
    write_ids(workspace, "other", ["a", "b"], [[0, 0], [1, 1]])
    found = read_migration(workspace, two[0].folder, "other")
    assert (len(found.item_ids_N), found.added, found.removed) == (0, 2, 40)
    write_migration(workspace, "evaluations/x", found)
    assert len(workspace.read_table("evaluations/x/migration.parquet")) == 0
    assert len(workspace.read_table("evaluations/x/translation.parquet")) == 0
    assert churn_of(found, "small@v0001", taxonomy_from_paths([["tea"]]), item_keys(pa.array(["a"]))).products == 0
