"""Files of decided labels: read as they were written, whatever their format, and refused where they say something else."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.decided_labels import guarded, path_of_cells, read_decided_labels, shown_path
from shelfcode.errors import ShelfcodeError

HEADER = "item_id,from_path,to_path,verdict,at\n"


def csv(folder: Path, rows: str, name: str = "labels.csv") -> str:
    path = folder / name
    path.write_text(HEADER + rows)
    return str(path)


def test_rows_come_in_the_order_of_time_with_lists_of_names(tmp_path: Path) -> None:
    url = csv(tmp_path, "7,Snacks > Candy,Snacks > Bars,accept,2026-05-02T10:00:00\n0012,Dairy > Milk,,keep,2026-05-01T10:00:00Z\n")
    read = read_decided_labels(url)
    assert [(each.item_id, each.from_path, each.to_path, each.verdict) for each in read.labels] == [
        ("0012", ("Dairy", "Milk"), None, "keep"), ("7", ("Snacks", "Candy"), ("Snacks", "Bars"), "accept"),
    ]  # fmt: skip
    assert read.labels[1].place == f"line 2 of {url}"


def test_parquet_with_lists_and_csv_with_texts_are_the_same_decisions(tmp_path: Path) -> None:
    table = pa.table({
        "item_id": pa.array([7]), "from_path": [["Snacks", "Candy > old"]], "to_path": [["Snacks", "Bars"]], "verdict": ["accept"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "labels.parquet")
    texts = pa.table({
        "item_id": ["7"], "from_path": ["Snacks > Candy > old"], "from_path_json": ['["Snacks", "Candy > old"]'],
        "to_path_json": ['["Snacks","Bars"]'], "verdict": ["accept"],
    })  # fmt: skip
    pa_csv.write_csv(texts, tmp_path / "labels.csv")
    parquet, text = (read_decided_labels(str(tmp_path / f"labels.{ending}")) for ending in ("parquet", "csv"))
    assert parquet.labels[0].from_path == ("Snacks", "Candy > old")
    assert parquet.digest == text.digest


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",A,B,accept,", "item_id is missing"),
        ("1,A,B,move,", "unknown verdict: 'move'"),
        ("1,A,,relabel,", "to_path is missing"),
        ('1,"[1, 2]",B,accept,', "from_path is no list of names"),
    ],
)
def test_a_row_that_says_nothing_is_kept_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    read = read_decided_labels(csv(tmp_path, f"{row}\n2,A,B,accept,\n"))
    assert [label.item_id for label in read.labels] == ["2"]
    assert reason in read.rejected[0].reason
    assert read.rejected[0].reason.endswith("line 2 of " + str(tmp_path / "labels.csv"))
    assert read.rows == 2


@pytest.mark.parametrize("cells", [{"to_path": "A > C", "to_path_json": '["A", "B"]'}, {"to_path_json": "A > B"}, {"to_path_json": "7"}])
def test_a_path_that_was_changed_in_one_of_its_columns_is_refused(cells: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="to_path"):
        path_of_cells(cells, "to_path")


@pytest.mark.parametrize("path", [("=cmd()", "A"), ("A > B", "C"), ("+1", "-x"), ('Say "hi", all', "[x]")])
def test_a_path_is_read_back_without_loss_and_begins_no_formula(path: tuple[str, ...]) -> None:
    import json

    cells = {"to_path": shown_path(path), "to_path_json": json.dumps(path)}
    assert path_of_cells(cells, "to_path") == path
    assert not cells["to_path"].startswith(("=", "+", "-", "@"))


def test_only_what_begins_a_formula_is_guarded() -> None:
    assert [guarded(text) for text in ("=1", "A=1", "")] == ["'=1", "A=1", ""]


def test_a_file_without_its_columns_or_none_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("item_id,label\n1,A\n")
    with pytest.raises(ShelfcodeError, match=r"--labels .*other.csv has no column 'from_path'.*export_corrections"):
        read_decided_labels(str(tmp_path / "other.csv"))
    with pytest.raises(ShelfcodeError, match=r"--labels .*nothing there"):
        read_decided_labels(str(tmp_path / "none.csv"))
