"""Corrections as files: what is exported, and that it comes back as it was."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.audit.decisions.decision import VERDICTS
from shelfcode.audit.decisions.exchange.corrections import chosen_corrections, csv_bytes, parquet_bytes
from shelfcode.audit.decisions.reading import CORRECTIONS
from shelfcode.catalog import decided_labels
from shelfcode.catalog.decided_labels import read_decided_labels

AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def row(item_id: str, verdict: str, before: list[str], after: list[str] | None, **fields: object) -> dict[str, object]:
    known = {
        "text_hash": "h",
        "reviewers": ["ann"],
        "decision_ids": [1],
        "at": AT,
        "note": "",
        "finding_id": f"f{item_id}",
        "state": "decided",
    }
    return {"item_id": item_id, "verdict": verdict, "from_path": before, "to_path": after, **known, **fields}


ROWS = [
    row("0012", "accept", ["Snacks", "Candy > old"], ["Health", 'Bars "new", all'], note="=HYPERLINK(1)", reviewers=["ann", "=bob"]),
    row("=7", "keep", ["Dairy", "Milk"], ["Dairy", "Milk"], state="exported"),
    row("-3", "exclude", ["Gifts"], None),
    row("4006381333931", "relabel", ["+1"], ["@home", "x\ny"], decision_ids=[4, 9], state="agreed"),
]


def corrections() -> pa.Table:
    return pa.Table.from_pylist(ROWS, CORRECTIONS)


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_what_is_written_is_read_back_as_decided_labels_without_loss(tmp_path: Path, format_: str) -> None:
    rows = chosen_corrections(corrections())
    (tmp_path / f"audit.{format_}").write_bytes(parquet_bytes(rows) if format_ == "parquet" else csv_bytes(rows))
    read = read_decided_labels(str(tmp_path))
    assert not read.rejected
    paths = {label.item_id: (label.verdict, label.from_path, label.to_path) for label in read.labels}
    assert paths == {
        "0012": ("accept", ("Snacks", "Candy > old"), ("Health", 'Bars "new", all')), "=7": ("keep", ("Dairy", "Milk"), None),
        "-3": ("exclude", ("Gifts",), None), "4006381333931": ("relabel", ("+1",), ("@home", "x y")),
    }  # fmt: skip
    assert {label.at for label in read.labels} == {AT.isoformat()}


def test_a_spreadsheet_computes_nothing_and_ids_stay_what_they_are() -> None:
    cells = list(csv.DictReader(io.StringIO(csv_bytes(chosen_corrections(corrections())).decode())))
    assert [each["item_id"] for each in cells] == ["0012", "=7", "-3", "4006381333931"]
    texts = [value for each in cells for name, value in each.items() if name != "item_id"]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@"))]
    assert cells[0]["from_path"] == "Snacks > Candy > old"
    assert cells[0]["reviewers"] == "ann; =bob"
    assert cells[3]["decision_ids"] == "4; 9"


def test_only_what_is_asked_for_is_exported() -> None:
    assert chosen_corrections(corrections(), only_agreed=True)["item_id"].to_pylist() == ["0012"]
    assert chosen_corrections(corrections(), only_new=True)["item_id"].to_pylist() == ["0012", "-3", "4006381333931"]


def test_no_label_is_set_where_the_given_one_is_right(tmp_path: Path) -> None:
    table = pq.read_table(io.BytesIO(parquet_bytes(chosen_corrections(corrections()))))
    assert table["to_path"].to_pylist()[1] is None
    assert table["reviewers"].to_pylist()[0] == ["ann", "=bob"]


def test_files_and_desk_know_the_same_verdicts() -> None:
    assert set(decided_labels.VERDICTS) == set(VERDICTS)
