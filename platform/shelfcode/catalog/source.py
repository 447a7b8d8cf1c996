"""Reading a source: a file, folder or glob of Parquet, CSV or JSON Lines, local or s3://, a bounded number of rows at a time."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from shelfcode.catalog.rejected import RejectedRow
from shelfcode.errors import ShelfcodeError
from shelfcode.store import open_filesystem

FORMATS = {"parquet": "parquet", "pq": "parquet", "csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl"}
ROWS_PER_BATCH = 10_000
SPLIT_ABOVE_BYTES = 256 * 2**20
"""A Parquet file larger than this is split by row groups, so that several tasks read it side by side."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, or some row groups of a large Parquet file; `version` changes when its content does."""

    url: str
    format: str
    version: str
    row_groups: tuple[int, ...] | None = None
    first_row: int = 0


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a file under the file's own column names, and the rows that could not even be parsed.

    Attributes:
        first_row: number of the first of them within the file, counted from 0.
    """

    table: pa.Table
    first_row: int
    unreadable: tuple[RejectedRow, ...] = ()


def list_source(url: str, split_above_bytes: int = SPLIT_ABOVE_BYTES) -> list[SourceFile]:
    """The files of a source, in the order in which their rows count.

    Raises:
        ShelfcodeError: nothing is there, or no file of a known format.
    """
    fs, root = open_filesystem(url)
    if any(sign in root for sign in "*?[") and not fs.exists(root):  # a file's name may contain such a character
        paths = fs.glob(root)
    elif fs.isdir(root):
        paths = fs.find(root)
    else:
        paths = [root] if fs.exists(root) else []
    files = []
    for path in sorted(paths):
        names = path[len(root) :].split("/") if path.startswith(root) else [path.rsplit("/", 1)[-1]]
        if (kind := _format(path)) and not any(name.startswith((".", "_")) for name in names):
            files += _split(SourceFile(fs.unstrip_protocol(path), kind, _version(fs, path)), split_above_bytes)
    if not files:
        endings = ", ".join(f".{end}" for end in FORMATS)
        problem = f"none of the {len(paths)} files ends in {endings}" if paths else "there is nothing there"
        raise ShelfcodeError(f"--catalog {url}: {problem}. Give a file, a folder or a glob of Parquet, CSV or JSON Lines")
    return files


def source_digest(files: list[SourceFile], settings_json: str) -> str:
    """Identifies the content of a source without reading it: by its files' names, sizes and times, and the settings they are read with."""
    lines = [settings_json, *(f"{file.url} {file.version}" for file in files)]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def source_schema(files: list[SourceFile]) -> tuple[str, pa.Schema]:
    """Column names and types of the first file that can be read, and its URL. Where a format has no types, all is text.

    Raises:
        ShelfcodeError: no file can be read.
    """
    url, rows = first_rows(files)
    return url, rows.schema


def first_rows(files: list[SourceFile]) -> tuple[str, pa.Table]:
    """The first rows of the first file that can be read, and its URL.

    Raises:
        ShelfcodeError: no file can be read.
    """
    problems = []
    for file in files:
        for batch in islice(read_file(file), 1):
            if batch.table.num_columns:
                return file.url, batch.table
            problems += [row.reason for row in batch.unreadable]
    listed = "; ".join(problems[:3])
    raise ShelfcodeError(f"the catalog is empty: no row could be read from {files[0].url}" + (f" ({listed})" if listed else ""))


def read_file(file: SourceFile, rows_per_batch: int = ROWS_PER_BATCH) -> Iterator[RowBatch]:
    """The rows of a file, batch by batch. A file that breaks off gives the rows before the break, and one rejected row for the rest."""
    reader = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl}[file.format]
    row = file.first_row
    try:
        for batch in reader(file, rows_per_batch):
            row = batch.first_row + len(batch.table) + len(batch.unreadable)
            yield batch
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        message = " ".join(str(error).split())[:300]
        broken = RejectedRow(None, "read", f"file cannot be read: {file.url} from row {row} on: {message}", {"file": file.url, "row": row})
        yield RowBatch(pa.table({}), row, (broken,))


def _read_parquet(file: SourceFile, rows_per_batch: int) -> Iterator[RowBatch]:
    fs, path = open_filesystem(file.url)
    row = file.first_row
    with fs.open(path, "rb") as stream:
        parquet = pq.ParquetFile(stream)
        groups = list(file.row_groups) if file.row_groups is not None else None
        if not parquet.metadata.num_rows:
            yield RowBatch(parquet.schema_arrow.empty_table(), row)
        for batch in parquet.iter_batches(batch_size=rows_per_batch, row_groups=groups):
            yield RowBatch(pa.Table.from_batches([batch]), row)
            row += len(batch)


