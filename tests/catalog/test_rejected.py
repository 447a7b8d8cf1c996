"""What was turned away can be read later, by whoever repairs the catalog."""

import json
from pathlib import Path

import pytest

from shelfcode.catalog.rejected import REJECTED_SCHEMA, RejectedRow, count_reasons, rejected_table, row_json, write_rejected
from shelfcode.workspace import Workspace


def test_a_rejected_row_keeps_item_stage_reason_and_the_row_itself() -> None:
    row = RejectedRow("1", "catalog", "title is blank: near row 3", {"item_id": "1", "price": 2.5})
    rows = [row, RejectedRow(None, "read", "broken", {})]
    table = rejected_table(rows)
    assert table.schema.equals(REJECTED_SCHEMA)
    assert [row["item_id"] for row in table.to_pylist()] == ["1", None]
    assert json.loads(table["row"][0].as_py()) == {"item_id": "1", "price": 2.5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Ñandú", "Ñandú"), (b"Caf\xe9", "Caf\ufffd"), ([b"a", None], ["a", None]), ("half \ud800 pair", "half ? pair"), ({7}, "{7}")],
)
def test_any_value_can_be_kept_as_json_that_is_utf8(value: object, expected: object) -> None:
    text = row_json({"title": value})
    text.encode()
    assert json.loads(text) == {"title": expected}


def test_reasons_are_counted_without_what_is_particular_to_a_row() -> None:
    reasons = ["title is blank: near row 3", "title is blank: near row 4", "embedding is not finite"]
    rows = [RejectedRow(None, "catalog", reason, {}) for reason in reasons]
    assert count_reasons(rows) == {"title is blank": 2, "embedding is not finite": 1}


def test_work_done_twice_leaves_its_rejected_rows_once_and_no_empty_file(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    for _ in range(2):
        write_rejected(workspace, "run", "catalog-0", [RejectedRow("1", "catalog", "r", {})])
    write_rejected(workspace, "run", "catalog-1", [])
    assert workspace.parts("rejected/run") == ["rejected/run/part-catalog-0.parquet"]
    assert len(workspace.read_table("rejected/run/part-catalog-0.parquet")) == 1
