"""Every row of a source is read or told of as unreadable, whatever its format and whatever is wrong with it."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfcode.catalog.rows import first_rows, read_file
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.source import list_source, source_digest
from shelfcode.catalog.source_file import RowBatch
from shelfcode.errors import ShelfcodeError

ROWS = [
    {"item_id": f"00{number}", "title": f'Ünique, "quoted" {number}', "description": "two\nlines" if number % 2 else None}
    for number in range(7)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows in the format that the file's name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    if ".parquet" in path.name:
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".csv" in path.name:
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        with opener(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def batches(url: Path | str, rows_per_batch: int = 10_000) -> list[RowBatch]:
    return [batch for file in list_source(str(url)) for batch in read_file(file, rows_per_batch)]


def rows_of(url: Path | str, rows_per_batch: int = 10_000) -> list[dict[str, Any]]:
    rows = [row for batch in batches(url, rows_per_batch) for row in batch.table.to_pylist()]
    return [{name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows]


def reasons_of(url: Path | str, rows_per_batch: int = 10_000) -> list[str]:
    return [row.reason for batch in batches(url, rows_per_batch) for row in batch.unreadable]


def names_of(url: Path | str) -> list[str]:
    return [file.url.rsplit("/", 1)[-1] for file in list_source(str(url))]


@pytest.mark.parametrize("name", ["a.parquet", "a.pq.parquet", "a.csv", "a.csv.gz", "a.CSV", "a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json"])
def test_a_file_gives_the_same_rows_in_every_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(tmp_path / name.lower(), ROWS).rename(path)
    assert rows_of(path) == ROWS
    assert reasons_of(path) == []


def test_a_bucket_gives_the_same_rows_as_a_folder(tmp_path: Path, s3: str) -> None:
    import fsspec

    for name in ("a.parquet", "b.csv.gz", "c.jsonl"):
        write(tmp_path / name, ROWS)
        fsspec.filesystem("s3").put_file(str(tmp_path / name), f"{s3}/source/deep/{name}")
    assert rows_of(f"{s3}/source") == rows_of(tmp_path) == ROWS * 3
    assert names_of(f"{s3}/source/deep/*.csv.gz") == ["b.csv.gz"]
    assert rows_of(f"{s3}/source/deep/c.jsonl") == ROWS
    assert all(file.url.startswith("s3://") for file in list_source(f"{s3}/source"))
    deltalake.write_deltalake(str(tmp_path / "table"), pa.Table.from_pylist(ROWS))
    fsspec.filesystem("s3").put(str(tmp_path / "table"), f"{s3}/table", recursive=True)
    assert rows_of(f"{s3}/table") == ROWS


def test_a_folder_is_read_through_and_hidden_files_and_other_formats_are_left_out(tmp_path: Path) -> None:
    for name in ("b.parquet", "sub/a.csv", "sub/.hidden.csv", "_temporary/c.csv", ".cache/d.csv", "_SUCCESS.csv"):
        write(tmp_path / name, ROWS)
    (tmp_path / "README.md").write_text("x")
    assert names_of(tmp_path) == ["b.parquet", "a.csv"]


def test_a_glob_picks_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("c-2.csv", "c-1.csv", "d-1.csv", "c-3.parquet", "sub/c-4.csv"):
        write(tmp_path / name, ROWS)
    assert names_of(f"{tmp_path}/c-*.csv") == ["c-1.csv", "c-2.csv"]
    assert names_of(f"{tmp_path}/**/c-*.csv") == ["c-1.csv", "c-2.csv", "c-4.csv"]


def test_a_name_with_a_globs_signs_in_it_is_still_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "export [2026] x.csv", ROWS)
    write(tmp_path / "export 2 x.csv", ROWS)
    assert names_of(path) == ["export [2026] x.csv"]
    assert rows_of(path) == ROWS


@pytest.mark.parametrize("name", ["nothing.parquet", "no*.csv", "nowhere/"])
def test_a_source_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ShelfcodeError, match="there is nothing there"):
        list_source(f"{tmp_path}/{name}")


def test_a_folder_without_a_readable_format_says_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(ShelfcodeError, match=r"1 of its files cannot be read: 'a\.xlsx' .*can end in \.parquet"):
        list_source(str(tmp_path))


def test_a_digest_changes_when_a_file_or_the_mapping_does(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ROWS)
    first = source_digest(list_source(str(tmp_path)), "{}")
    assert source_digest(list_source(str(tmp_path)), "{}") == first
    assert source_digest(list_source(str(tmp_path)), '{"columns": {}}') != first
    write(tmp_path / "a.csv", ROWS[:-1])
    changed = source_digest(list_source(str(tmp_path)), "{}")
    write(tmp_path / "b.csv", ROWS)
    assert len({first, changed, source_digest(list_source(str(tmp_path)), "{}")}) == 3


def test_a_truncated_parquet_costs_one_rejected_row_and_names_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ROWS)
    whole = write(tmp_path / "b.parquet", ROWS).read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "c.parquet", ROWS)
    assert rows_of(tmp_path) == ROWS * 2
    reasons = reasons_of(tmp_path)
    assert len(reasons) == 1
    assert reasons[0].startswith("file cannot be read: ")
    assert "b.parquet" in reasons[0]
    assert first_rows(list_source(str(tmp_path / "*.parquet")))[1].schema.names == list(ROWS[0])


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_truncated_archive_gives_what_comes_before_the_break(tmp_path: Path, name: str) -> None:
    rows = [{"item_id": str(number), "title": f"{number * 7919 % 100_003}"} for number in range(30_000)]
    path = write(tmp_path / name, rows)
    path.write_bytes(path.read_bytes()[:-20])
    found = rows_of(path, rows_per_batch=100)
    assert found == rows[: len(found)]
    assert len(found) >= (10_000 if "jsonl" in name else 0)
    reasons = reasons_of(path, rows_per_batch=100)
    assert len(reasons) == 1
    assert reasons[0].startswith("file cannot be read: ")
    assert len(found) == 0 or f" after line {len(found) + ('csv' in name)} of " in reasons[0]


def test_bytes_that_are_not_utf8_stay_in_a_csv_until_their_row_is_judged(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"item_id,title\n1,Milk\n2,Caf\xe9\n")
    assert [row["title"] for batch in batches(tmp_path) for row in batch.table.to_pylist()] == [b"Milk", b"Caf\xe9"]


def test_a_csv_row_with_too_many_or_too_few_columns_is_rejected_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title\n1,Milk\n2,Oats,and more\n3\n4,Bread\n")
    assert [row["item_id"] for row in rows_of(tmp_path)] == ["1", "4"]
    reasons = reasons_of(tmp_path)
    assert len(reasons) == 2
    assert "row has 3 columns instead of 2" in reasons[0]
    assert "row has 1 columns instead of 2" in reasons[1]
    assert [row.row["text"] for batch in batches(tmp_path) for row in batch.unreadable] == ["2,Oats,and more", "3"]


def test_a_csv_of_many_blocks_loses_no_bad_row(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w") as file:
        file.write("item_id,title\n")
        for number in range(36_000):
            file.write(f"{number},{'x' * 480}\n" + (f"{number},a,b\n" if number % 1000 == 500 else ""))
    found = batches(tmp_path)
    assert sum(len(batch.table) for batch in found) == 36_000
    assert sum(len(batch.unreadable) for batch in found) == 36


def test_an_excel_csv_with_a_byte_order_mark_has_its_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfitem_id,title\r\n1,Milk\r\n")
    assert rows_of(tmp_path) == [{"item_id": "1", "title": "Milk"}]


BROKEN_LINES = [b"{broken", b"[1, 2]", b'"text"', b"{}", b'{"title": "\xe9"}', b'{"title": "\\ud800"}', b"[" * 100_000]


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_json_line_that_cannot_be_read_is_rejected_alone(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"item_id": "1"}\n\n' + line + b'\n{"item_id": "2", "title": "\\ud83c\\udf4e"}\n')
    assert [row["item_id"] for row in rows_of(tmp_path)] == ["1", "2"]
    assert rows_of(tmp_path)[1]["title"] == "🍎"
    reasons = reasons_of(tmp_path)
    assert len(reasons) == 1
    assert reasons[0].startswith("line is not a JSON object: line 3 of ")


def test_json_values_of_mixed_types_become_text_as_csv_would_have_them(tmp_path: Path) -> None:
    rows = [
        {"item_id": 7, "title": "a", "price": 1.50},
        {"item_id": "8", "title": ["b"], "price": "2"},
        {"item_id": None, "title": {"en": "ü"}, "price": True},
    ]
    write(tmp_path / "a.jsonl", rows)
    assert rows_of(tmp_path) == [
        {"item_id": "7", "title": "a", "price": "1.5"},
        {"item_id": "8", "title": '["b"]', "price": "2"},
        {"item_id": None, "title": '{"en": "ü"}', "price": "true"},
    ]


def test_a_json_row_whose_category_path_is_of_another_type_is_rejected_alone(tmp_path: Path) -> None:
    paths: list[Any] = [["Dairy", "Milk"], "Dairy > Milk", None, ["Dairy", 3], ["Dairy"], {"a": 1}, ["Home"], []]
    write(tmp_path / "a.jsonl", [{"item_id": str(number), "category_path": path} for number, path in enumerate(paths)])
    assert {row["item_id"]: row["category_path"] for row in rows_of(tmp_path)} == {
        "0": ["Dairy", "Milk"], "2": None, "4": ["Dairy"], "6": ["Home"], "7": [],
    }  # fmt: skip
    rejected = [row for batch in batches(tmp_path) for row in batch.unreadable]
    assert [row.item_id for row in rejected] == ["1", "3", "5"]
    assert all(row.reason.startswith("category_path is not a list of strings as in other rows: ") for row in rejected)


def test_a_row_without_an_item_id_is_not_rejected_as_item_none(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"item_id": "1", "tags": ["a"]}, {"tags": "b"}, {"item_id": "2", "tags": ["c"]}])
    assert [row.item_id for batch in batches(tmp_path) for row in batch.unreadable] == [None]


def test_json_columns_that_are_null_throughout_do_not_pass_for_text(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"item_id": "1", "title": "a", "category_path": None}])
    schema = first_rows(list_source(str(tmp_path)))[1].schema
    assert schema.field("category_path").type == pa.null()


EMPTY_FILES = [("a.csv", "item_id,title\n"), ("a.csv", ""), ("a.jsonl", ""), ("a.jsonl", "\n\n"), ("a.jsonl", "x\n")]


@pytest.mark.parametrize(("name", "text"), EMPTY_FILES)
def test_a_source_without_a_row_is_called_empty(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ShelfcodeError, match="the catalog is empty"):
        first_rows(list_source(str(tmp_path)))


def test_a_parquet_file_without_rows_still_shows_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.schema({"item_id": pa.string(), "title": pa.string()}).empty_table(), tmp_path / "a.parquet")
    assert first_rows(list_source(str(tmp_path)))[1].schema.names == ["item_id", "title"]
    assert rows_of(tmp_path) == []


def test_a_large_parquet_file_is_shared_out_without_losing_or_renumbering_a_row(tmp_path: Path) -> None:
    rows = [{"item_id": str(number), "title": f"{number:0200d}"} for number in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=90, compression="none", use_dictionary=False)
    whole = batches(tmp_path)
    files = list_source(str(tmp_path), split_above_bytes=40_000)
    assert len(files) > 3
    assert [group for file in files for group in file.shares or ()] == list(range(12))
    split = [batch for file in files for batch in read_file(file)]
    for read in (split, whole):
        assert [row for batch in read for row in batch.table.to_pylist()] == rows
    for batch in split:
        assert [int(item) + 1 for item in batch.table["item_id"].to_pylist()] == batch.numbers_N.tolist()


def test_batches_are_bounded_and_say_where_they_begin(tmp_path: Path) -> None:
    rows = [{"item_id": str(number), "title": "x"} for number in range(35)]
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        found = batches(write(tmp_path / name, rows), rows_per_batch=10)
        first = 2 if name == "a.csv" else 1
        assert [(batch.numbers_N[0] - first, len(batch.table)) for batch in found] == [(0, 10), (10, 10), (20, 10), (30, 5)]


def test_a_number_in_json_is_the_same_text_with_a_point_and_without_and_nan_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"item_id": 1000.0}\n{"item_id": 1000}\n{"item_id": 1.5}\n{"item_id": 1e17}\n{"item_id": NaN}\n')
    (batch,) = read_file(list_source(str(tmp_path))[0])
    assert batch.table["item_id"].to_pylist() == ["1000", "1000", "1.5", "1e+17", None]


def test_every_file_of_a_folder_is_read_or_refused_by_name(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", ROWS).read_bytes()
    for name in ("part-00001", "part-2026-11-28.0", "b.txt"):
        (tmp_path / name).write_bytes(plain)
    write(tmp_path / "c.jsonl", ROWS).rename(tmp_path / "000000_0")
    write(tmp_path / "d.parquet", ROWS).rename(tmp_path / "d.parquet.gzip")  # as pandas' documentation calls it, and Parquet all the same
    for name, kind in (("e.csv.zst", "zstd"), ("f.csv.bz2", "bz2"), ("g", "gzip")):
        with pa.CompressedOutputStream(str(tmp_path / name), kind) as file:
            file.write(plain)
    (tmp_path / "README.md").write_text("about")
    assert rows_of(tmp_path) == ROWS * 9
    (tmp_path / "more.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "d.parquet.gz").write_bytes(gzip.compress((tmp_path / "d.parquet.gzip").read_bytes()))
    with pytest.raises(ShelfcodeError) as raised:
        list_source(str(tmp_path))
    listed = "2 of its files cannot be read: 'd.parquet.gz' (Parquet that was packed as a whole), 'more.xlsx' (a ZIP archive"
    assert listed in str(raised.value)


def test_a_glob_leaves_out_what_is_hidden_unless_it_asks_for_it(tmp_path: Path) -> None:
    for name in ("a.csv", "_temporary/b.csv", "sub/.c.csv", "sub/_d.csv", "sub/e.csv"):
        write(tmp_path / name, ROWS)
    assert names_of(f"{tmp_path}/**/*.csv") == ["a.csv", "e.csv"]
    assert names_of(f"{tmp_path}/_temporary/*.csv") == ["b.csv"]
    assert names_of(f"{tmp_path}/sub/_*.csv") == ["_d.csv"]
    assert names_of(f"{tmp_path}/sub/.c.csv") == [".c.csv"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_folders_that_name_a_column_give_it(tmp_path: Path, name: str) -> None:
    rows = [{"item_id": "1", "title": "Milk"}]
    write(tmp_path / "shop" / "category_path=Dairy" / "size=1%2F2 l" / name, rows)
    write(tmp_path / "shop" / "category_path=Home" / "size=__HIVE_DEFAULT_PARTITION__" / name, rows)
    expected = [{**rows[0], "category_path": ["Dairy"], "size": "1/2 l"}, {**rows[0], "category_path": ["Home"], "size": None}]
    assert rows_of(tmp_path / "shop") == rows_of(f"{tmp_path}/shop/*/*/*") == expected
    assert rows_of(tmp_path / "shop" / "category_path=Dairy") == rows_of(f"{tmp_path}/shop/*=D*") == expected[:1]
    (file, _) = list_source(str(tmp_path / "shop"))
    (batch,) = read_file(file, settings=CatalogSettings(category_separator="/"))
    assert batch.table["category_path"].to_pylist() == ["Dairy"]


def test_what_is_no_file_of_rows_is_named(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        (tmp_path / name).write_text(pointer)
        with pytest.raises(ShelfcodeError, match=r"a Git LFS pointer, not the file itself"):
            list_source(str(tmp_path / name))
    with pytest.raises(ShelfcodeError, match=r"catalogs are not read over HTTP. Download it first"):
        list_source("https://shop.example/export.csv?token=1")


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def test_a_json_array_is_read_like_lines(tmp_path: Path, ending: str) -> None:
    content = "\n " + json.dumps(ROWS, indent=1 if ending == "json" else None)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(content.encode()) if ending.endswith("gz") else content.encode("utf-8-sig"))
    assert rows_of(path, rows_per_batch=3) == ROWS


def test_a_json_array_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"item_id": 1}, 2, {"item_id": 3.0}, {}]')
    assert [row["item_id"] for row in rows_of(tmp_path)] == ["1", "3"]
    assert [reason.rsplit(" of ", 1)[0] for reason in reasons_of(tmp_path)] == [
        "element is not an object with fields: row 2", "element is not an object with fields: row 4",
    ]  # fmt: skip
    (tmp_path / "a.json").write_text('[{"item_id": 1}, {"item_id": 3')
    assert reasons_of(tmp_path)[-1].startswith("file cannot be read: ")
    (tmp_path / "a.json").rename(tmp_path / "a.jsonl")
    assert reasons_of(tmp_path)[-1].startswith("file cannot be read: ")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_json_lines_have_encodings_too(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"item_id": "ä"}\n{"item_id": "ö"}\n'.encode(encoding))
    (file,) = list_source(str(tmp_path))
    settings = CatalogSettings(encoding="cp1252" if encoding == "cp1252" else None)
    assert [row["item_id"] for batch in read_file(file, settings=settings) for row in batch.table.to_pylist()] == ["ä", "ö"]


def test_pieces_of_parquet_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shelfcode.catalog.formats.parquet_rows.BYTES_PER_BATCH", 100_000)
    images = [b"%06d" % number + b"x" * 10_000 for number in range(50)]
    pq.write_table(pa.table({"item_id": [str(n) for n in range(50)], "image": images}), tmp_path / "a.parquet", compression="none")
    pq.write_table(pa.table({"item_id": [str(n) for n in range(50)], "image": images[:1] * 50}), tmp_path / "b.parquet")
    found = batches(tmp_path)
    assert max(len(batch.table) for batch in found) <= 10
    assert [row["image"] for batch in found for row in batch.table.to_pylist()] == images + images[:1] * 50


def test_a_parquet_file_that_gives_other_rows_than_it_counts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.parquet", ROWS)
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *args, **of: (batch.slice(1) for batch in whole(*args, **of)))
    assert reasons_of(tmp_path)[-1].endswith("it holds 7 rows by its footer, and 6 could be read")
