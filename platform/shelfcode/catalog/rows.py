"""The rows of a source's files, whatever their format, a bounded number of rows and bytes at a time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import get_args

import numpy as np
import pyarrow as pa

from shelfcode.catalog.formats.delimited import read_csv
from shelfcode.catalog.formats.json_rows import read_json_array, read_json_lines
from shelfcode.catalog.formats.lake_tables import read_table
from shelfcode.catalog.formats.parquet_rows import read_parquet
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.settings import CatalogSettings, ContractColumn
from shelfcode.catalog.source_file import ROWS_PER_BATCH, UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError

DEFAULTS = CatalogSettings()


def read_file(file: SourceFile, rows_per_batch: int = ROWS_PER_BATCH, settings: CatalogSettings = DEFAULTS) -> Iterator[RowBatch]:
    """The rows of a file, batch by batch, with the columns that its folders name.

    A file that breaks off gives the rows before the break, and one rejected row, whose reason begins with UNREADABLE_FILE, for the rest.
    """
    row = file.first_row
    try:
        for batch in _rows(file, rows_per_batch, settings):
            row = int(batch.numbers_N[-1]) if len(batch.numbers_N) else row
            if batch.table.num_columns:
                batch = _renamed(batch, settings)
                batch = replace(batch, table=_with_partitions(batch.table, file, settings))
            yield batch
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        message = " ".join(str(error).split())[:300]
        reason = f"{UNREADABLE_FILE}: after {file.place(row)}: {message}" if row else f"{UNREADABLE_FILE}: {file.url}: {message}"
        broken = RejectedRow(None, "read", reason, {"file": file.url, "row": row})
        yield RowBatch(pa.table({}), np.empty(0, np.int64), (broken,))


def first_rows(files: list[SourceFile], settings: CatalogSettings = DEFAULTS) -> tuple[str, pa.Table]:
    """The first rows of the first file that has rows or columns, and its URL. Where a format has no types, all is text.

    Raises:
        ShelfcodeError: that file cannot be read, or no file has a row.
    """
    problems = []
    for file in files:
        for batch in islice(read_file(file, settings=settings), 1):
            if batch.table.num_columns:
                return file.url, batch.table
            problems += [row.reason for row in batch.unreadable]
            if problems and problems[-1].startswith(UNREADABLE_FILE):
                raise ShelfcodeError(problems[-1])
    listed = "; ".join(problems[:3])
    raise ShelfcodeError(f"the catalog is empty: no row could be read from {files[0].url}" + (f" ({listed})" if listed else ""))


def _rows(file: SourceFile, rows_per_batch: int, settings: CatalogSettings) -> Iterator[RowBatch]:
    if file.format == "parquet":
        return read_parquet(file, rows_per_batch)
    if file.format in ("delta", "iceberg"):
        return read_table(file, rows_per_batch)
    readers = {"csv": read_csv, "jsonl": read_json_lines, "json": read_json_array}
    return readers[file.format](file, settings, rows_per_batch)


def _renamed(batch: RowBatch, settings: CatalogSettings) -> RowBatch:
    names = column_names(batch.table.column_names, settings)
    changed = tuple((old, new) for old, new in zip(batch.table.column_names, names, strict=True) if old != new)
    return replace(batch, table=batch.table.rename_columns(names), renamed=changed) if changed else batch


def column_names(names: list[str], settings: CatalogSettings) -> list[str]:
    """Names without blanks around them, and unlike each other.

    A column without a name is called by its place, and one whose name came before is numbered.

    Raises:
        ValueError: two columns could be the same column of the catalog.
    """
    stripped = [name.strip().strip("\ufeff") or f"unnamed_{place}" for place, name in enumerate(names, start=1)]
    count, taken, made = Counter(stripped), set(stripped), []
    wanted = {settings.columns.get(column, column) for column in get_args(ContractColumn)}
    if twice := [name for name in count if count[name] > 1 and name in wanted]:
        places = [str(place) for place, name in enumerate(stripped, start=1) if name == twice[0]]
        raise ValueError(f"column {twice[0]!r} occurs {len(places)} times, as columns {', '.join(places)}. Rename or remove all but one")
    seen = Counter[str]()
    for name in stripped:
        seen[name] += 1
        new, number = name, seen[name]
        while number > 1 and (new := f"{name}_{number}") in taken:
            number += 1
        taken.add(new)
        made.append(new)
    return made


def _with_partitions(table: pa.Table, file: SourceFile, settings: CatalogSettings) -> pa.Table:
    """The columns that the folders' names give, after those of the file, which come first where both have one.

    A category path that is a folder's name has that one name, unless the settings say how to split it.
    """
    category = settings.columns.get("category_path", "category_path")
    for name, value in file.partitions:
        if name in table.column_names:
            continue
        if name == category and not settings.category_separator:
            values = pa.array([None if value is None else [value]] * len(table), pa.list_(pa.string()))
        else:
            values = pa.array([value] * len(table), pa.string())
        table = table.append_column(name, values)
    return table
