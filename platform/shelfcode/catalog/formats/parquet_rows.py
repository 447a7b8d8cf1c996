"""Parquet: pieces bounded by rows and by bytes, and as many rows as the file's footer counts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from shelfcode.catalog.source_file import BYTES_PER_BATCH, RowBatch, SourceFile
from shelfcode.store import open_filesystem

BUFFER_BYTES = 8 * 2**20
"""Of each column of a large row group so much is fetched at a time; of smaller ones, whole columns."""


def read_parquet(file: SourceFile, rows_per_batch: int) -> Iterator[RowBatch]:
    """The rows of a file, or of some of its row groups.

    Raises:
        pa.ArrowException, OSError: the file is damaged.
        ValueError: it gives another number of rows than its footer counts.
    """
    fs, path = open_filesystem(file.url)
    with open_ranges(fs, path) as stream:
        metadata = pq.read_metadata(stream)
        large = any(metadata.row_group(group).total_byte_size > 2 * BYTES_PER_BATCH for group in range(metadata.num_row_groups))
        parquet = pq.ParquetFile(stream, metadata=metadata, pre_buffer=False, buffer_size=BUFFER_BYTES if large else 0)
        groups = list(range(parquet.num_row_groups) if file.shares is None else file.shares)
        counted = sum(parquet.metadata.row_group(group).num_rows for group in groups)
        if file.shares is None and counted != parquet.metadata.num_rows:
            raise ValueError(f"its footer counts {parquet.metadata.num_rows} rows, its row groups {counted}")
        if not counted:
            yield RowBatch(parquet.schema_arrow.empty_table(), np.empty(0, np.int64))
        row = file.first_row
        for group in groups:
            for batch in parquet.iter_batches(rows_within(parquet.metadata.row_group(group), rows_per_batch), row_groups=[group]):
                for table in pieces(pa.Table.from_batches([batch])):
                    yield numbered(table, row)
                    row += len(table)
    if row - file.first_row != counted:
        raise ValueError(f"it holds {counted} rows by its footer, and {row - file.first_row} could be read")


def open_ranges(fs: AbstractFileSystem, path: str) -> Any:
    """A file of which no more is fetched than is asked for. What fsspec reads ahead is good for text, and lost on columns."""
    return fs.open(path, "rb") if isinstance(fs, LocalFileSystem) else fs.open(path, "rb", cache_type="none")


def rows_within(group: pq.RowGroupMetaData, rows_per_batch: int) -> int:
    """How many rows of a row group to read at a time, so that they take about BYTES_PER_BATCH at most."""
    a_row = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(rows_per_batch, BYTES_PER_BATCH // a_row))


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """A table in slices of at most about BYTES_PER_BATCH: what is repeated takes little space in a file, and much in memory."""
    rows = max(1, len(table) * BYTES_PER_BATCH // max(table.nbytes, 1))
    for begin in range(0, len(table), rows):
        yield table.slice(begin, rows)


def numbered(table: pa.Table, before: int) -> RowBatch:
    """Rows of which so many come before in their file."""
    return RowBatch(table, np.arange(before + 1, before + 1 + len(table), dtype=np.int64))