def _read_csv(file: SourceFile, rows_per_batch: int) -> Iterator[RowBatch]:
    """All columns as bytes: so '007' stays an item_id, and text that is not UTF-8 costs its own row alone, later."""
    fs, path = open_filesystem(file.url)
    unreadable: list[RejectedRow] = []

    def keep(row: pacsv.InvalidRow) -> str:
        reason = f"row has {row.actual_columns} columns instead of {row.expected_columns}: row {row.number or '?'} of {file.url}"
        unreadable.append(RejectedRow(None, "read", reason, {"text": row.text}))
        return "skip"

    def open_reader(stream: Any, names: list[str]) -> pacsv.CSVStreamingReader:
        return pacsv.open_csv(
            stream,
            pacsv.ReadOptions(block_size=8 * 2**20, use_threads=False),
            pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), null_values=[""], strings_can_be_null=True, check_utf8=False
            ),
        )

    with fs.open(path, "rb", compression="infer") as stream:
        names = open_reader(stream, []).schema.names
    unreadable.clear()
    row = 0
    with fs.open(path, "rb", compression="infer") as stream:
        for batch in open_reader(stream, names):
            for begin in range(0, len(batch), rows_per_batch):
                table = pa.Table.from_batches([batch.slice(begin, rows_per_batch)])
                yield RowBatch(table, row, tuple(unreadable))
                row += len(table) + len(unreadable)
                unreadable.clear()
    if unreadable:
        yield RowBatch(pa.table({}), row, tuple(unreadable))


def _read_jsonl(file: SourceFile, rows_per_batch: int) -> Iterator[RowBatch]:
    fs, path = open_filesystem(file.url)
    row = 0
    with fs.open(path, "rb", compression="infer") as stream:
        lines = (line for line in stream if line.strip())
        while chunk := list(islice(lines, rows_per_batch)):
            records, unreadable = [], []
            for offset, line in enumerate(chunk):
                try:
                    records.append(_record(line))
                except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors are both ValueErrors
                    reason = f"line is not a JSON object: row {row + offset} of {file.url}: {error}"
                    unreadable.append(RejectedRow(None, "read", reason, {"text": line.decode("utf-8", "replace")}))
            table, mixed = _table_of_records(records, file.url)
            yield RowBatch(table, row, (*unreadable, *mixed))
            row += len(chunk)


def _record(line: bytes) -> dict[str, Any]:
    """One line as an object with fields.

    Raises:
        ValueError: it is something else, or contains an escaped half of a surrogate pair, which UTF-8 cannot express.
        RecursionError: it is nested too deeply.
    """
    record = json.loads(line)
    if not isinstance(record, dict) or not record:
        raise ValueError("not an object with fields")
    if b"\\ud" in line.lower():
        json.dumps(record, ensure_ascii=False).encode()
    return record


def _table_of_records(records: list[dict[str, Any]], url: str) -> tuple[pa.Table, list[RejectedRow]]:
    """Records as columns of text or of lists of names, and the records rejected for having text where most have a list.

    Any other value becomes text, as in a CSV: numbers as they are written, objects as JSON.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    lists = {name for name in names if _mostly_lists([record.get(name) for record in records])}
    kept, mixed = [], []
    for record in records:
        odd = [name for name in lists if record.get(name) is not None and not _is_name_list(record[name])]
        if odd:
            reason = f"{odd[0]} is not a list of strings as in other rows: {json.dumps(record[odd[0]])[:40]} in {url}"
            item_id = record.get("item_id")
            mixed.append(RejectedRow(None if item_id is None else str(item_id), "read", reason, record))
        else:
            kept.append(record)
    columns = {}
    for name in names:
        values = [record.get(name) for record in kept]
        if name in lists:
            columns[name] = pa.array(values, pa.list_(pa.string()))
        elif all(value is None for value in values):
            columns[name] = pa.nulls(len(values))  # the same as absent: a category path without a name is not "one string"
        else:
            columns[name] = pa.array([_as_text(value) for value in values], pa.string())
    return pa.table(columns), mixed


def _mostly_lists(values: list[Any]) -> bool:
    present = [value for value in values if value is not None]
    return 2 * sum(map(_is_name_list, present)) > len(present)


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and all(name is None or isinstance(name, str) for name in value)


def _as_text(value: Any) -> str | None:
    if isinstance(value, float) and (value != value or (value.is_integer() and abs(value) <= 2**53)):
        return None if value != value else str(int(value))  # NaN is a gap, and 17.0 in one row is 17 in another
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _format(path: str) -> str | None:
    name = path.rsplit("/", 1)[-1].lower().removesuffix(".gz")
    kind = FORMATS.get(name.rsplit(".", 1)[-1]) if "." in name else None
    return None if kind == "parquet" and path.lower().endswith(".gz") else kind


def _version(fs: AbstractFileSystem, path: str) -> str:
    info = fs.info(path)
    return f"{info.get('size')} {info.get('ETag') or info.get('mtime')}"


def _split(file: SourceFile, above_bytes: int) -> list[SourceFile]:
    """A file as it is, or a large Parquet file as groups of its row groups."""
    fs, path = open_filesystem(file.url)
    if file.format != "parquet" or int(file.version.split()[0]) <= above_bytes:
        return [file]
    try:
        with fs.open(path, "rb") as stream:
            metadata = pq.ParquetFile(stream).metadata
    except (pa.ArrowException, OSError):
        return [file]  # whoever reads it says what is wrong
    shares, groups, size, first_row, row = [], [], 0, 0, 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        size += metadata.row_group(group).total_byte_size
        row += metadata.row_group(group).num_rows
        if size > above_bytes or group == metadata.num_row_groups - 1:
            shares.append(SourceFile(file.url, file.format, file.version, tuple(groups), first_row))
            groups, size, first_row = [], 0, row
    return shares
