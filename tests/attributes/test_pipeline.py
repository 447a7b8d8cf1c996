"""Each product's text goes through the extractor once, and its attributes are found again by its own text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.attributes.pipeline import ExtractedCatalog, extract_attributes
from shelfcode.attributes.rules import extract
from shelfcode.attributes.schema import ATTRIBUTES_SCHEMA
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.flavor import CatalogSettings
from shelfcode.keys import first_copies, row_keys
from shelfcode.workspace import Workspace

pytestmark = pytest.mark.usefixtures("local_ray")

KINDS = ["Organic oat milk carton", "Vegan rye bread", "Bar soap", "Apple juice bottle"]
TITLES = [f"{kind} {number}" for number, kind in enumerate(KINDS * 4)]


def snap(workspace: Workspace, titles: Sequence[str], source: Path) -> Snapshot:
    source.mkdir()
    rows = [
        {"item_id": f"p{number}", "title": title, "brand": None, "description": "Made with salt" if number % 2 else None}
        for number, title in enumerate(titles)
    ]
    for name, part in (("a", rows[: len(rows) // 2]), ("b", rows[len(rows) // 2 :])):
        pq.write_table(pa.Table.from_pylist(part), source / f"{name}.parquet")
    return take_snapshot(str(source), CatalogSettings(), workspace, "read", lambda _: None)


def current_rows(workspace: Workspace, found: ExtractedCatalog) -> dict[str, dict[str, object]]:
    """Attributes of the snapshot's products, as the owner index picks them out of the table; each must be picked once."""
    rows: dict[str, dict[str, object]] = {}
    for number, part in enumerate(found.parts):
        table = workspace.read_table(part)
        assert table.schema.equals(ATTRIBUTES_SCHEMA)
        for row in table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), found.owner, number))).to_pylist():
            assert row["item_id"] not in rows
            rows[row["item_id"]] = row
    return rows


def expected(titles: Sequence[str]) -> dict[str, dict[str, object]]:
    found = {f"p{i}": extract(title, "Made with salt" if i % 2 else None, None).model_dump() for i, title in enumerate(titles)}
    return {item: {name: list(v) if isinstance(v, tuple) else v for name, v in row.items()} for item, row in found.items()}


def without_hash(rows: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {item: {name: value for name, value in row.items() if name not in ("item_id", "text_hash")} for item, row in rows.items()}


def test_attributes_are_extracted_once_and_a_changed_title_alone_again(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    told: list[int] = []
    one = snap(workspace, TITLES, tmp_path / "one")
    first = extract_attributes(one, workspace, told.append)
    assert (first.extracted, first.reused, sum(told)) == (16, 0, 16)
    assert without_hash(current_rows(workspace, first)) == expected(TITLES)

    again = extract_attributes(one, workspace, told.append)
    assert (again.extracted, again.reused, sum(told)) == (0, 16, 32)
    assert again.parts == first.parts

    changed = [*TITLES[:5], "Whole milk jug", *TITLES[6:]]
    second = extract_attributes(snap(workspace, changed, tmp_path / "two"), workspace, told.append)
    assert (second.extracted, second.reused) == (1, 15)
    assert without_hash(current_rows(workspace, second)) == expected(changed)


def test_a_lost_part_is_extracted_again_and_no_other(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "ws"))
    snapshot = snap(workspace, TITLES, tmp_path / "one")
    first = extract_attributes(snapshot, workspace, lambda _: None)
    rows = current_rows(workspace, first)
    workspace.remove(first.parts[0])
    again = extract_attributes(snapshot, workspace, lambda _: None)
    assert (again.extracted, again.reused) == (8, 8)
    assert current_rows(workspace, again) == rows
