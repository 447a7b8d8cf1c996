"""Decided labels over a snapshot: what changes, what is passed over and why, and what everybody reads afterwards."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.decided_labels import DecidedLabel, DecidedLabels, read_decided_labels
from shelfcode.catalog.label_overlay import PASSED_OVER_FILE, decide_label, overlay_labels
from shelfcode.catalog.reading import read_catalog
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import DECIDED, Snapshot, load_snapshot, snapshot_batches, snapshot_taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

CANDY, BARS, MILK, CHEESE = ("Snacks", "Candy"), ("Snacks", "Bars"), ("Dairy", "Milk"), ("Dairy", "Cheese")
PRODUCTS = {"a": CANDY, "b": CANDY, "c": MILK, "d": CHEESE, "e": None, "f": BARS}


def label(item_id: str, before: tuple[str, ...] | None, verdict: str, after: tuple[str, ...] | None = None) -> DecidedLabel:
    return DecidedLabel(item_id, before, after, verdict, "", f"line of {item_id}")


def catalog(folder: Path, products: dict[str, tuple[str, ...] | None] = PRODUCTS) -> tuple[Workspace, Snapshot]:
    folder.mkdir(exist_ok=True)
    source = folder / "catalog"
    source.mkdir()
    for part in (0, 1):
        rows = list(products.items())[part::2]
        paths = pa.array([path for _, path in rows], pa.list_(pa.string()))
        table = pa.table({"item_id": [key for key, _ in rows], "title": [f"title {key}" for key, _ in rows], "category_path": paths})
        pq.write_table(table, source / f"{part}.parquet")
    workspace = Workspace(str(folder / "workspace"))
    return workspace, read_catalog(str(source), CatalogSettings(), workspace, "run", lambda _: None)


def paths_of(workspace: Workspace, snapshot: Snapshot) -> dict[str, tuple[str, ...] | None]:
    rows = [row for batch in snapshot_batches(workspace, snapshot, ["item_id", "category_path"]) for row in batch.to_pylist()]
    return {row["item_id"]: row["category_path"] and tuple(row["category_path"]) for row in rows}


DECISIONS = (
    label("a", CANDY, "accept", BARS), label("b", MILK, "relabel", CHEESE), label("c", MILK, "keep"), label("d", CHEESE, "exclude"),
    label("e", None, "relabel", MILK), label("f", CANDY, "accept", BARS), label("nobody", CANDY, "keep"), label("c", MILK, "unsure"),
)  # fmt: skip


def test_labels_change_where_the_catalog_still_has_the_one_that_was_judged(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path)
    clean = overlay_labels(workspace, snapshot, DecidedLabels("labels.csv", "d1", DECISIONS))
    assert paths_of(workspace, clean) == PRODUCTS | {"a": BARS, "e": MILK}
    assert paths_of(workspace, snapshot) == PRODUCTS, "the catalog as it was read stays what it is"
    assert clean.labels is not None
    assert clean.labels.counts() == {"rows": 8, "changed": 2, "already": 1, "kept": 1, "excluded": 1, "passed_over": 3}
    assert clean.labels.passed_over == {
        "no such product in the catalog": 1, "the catalog has another label by now": 1, "unsure decides nothing": 1,
    }  # fmt: skip
    assert {(of.name, of.within, of.out, of.into) for of in clean.labels.departments} == {
        ("Snacks", 1, 0, 0), (None, 0, 1, 0), ("Dairy", 0, 0, 1),
    }  # fmt: skip
    reasons = workspace.read_table(f"{clean.folder}/{PASSED_OVER_FILE}")["reason"].to_pylist()
    assert "the catalog has another label by now: Snacks > Candy, line of b" in reasons
    decided = {row["item_id"]: row[DECIDED] for b in snapshot_batches(workspace, clean, ["item_id", DECIDED]) for row in b.to_pylist()}
    assert decided == {"a": "accept", "b": None, "c": "keep", "d": "exclude", "e": "relabel", "f": "accept"}
    assert load_snapshot(workspace, clean.folder) == clean
    assert overlay_labels(workspace, clean, DecidedLabels("elsewhere.csv", "d1", DECISIONS)) is clean


def test_an_excluded_label_is_no_evidence_for_anybody(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path)
    clean = overlay_labels(workspace, snapshot, DecidedLabels("labels.csv", "d1", DECISIONS))
    taxonomy = snapshot_taxonomy(workspace, clean)
    ids = [each for batch in snapshot_batches(workspace, clean, ["item_id"]) for each in batch["item_id"].to_pylist()]
    named = {item: taxonomy.paths[leaf] if leaf >= 0 else None for item, leaf in zip(ids, taxonomy.leaf_of_N.tolist(), strict=True)}
    assert named == PRODUCTS | {"a": BARS, "e": MILK, "d": None}


def test_a_catalog_that_took_the_corrections_over_is_the_same_catalog(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path / "before")
    clean = overlay_labels(workspace, snapshot, DecidedLabels("labels.csv", "d1", DECISIONS))
    applied, corrected = catalog(tmp_path / "after", PRODUCTS | {"a": BARS, "e": MILK})
    assert clean.fingerprint == corrected.fingerprint != snapshot.fingerprint
    again = overlay_labels(applied, corrected, DecidedLabels("labels.csv", "d1", DECISIONS))
    assert again.labels is not None
    assert (again.labels.changed, again.labels.already) == (0, 3)


def test_a_second_overlay_stands_on_the_first(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path)
    first = overlay_labels(workspace, snapshot, DecidedLabels("labels.csv", "d1", DECISIONS))
    second = overlay_labels(workspace, first, DecidedLabels("more.csv", "d2", (label("a", BARS, "relabel", MILK),)))
    assert paths_of(workspace, second) == PRODUCTS | {"a": MILK, "e": MILK}
    decided = {row["item_id"]: row[DECIDED] for b in snapshot_batches(workspace, second, ["item_id", DECIDED]) for row in b.to_pylist()}
    assert (decided["a"], decided["d"]) == ("relabel", "exclude")


def test_labels_of_another_catalog_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path)
    strangers = DecidedLabels("theirs.csv", "d3", (label("x", CANDY, "keep"), label("y", CANDY, "keep"), label("a", CANDY, "keep")))
    with pytest.raises(ShelfcodeError, match=r"--labels theirs.csv: 2 of its 3 rows name products that .* lacks, such as 'x'.*another"):
        overlay_labels(workspace, snapshot, strangers)
    assert workspace.names("catalog") == [snapshot.folder.removeprefix("catalog/")]


def test_a_file_is_read_and_laid_over(tmp_path: Path) -> None:
    workspace, snapshot = catalog(tmp_path)
    (tmp_path / "labels.csv").write_text("item_id,from_path,to_path,verdict\na,snacks >  candy,Snacks > Bars,accept\n")
    clean = overlay_labels(workspace, snapshot, read_decided_labels(str(tmp_path / "labels.csv")))
    assert paths_of(workspace, clean)["a"] == BARS, "letter case and spaces make no other label"


@pytest.mark.parametrize(
    ("now", "labels", "path", "verdict", "passed_over"),
    [
        (CANDY, [label("a", CANDY, "accept", BARS), label("a", BARS, "accept", MILK)], MILK, "accept", 1),
        (CANDY, [label("a", CANDY, "accept", BARS), label("a", CANDY, "keep")], CANDY, "keep", 1),
        (BARS, [label("a", CANDY, "accept", BARS), label("a", BARS, "keep")], BARS, "keep", 1),
        (MILK, [label("a", CANDY, "accept", BARS)], MILK, None, 1),
        (("snacks", "candy "), [label("a", CANDY, "relabel", CANDY)], CANDY, "relabel", 0),
        (None, [label("a", None, "exclude")], None, "exclude", 0),
    ],
)
def test_the_last_decision_on_the_label_that_a_product_has_counts(
    now: tuple[str, ...] | None, labels: list[DecidedLabel], path: tuple[str, ...] | None, verdict: str | None, passed_over: int
) -> None:
    outcome = decide_label(now, labels)
    assert (outcome.path, outcome.decided and outcome.decided.verdict, len(outcome.passed_over)) == (path, verdict, passed_over)
