"""Delta and Iceberg tables. Which of the files in such a folder count, only the table's own log says, so its library reads it."""

import importlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from shelfcode.catalog.formats.parquet_rows import numbered, pieces, rows_within
from shelfcode.catalog.source_file import ROWS_PER_BATCH, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.store import open_filesystem

_DELTA = re.compile(r"(?:(?P<table>.*)/)?_delta_log/[^/]+")
_ICEBERG = re.compile(r"(?:(?P<table>.*)/)?metadata/[^/]+\.metadata\.json")
_VERSION = re.compile(r"v?(\d+)")


def table_folders(paths: list[str]) -> dict[str, str]:
    """Folders that are tables, by the files that lie in them: folder -> delta or iceberg. The paths' own folder is ''."""
    found = {}
    for path in paths:
        for kind, pattern in (("delta", _DELTA), ("iceberg", _ICEBERG)):
            if match := pattern.fullmatch(path):
                found[match["table"] or ""] = kind
    return found


def list_table(kind: str, url: str) -> list[SourceFile]:
    """The data of a table as it is now, in shares that can be read side by side.

    Raises:
        ShelfcodeError: its library is not installed, or cannot read the table.
    """
    try:
        if kind == "delta":
            table = _delta_table(url)
            version, count = str(table.version()), len(_delta_fragments(table))
            return [SourceFile(url, kind, version, (share,)) for share in range(count)]
        place = _newest_metadata(url)
        snapshot = _iceberg_table(place).current_snapshot()
        return [SourceFile(place, kind, str(snapshot.snapshot_id))] if snapshot else []
    except ShelfcodeError:
        raise
    except Exception as error:  # each library has errors of its own, and raises any that it meets
        raise ShelfcodeError(f"{url} is {_NAMES[kind]} that cannot be read: {type(error).__name__}: {_short(error)}") from error


def read_table(file: SourceFile, rows_per_batch: int = ROWS_PER_BATCH) -> Iterator[RowBatch]:
    """The rows of a table, or of one share of it.

    Raises:
        ValueError: it cannot be read.
    """
    row = file.first_row
    try:
        for batch in (_delta_batches if file.format == "delta" else _iceberg_batches)(file, rows_per_batch):
            for table in pieces(pa.Table.from_batches([batch])):
                for begin in range(0, len(table), rows_per_batch):
                    piece = table.slice(begin, rows_per_batch)
                    yield numbered(piece, row)
                    row += len(piece)
    except Exception as error:  # as above
        raise ValueError(f"{type(error).__name__}: {_short(error)}") from error


_NAMES = {"delta": "a Delta table", "iceberg": "an Iceberg table"}


def _library(kind: str, module: str, url: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ShelfcodeError(
            f"{url} is {_NAMES[kind]}, which only its own library can read: pip install 'shelfcode[{kind}]', "
            "or export the table to Parquet files elsewhere"
        ) from error


def _delta_table(url: str, version: int | None = None) -> Any:
    options = {"AWS_ALLOW_HTTP": "true"} if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://") else {}
    deltalake = _library("delta", "deltalake", url)
    return deltalake.DeltaTable(url, version=version, storage_options=options if url.startswith("s3") else None)


def _delta_fragments(table: Any) -> list[Any]:
    return sorted(table.to_pyarrow_dataset().get_fragments(), key=lambda fragment: fragment.path)


def _delta_batches(file: SourceFile, rows_per_batch: int) -> Iterator[pa.RecordBatch]:
    table = _delta_table(file.url, int(file.version))
    schema, fragments = table.to_pyarrow_dataset().schema, _delta_fragments(table)
    for share in file.shares or ():
        counted, rows = fragments[share].metadata.num_rows, 0
        for group in fragments[share].split_by_row_group():
            size = _batch_rows(group, rows_per_batch)
            for batch in group.to_batches(schema=schema, batch_size=size, batch_readahead=1, fragment_readahead=1):
                rows += len(batch)
                yield batch
        if rows != counted:
            raise ValueError(f"{fragments[share].path} holds {counted} rows by its footer, and {rows} could be read")


def _batch_rows(group: Any, rows_per_batch: int) -> int:
    return min(rows_within(group.metadata.row_group(each.id), rows_per_batch) for each in group.row_groups)


def _iceberg_table(metadata: str) -> Any:
    tables = _library("iceberg", "pyiceberg.table", metadata)
    places = {"s3.endpoint": "AWS_ENDPOINT_URL", "s3.region": "AWS_REGION"}
    return tables.StaticTable.from_metadata(metadata, {key: os.environ[name] for key, name in places.items() if name in os.environ})


def _iceberg_batches(file: SourceFile, _: int) -> Iterator[pa.RecordBatch]:
    scan, rows = _iceberg_table(file.url).scan(snapshot_id=int(file.version)), 0
    for batch in scan.to_arrow_batch_reader():
        rows += len(batch)
        yield batch
    if rows != (counted := scan.count()):
        raise ValueError(f"the table counts {counted} rows, and {rows} could be read")


def _newest_metadata(url: str) -> str:
    """The metadata file that the table's hint names, or else the one with the highest number."""
    fs, root = open_filesystem(url)
    folder = f"{root}/metadata"
    names = sorted(path.rsplit("/", 1)[-1] for path in fs.ls(folder, detail=False))
    files = [name for name in names if ".metadata.json" in name]
    if "version-hint.text" in names:
        hint = fs.cat_file(f"{folder}/version-hint.text").decode().strip()
        files = [name for name in files if name.startswith((f"v{hint}.", f"{hint}."))] or files
    return f"{url.rstrip('/')}/metadata/{max(files, key=_number)}"


def _number(name: str) -> tuple[int, str]:
    match = _VERSION.match(name)
    return (int(match[1]) if match else -1), name


def _short(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:300]
