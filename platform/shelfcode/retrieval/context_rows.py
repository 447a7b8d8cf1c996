"""The rows of a file of contexts -> requests in columns of fixed types, and the rejected rows with reasons.

A file may be Parquet, CSV or JSON: lists may be texts such as a|b|c, and times ISO 8601 or numbers of seconds since 1970.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.cells.arrow_types import is_text, plain_type
from shelfcode.catalog.cells.item_ids import item_id_texts, known_item_ids
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source_file import UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.instants import NO_INSTANT, PER_SECOND, instants, shown
from shelfcode.interactions.product_lists import product_lists
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.retrieval.context_table import CASE_ID, LISTS

STAGE = "contexts"
"""Of the rejected rows."""

NAMES = ("retailer_id", "surface")
COLUMNS = (CASE_ID, "user_id", *NAMES, "at", *LISTS)
"""All columns that contexts may have; `user_id` says nothing that the history does not."""

_LIST_TYPES = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view, pa.types.is_large_list_view,
)  # fmt: skip

_FIRST, _LAST = -62_135_596_800 * PER_SECOND, 253_402_300_799 * PER_SECOND
"""The calendar: the years 1 to 9999."""


@dataclass(frozen=True)
class ContextRows:
    """The requests of some rows.

    Attributes:
        table: case_id, retailer_id and surface as text, `at` in seconds since 1970 or null, history and cart as lists of item_ids.
        rejected: the other rows.
    """

    table: pa.Table
    rejected: list[RejectedRow]


def passed_over(files: Sequence[SourceFile]) -> list[str]:
    """The columns of contexts that nothing is made of, by their first file that has any.

    Raises:
        ShelfcodeError: no file has any, that file cannot be read, or it has no `case_id`.
    """
    for file in files:
        for batch in islice(read_file(file, 1), 1):
            refuse_broken(batch)
            if batch.table.num_columns:
                _check_columns(batch, file)
                return [name for name in batch.table.column_names if name not in COLUMNS]
    raise ShelfcodeError(f"it is empty: no row could be read from {files[0].url}")


def refuse_broken(batch: RowBatch) -> None:
    """Refuse a file that breaks off: half of the contexts are not what was asked for.

    Raises:
        ShelfcodeError: names the file, and where it breaks off.
    """
    for row in batch.unreadable:
        if row.reason.startswith(UNREADABLE_FILE):
            raise ShelfcodeError(row.reason)


def context_rows(batch: RowBatch, file: SourceFile) -> ContextRows:
    """The requests of a batch of rows. A row is rejected that has no `case_id`, or a cell that cannot be read as what it should be.

    Raises:
        ShelfcodeError: there is no column `case_id`, or a column of lists or times is of a type that holds none.
    """
    unreadable = [replace(row, stage=STAGE) for row in batch.unreadable]
    if not len(batch.table):
        return ContextRows(pa.table({}), unreadable)
    _check_columns(batch, file)
    bad: dict[int, str] = {}
    columns = {name: _texts(batch, name, bad) for name in (CASE_ID, *NAMES)}
    for row in np.flatnonzero(columns[CASE_ID].is_null().to_numpy(zero_copy_only=False)).tolist():
        bad.setdefault(row, f"{CASE_ID} is missing or blank")
    columns["at"] = _seconds(batch, file, bad)
    columns |= {name: _lists(batch, file, name, bad) for name in LISTS}
    good_R = np.ones(len(batch.table), bool)
    good_R[list(bad)] = False
    rejected = [*unreadable, *(_rejected(batch, file, row, reason) for row, reason in sorted(bad.items()))]
    return ContextRows(pa.table(columns).filter(pa.array(good_R)), rejected)


def _check_columns(batch: RowBatch, file: SourceFile) -> None:
    found = batch.table.column_names
    if CASE_ID not in found:
        raise ShelfcodeError(
            f"{file.url} has no column {CASE_ID!r}. Columns found: {', '.join(map(repr, found))}. Give each context a name"
        )


def _cells(batch: RowBatch, name: str) -> pa.Array:
    return batch.table[name].combine_chunks() if name in batch.table.column_names else pa.nulls(len(batch.table))


def _texts(batch: RowBatch, name: str, bad: dict[int, str]) -> pa.Array:
    """A column of names, evened out as those of a log are."""
    texts, reasons = item_id_texts(_cells(batch, name))
    for row, reason in reasons.items():
        bad.setdefault(row, reason.replace("item_id", name, 1))
    return texts


def _seconds(batch: RowBatch, file: SourceFile, bad: dict[int, str]) -> pa.Array:
    """Seconds since 1970. A time to come is no mistake here: what is sent tomorrow is answered today."""
    try:
        at_R, reasons = instants(_cells(batch, "at"), _LAST)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{file.url}: {error}") from error
    known_R = at_R != NO_TIME
    for row in np.flatnonzero(known_R & ((at_R < _FIRST) | (at_R > _LAST))).tolist():
        reasons[row] = f"{NO_INSTANT}: {shown(int(at_R[row]))}"
    for row, reason in reasons.items():
        bad.setdefault(row, reason)
    return pa.array(np.where(known_R, at_R // PER_SECOND, 0), mask=~known_R)


def _lists(batch: RowBatch, file: SourceFile, name: str, bad: dict[int, str]) -> pa.Array:
    """A column of lists of item_ids. A value that can be no item_id is null: a product that nobody knows."""
    cells = _cells(batch, name)
    kind = plain_type(cells.type)
    if not (is_text(kind) or pa.types.is_null(kind) or any(is_list(kind) for is_list in _LIST_TYPES)):
        raise ShelfcodeError(f"{file.url}: column {name!r} holds {kind}; it has to hold lists of item_ids, or texts such as a|b|c")
    lists, reasons = product_lists(cells, f"{file.url}: column {name!r}")
    for row, reason in reasons.items():
        bad.setdefault(row, reason.replace("item_ids", name, 1))
    return pa.ListArray.from_arrays(_starts(lists), known_item_ids(pc.list_flatten(lists)))


def _starts(lists: pa.Array) -> NDArray[np.int32]:
    """Where each list begins, and the last one ends; a null is an empty list."""
    length_R = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(length_R)]).astype(np.int32)


def _rejected(batch: RowBatch, file: SourceFile, row: int, reason: str) -> RejectedRow:
    said = f"{reason}{', ' if ':' in reason else ': '}{file.place(int(batch.numbers_N[row]))}"
    cells = {name: batch.table[name].slice(row, 1) for name in batch.table.column_names}
    # Python has no times outside of the calendar, and they are among what is rejected.
    told = {name: cell.cast(pa.string()) if pa.types.is_timestamp(cell.type) else cell for name, cell in cells.items()}
    return RejectedRow(None, STAGE, said, {name: cell.to_pylist()[0] for name, cell in told.items()})
