"""The rows of files of contexts, in whatever way they are written."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.rejected import rejected_table
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source import list_source
from shelfcode.errors import ShelfcodeError
from shelfcode.retrieval.context_rows import ContextRows, context_rows, passed_over, refuse_broken

NAMES = ("case_id", "user_id", "retailer_id", "surface", "at", "history", "cart")
ROWS = [
    dict(zip(NAMES, cells, strict=True))
    for cells in (
        ("one", "u", " 7", "home", "1970-01-01T00:01:00", "a|b|a", "b c"),
        ("", "u", "7", "home", "", "a", ""),
        ("three", "", "", "", "Monday", "", '["a b", "c"]'),
        ("four", "", "", "", "1700000000.0", "", '["a b", "c"]'),
    )
]


QUOTE = chr(34)


def read(path: Path) -> ContextRows:
    (file,) = list_source(str(path))
    (batch,) = read_file(file)
    return context_rows(batch, file)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_texts_become_lists_and_times_and_rows_that_cannot_be_read_are_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"contexts.{kind}"
    if kind == "csv":
        lines = ["\t".join(ROWS[0]), *("\t".join(cell.replace(QUOTE, QUOTE * 2).join(QUOTE * 2) for cell in row.values()) for row in ROWS)]
    else:
        lines = [json.dumps({**row, "history": [word for word in row["history"].split("|") if word]}) for row in ROWS]
    path.write_text("\n".join(lines) + "\n")
    rows = read(path)
    first, last = rows.table.to_pylist()
    assert first == {"case_id": "one", "retailer_id": "7", "surface": "home", "at": 60, "history": ["a", "b", "a"], "cart": ["b", "c"]}
    assert last == {"case_id": "four", "retailer_id": None, "surface": None, "at": 1700000000, "history": [], "cart": ["a b", "c"]}
    places = ("line 3", "line 4") if kind == "csv" else ("line 2", "line 3")
    reasons = [f"case_id is missing or blank: {places[0]} of {path}", f"at is no time: 'Monday', {places[1]} of {path}"]
    assert [row.reason for row in rows.rejected] == reasons
    assert rows.rejected[1].row["cart"] == '["a b", "c"]'


def test_columns_of_parquet_may_be_of_any_type_that_says_the_same(tmp_path: Path) -> None:
    table = pa.table({
        "case_id": pa.array([1, 2]), "at": pa.array([60, None], pa.timestamp("s")), "retailer_id": pa.array([5.0, None]),
        "history": pa.array([[1, None, 2], None], pa.list_(pa.int64())), "cart": pa.array([["a"], ["b"]], pa.list_(pa.string(), 1)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "contexts.parquet")
    assert read(tmp_path / "contexts.parquet").table.to_pylist() == [
        {"case_id": "1", "retailer_id": "5", "surface": None, "at": 60, "history": ["1", None, "2"], "cart": ["a"]},
        {"case_id": "2", "retailer_id": None, "surface": None, "at": None, "history": [], "cart": ["b"]},
    ]


def test_a_time_outside_of_the_calendar_is_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"case_id": ["one", "two"], "at": pa.array([-(10**12), 10**12], pa.timestamp("s"))}), tmp_path / "far.parquet")
    rows = read(tmp_path / "far.parquet")
    assert not len(rows.table)
    assert [row.reason.split(":")[0] for row in rows.rejected] == ["at is no time", "at is no time"]
    assert rejected_table(rows.rejected)["item_id"].null_count == 2


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"case": ["one"]}, r"has no column 'case_id'. Columns found: 'case'"),
        ({"case_id": ["one"], "cart": [3]}, "column 'cart' holds int64"),
        ({"case_id": ["one"], "history": [{"a": 1}]}, "column 'history' holds struct"),
        ({"case_id": ["one"], "at": [["a"]]}, "the column of at is a list"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused_by_name(tmp_path: Path, columns: dict[str, list[object]], told: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "contexts.parquet")
    with pytest.raises(ShelfcodeError, match=told):
        read(tmp_path / "contexts.parquet")


def test_columns_that_say_nothing_and_files_without_rows_or_of_half_their_rows_are_noticed(tmp_path: Path) -> None:
    pq.write_table(pa.table({"case_id": ["one"], "basket": [["a"]], "user_id": ["u"]}), tmp_path / "contexts.parquet")
    (tmp_path / "none.jsonl").write_text("\n")
    assert passed_over(list_source(str(tmp_path / "*"))) == ["basket"]
    with pytest.raises(ShelfcodeError, match="it is empty"):
        passed_over(list_source(str(tmp_path / "none.jsonl")))
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "contexts.parquet").read_bytes()[:-9])
    (file,) = list_source(str(tmp_path / "broken.parquet"))
    with pytest.raises(ShelfcodeError, match="file cannot be read"):
        refuse_broken(next(read_file(file)))
