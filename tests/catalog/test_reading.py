"""A catalog is read whole: every row ends in the snapshot or in rejected/, and reading it twice costs nothing."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.reading import check_catalog, read_catalog
from shelfcode.catalog.schema import ORIGINAL
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, load_snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

SETTINGS = CatalogSettings(category_separator=" > ")
LONG = "very " * 20_000

GOOD = [
    {"item_id": f"p{number}", "title": f"Product {number}", "description": LONG if number == 3 else None, "brand": "Acme",
     "category_path": ["Food", f"Aisle {number % 3}"], "price": 1.0 + number, "rating": number}
    for number in range(20)
]  # fmt: skip
CSV = (
    b"item_id,title,category_path,price,rating\n"
    b"c1,Oats,Food > Grains,2.50,5\n"
    b"c2,Caf\xe9,Food > Drinks,1,4\n"  # not UTF-8
    b"c3,Rye,Food > Grains,1,4,9,9\n"  # too many columns
    b",Barley,Food,1,4\n"  # no item_id
    b"c5,   ,Food,1,4\n"  # blank title
    b"p7,Again,Food,1,4\n"  # came before
    b"c6,Spelt,Food > Grains,cheap,4\n"  # price
    b"c1,Oats again,Food,1,4\n"  # came before, in the same file
)
REASONS = {
    "title is not UTF-8 (perhaps cp1252 or cp1250; --set catalog.encoding=cp1252 declares it)": 1,
    "row has 7 columns instead of 5": 1, "item_id is missing": 1, "title is blank": 1,
    "title is missing": 1, "line is not a JSON object": 1, "item_id occurs twice": 3,
}  # fmt: skip


def write_shop(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(GOOD), folder / "a.parquet")
    (folder / "c.csv").write_bytes(CSV)
    lines = [{"item_id": "j1", "title": "Milk", "category_path": ["Food"]}, {"item_id": "p0", "title": "Again"}, {"item_id": "j2"}]
    (folder / "d.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")


def products_of(workspace: Workspace, snapshot: Snapshot, columns: Sequence[str] = ("item_id", "title")) -> list[dict[str, Any]]:
    return [row for batch in snapshot_batches(workspace, snapshot, list(columns)) for row in batch.to_pylist()]


def rejected_of(workspace: Workspace, folder: str) -> list[dict[str, Any]]:
    return [row for part in workspace.parts(folder) for row in workspace.read_table(part).to_pylist()]


def snap(source: Path | str, workspace: Workspace, settings: CatalogSettings = SETTINGS, run: str = "run") -> tuple[Snapshot, int]:
    """The snapshot, and the rows that progress was told of."""
    told: list[int] = []
    snapshot = read_catalog(str(source), settings, workspace, run, told.append)
    return snapshot, sum(told)


def write_csv(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "shop.csv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "shop"
    write_shop(folder)
    return folder


@pytest.fixture(scope="module")
def taken(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Snapshot, int]:
    workspace = Workspace(str(tmp_path_factory.mktemp("workspace")))
    return workspace, *snap(shop, workspace)


def test_every_row_is_in_the_snapshot_or_rejected_with_its_reason(taken: tuple[Workspace, Snapshot, int]) -> None:
    workspace, snapshot, told = taken
    rejected = rejected_of(workspace, snapshot.rejected_folder)
    assert snapshot.reasons == REASONS
    assert snapshot.rejected == len(rejected) == sum(REASONS.values())
    assert snapshot.products == len(products_of(workspace, snapshot)) == 23
    assert snapshot.products + snapshot.rejected == snapshot.read == told == 20 + 8 + 4
    assert {row["stage"] for row in rejected} == {"read", "catalog"}
    assert {note: of.rows for note, of in snapshot.notes.items()} == {
        "price left empty, since it is no price": 1, "'rating' kept as text, since its type differs between files": 24,
    }  # fmt: skip
    assert all(isinstance(json.loads(row["row"]), dict) for row in rejected)


def test_the_first_of_two_products_with_one_item_id_is_kept(taken: tuple[Workspace, Snapshot, int]) -> None:
    workspace, snapshot, _ = taken
    products = products_of(workspace, snapshot)
    assert [row["item_id"] for row in products] == [*(row["item_id"] for row in GOOD), "c1", "c6", "j1"]
    assert {row["title"] for row in products if row["item_id"] in ("p0", "p7", "c1")} == {"Product 0", "Product 7", "Oats"}
    twice = [row for row in rejected_of(workspace, snapshot.rejected_folder) if "occurs twice" in row["reason"]]
    assert sorted((row["item_id"], json.loads(row["row"])["title"]) for row in twice) == [
        ("c1", "Oats again"), ("p0", "Again"), ("p7", "Again"),
    ]  # fmt: skip


def test_products_whose_item_ids_differ_in_nothing_that_can_be_seen_are_one_and_the_collision_is_told(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    source = write_csv(tmp_path / "shop", "item_id,title\na\u200b1,First\na1,Second\n\ufeffb,Third\nb,Fourth\nc,Fifth\nc,Sixth\n")
    snapshot, _ = snap(source, workspace)
    assert [row["title"] for row in products_of(workspace, snapshot)] == ["First", "Third", "Fifth"]
    assert snapshot.reasons == {"item_id occurs twice, spelled in two ways": 2, "item_id occurs twice": 1}
    assert snapshot.products + snapshot.rejected == snapshot.read == 6
    reasons = [row["reason"] for row in rejected_of(workspace, snapshot.rejected_folder)]
    assert "item_id occurs twice, spelled in two ways: 'a1' is 'a1' once evened out, which came before" in reasons


def test_notes_of_all_batches_are_counted_and_kept_with_their_first_example(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    folder = tmp_path / "shop"
    write_csv(folder, "item_id,title,description\n1,Milk,<p>White</p>\n2,Oats,Plain\n3,Rye,a &amp; b\n")
    (folder / "later.csv").write_text("item_id,title,description\n4,Tea,<b>Green</b>\n")
    snapshot, _ = snap(folder, workspace)
    (note,) = snapshot.notes.values()
    assert (note.rows, load_snapshot(workspace, snapshot.folder)) == (3, snapshot)
    assert note.example.startswith("'<b>Green</b>', ")
    stored = products_of(workspace, snapshot, ["item_id", "description", ORIGINAL])
    assert [row["description"] for row in stored] == ["Green", "White", "Plain", "a & b"]
    assert [row[ORIGINAL] is None for row in stored] == [False, False, True, False]


def test_a_long_text_and_other_columns_ride_along(taken: tuple[Workspace, Snapshot, int]) -> None:
    workspace, snapshot, _ = taken
    first = workspace.read_table(snapshot.parts[0].path).to_pylist()
    assert first[3]["description"] == LONG.strip()
    assert [row["rating"] for row in first] == [str(rating) for rating in range(20)]  # text, as in the CSV


def test_the_taxonomy_of_the_snapshot_is_that_of_the_source(taken: tuple[Workspace, Snapshot, int]) -> None:
    workspace, snapshot, _ = taken
    taxonomy = snapshot_taxonomy(workspace, snapshot)
    assert [taxonomy.paths[leaf] for leaf in taxonomy.leaf_of_N[:3]] == [("Food", "Aisle 0"), ("Food", "Aisle 1"), ("Food", "Aisle 2")]
    assert [taxonomy.paths[leaf] for leaf in taxonomy.leaf_of_N[-2:]] == [("Food", "Grains"), ("Food",)]


def test_a_catalog_that_did_not_change_is_not_read_again(shop: Path, taken: tuple[Workspace, Snapshot, int]) -> None:
    workspace, snapshot, _ = taken
    stored = {path: workspace.fs.info(path)["mtime"] for path in workspace.fs.find(workspace.path(""))}
    again, told = snap(shop, workspace, run="later")
    assert again == snapshot
    assert told == snapshot.read
    assert {path: workspace.fs.info(path)["mtime"] for path in workspace.fs.find(workspace.path(""))} == stored


def test_a_snapshot_that_was_broken_off_is_taken_again(shop: Path, taken: tuple[Workspace, Snapshot, int], tmp_path: Path) -> None:
    complete, snapshot, _ = taken
    shutil.copytree(complete.path(""), tmp_path / "ws")
    workspace = Workspace(str(tmp_path / "ws"))
    workspace.remove(f"{snapshot.folder}/manifest.json")
    workspace.remove("rejected")
    workspace.write_bytes(snapshot.parts[0].path, b"half a part")
    again, _ = snap(shop, workspace)
    assert again == snapshot
    assert products_of(workspace, again) == products_of(complete, snapshot)
    assert rejected_of(workspace, "rejected/run") == rejected_of(complete, "rejected/run")


def test_a_changed_file_gives_a_new_snapshot_and_leaves_the_old_one(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    first, _ = snap(write_csv(tmp_path / "shop", "item_id,title\n1,Milk\n2,Oats\n"), workspace)
    second, _ = snap(write_csv(tmp_path / "shop", "item_id,title\n1,Milk\n2,Oats, rolled\n3,Rye\n"), workspace, run="next")
    assert first.folder != second.folder
    assert first.fingerprint != second.fingerprint
    assert [row["item_id"] for row in products_of(workspace, first)] == ["1", "2"]
    assert [row["item_id"] for row in products_of(workspace, second)] == ["1", "3"]


def test_the_fingerprint_is_of_the_products_not_of_their_files(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    one, _ = snap(write_csv(tmp_path / "one", "item_id,title,price\n1,Milk,2\n2,Oats,\n"), workspace)
    (tmp_path / "two").mkdir()
    for name, row in (("b", {"item_id": "1", "title": " Milk", "price": 2.0}), ("a", {"item_id": "2", "title": "Oats", "other": "x"})):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "two" / f"{name}.parquet")
    two, _ = snap(tmp_path / "two", workspace)
    assert one.fingerprint == two.fingerprint
    assert one.folder != two.folder


def test_a_missing_column_is_told_with_those_found_before_anything_is_written(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "shop", "sku,name\n1,Milk\n")
    with pytest.raises(ShelfcodeError, match=r"'item_id'.*Columns found: 'sku', 'name'.*--set catalog\.columns\.item_id=THEIR_NAME"):
        snap(source, Workspace(str(tmp_path / "ws")))
    assert not (tmp_path / "ws").exists()


def test_a_mapping_reads_a_shops_own_columns(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "shop", "sku,name,shelf,stars\n007,Milk,Dairy|Milk,4\n")
    settings = CatalogSettings(columns={"item_id": "sku", "title": "name", "category_path": "shelf"}, category_separator="|")
    workspace = Workspace(str(tmp_path / "ws"))
    snapshot, _ = snap(source, workspace, settings)
    assert products_of(workspace, snapshot, ["item_id", "title", "category_path", "stars"]) == [
        {"item_id": "007", "title": "Milk", "category_path": ["Dairy", "Milk"], "stars": "4"}
    ]


def test_an_empty_catalog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShelfcodeError, match="the catalog is empty"):
        snap(write_csv(tmp_path / "shop", "item_id,title\n"), Workspace(str(tmp_path / "ws")))
    (tmp_path / "none").mkdir()
    pq.write_table(pa.schema({"item_id": pa.string(), "title": pa.string()}).empty_table(), tmp_path / "none" / "a.parquet")
    with pytest.raises(ShelfcodeError, match="no usable product: read 0, rejected 0: it has no rows"):
        snap(tmp_path / "none", Workspace(str(tmp_path / "ws")))


def test_a_catalog_of_bad_rows_alone_is_refused_with_their_reasons_and_keeps_them(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    with pytest.raises(ShelfcodeError, match=r"no usable product: read 3, rejected 3: 2 x title is missing; 1 x item_id is missing"):
        snap(write_csv(tmp_path / "shop", "item_id,title\n1,\n2,\n,Milk\n"), workspace)
    assert len(rejected_of(workspace, "rejected/run")) == 3
    assert not any(workspace.exists(f"catalog/{name}/manifest.json") for name in workspace.names("catalog"))


def test_a_file_that_breaks_off_is_refused_since_nobody_knows_what_is_lost(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop")
    whole = (tmp_path / "shop" / "a.parquet").read_bytes()
    (tmp_path / "shop" / "b.parquet").write_bytes(whole[: len(whole) // 2])
    workspace = Workspace(str(tmp_path / "ws"))
    with pytest.raises(ShelfcodeError, match=r"file cannot be read: .*b\.parquet: .*How many rows are lost, nobody knows"):
        snap(tmp_path / "shop", workspace)
    assert not any(workspace.exists(f"catalog/{name}/manifest.json") for name in workspace.names("catalog"))


def test_a_column_that_rides_along_has_one_type_whatever_the_files_say(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    values = {"a": [1, None], "b": ["x", "y"], "c": [["u"], None], "d": [None, None]}
    for number, (name, cells) in enumerate(values.items()):
        rows = {
            "item_id": [f"{name}0", f"{name}1"],
            "title": ["Milk", "Oats"],
            "size": cells,
            "count": [number, number + (2**60 if name == "a" else 0.5)],
        }
        pq.write_table(pa.table(rows), tmp_path / "shop" / f"{name}.parquet")
    workspace = Workspace(str(tmp_path / "ws"))
    snapshot, _ = snap(tmp_path / "shop", workspace)
    schemas = [workspace.read_schema(part.path) for part in snapshot.parts]
    assert pa.unify_schemas(schemas, promote_options="permissive").field("size").type == pa.string()
    rows = products_of(workspace, snapshot, ["item_id", "size", "count"])
    assert [row["size"] for row in rows] == ["1", None, "x", "y", '["u"]', None, None, None]
    assert [row["count"] for row in rows] == [0, 2**60, 1, 1.5, 2, 2.5, 3, 3.5]
    for part in snapshot.parts:  # as the endpoint brings them together
        assert workspace.read_table(part.path)["count"].cast(pa.float64()) is not None
    (note,) = snapshot.notes
    assert note == "'size' kept as text, since its type differs between files"


def test_names_of_columns_that_were_changed_are_told(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    snapshot, _ = snap(write_csv(tmp_path / "shop", "item_id, title,,image,image\n1,Milk,,a,b\n"), workspace)
    assert set(snapshot.notes) == {
        "column ' title' is read as 'title'", "column '' is read as 'unnamed_3'", "column 'image' is read as 'image_2'",
    }  # fmt: skip
    (row,) = products_of(workspace, snapshot, ["title", "image", "image_2"])
    assert row == {"title": "Milk", "image": "a", "image_2": "b"}


@pytest.mark.parametrize(
    "content", ["item_id,title,title\n1,Milk,x\n", '{"item_id": 1, "title": "a", " title": "b"}\n'], ids=["csv", "json"]
)
def test_a_column_that_could_be_two_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("a.csv" if content.startswith("item") else "a.jsonl")
    path.write_text(content)
    with pytest.raises(ShelfcodeError, match="column 'title' occurs 2 times, as columns 2, 3"):
        check_catalog(str(path), SETTINGS)


def test_a_catalog_is_checked_without_reading_it_through(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "shop", "sku,name\n" + "1,Milk\n" * 10 + '2,"unclosed\n')
    settings = CatalogSettings(columns={"item_id": "sku", "title": " name"})
    assert [file.url for file in check_catalog(str(source), settings)] == [f"{source}/shop.csv"]
    with pytest.raises(ShelfcodeError, match="has no column 'item_id' for item_id"):
        check_catalog(str(source), CatalogSettings())
    with pytest.raises(ShelfcodeError, match="there is nothing there"):
        check_catalog(f"{source}/shops.csv", settings)
