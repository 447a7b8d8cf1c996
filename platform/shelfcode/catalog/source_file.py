"""What a source is made of, as plain data: its files, and the rows that are read from one at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.rejected import RejectedRow

ROWS_PER_BATCH = 10_000
BYTES_PER_BATCH = 64 * 2**20
"""A batch has no more rows than the one and, but for a single long row, no more bytes than the other."""

UNREADABLE_FILE = "file cannot be read"
"""How the reason begins for a file whose rows cannot all be read. How many are lost, nobody knows, so a catalog with one is refused."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, or a share of one: some row groups of a large Parquet file, some data files of a table.

    Attributes:
        format: parquet, csv, jsonl, json (an array), delta or iceberg.
        version: changes when the content does.
        shares: the row groups or data files that are meant; None for all.
        first_row: how many rows of the file come before them.
        partitions: columns that the names of its folders give, as in `brand=Acme/part-0.parquet`, and their values.
    """

    url: str
    format: str
    version: str
    shares: tuple[int, ...] | None = None
    first_row: int = 0
    partitions: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether an encoding says how it is read."""
        return self.format in ("csv", "jsonl", "json")

    def place(self, number: int) -> str:
        """Where a row stands, for messages. `number` is what RowBatch.numbers_N says of it."""
        return f"{'line' if self.format in ('csv', 'jsonl') else 'row'} {number} of {self.url}"


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a file under the file's own column names, and the rows that could not even be parsed.

    Attributes:
        numbers_N: int64, where each row of the table begins: its line within a text file, where the header is line 1, or the number of the
            row, counted from 1, within a file without lines.
        renamed: columns that have another name in the file, and the one that they have here.
    """

    table: pa.Table
    numbers_N: NDArray[np.int64]
    unreadable: tuple[RejectedRow, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass
class RowsRead:
    """Rows collected until they are enough for a batch.

    Attributes:
        rows: as the format's reader has them.
        numbers: where each of them begins.
        bytes: about how many bytes or characters they take.
    """

    rows_max: int
    rows: list = field(default_factory=list)  # type: ignore[type-arg]
    numbers: list[int] = field(default_factory=list)
    unreadable: list[RejectedRow] = field(default_factory=list)
    bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.rows) + len(self.unreadable) >= self.rows_max or self.bytes >= BYTES_PER_BATCH

    def batch(self, table_of: Callable[[list], pa.Table]) -> RowBatch:  # type: ignore[type-arg]
        """What was collected, as a batch; the collection is empty afterwards."""
        made = RowBatch(table_of(self.rows), np.array(self.numbers, np.int64), tuple(self.unreadable))
        self.rows, self.numbers, self.unreadable, self.bytes = [], [], [], 0
        return made
