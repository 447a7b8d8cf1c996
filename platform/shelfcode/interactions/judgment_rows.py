"""Judgments as their files say them: rows of query, item_id and label, and those that cannot be used."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.source import RowBatch, SourceFile, list_source, read_file
from shelfcode.errors import ShelfcodeError

LABELS = ("E", "S", "C", "I")
"""Exact, substitute, complement, irrelevant: best first."""

KNOWN_LABELS = "Labels are E, S, C, I, or Exact, Substitute, Complement, Irrelevant, in any case"

STAGE = "judgments"
"""Of the rejected rows."""

_COLUMNS = ("query", "item_id", "label")
_PLACES = {word: place for place, words in enumerate(("e exact", "s substitute", "c complement", "i irrelevant")) for word in words.split()}
_ROWS = pa.schema([*((name, pa.string()) for name in _COLUMNS), ("place", pa.int8()), ("file", pa.int32()), ("row", pa.int64())])


@dataclass(frozen=True)
class JudgmentRows:
    """The rows of all files.

    Attributes:
        table: complete rows: query, item_id and label as text without white space around it; `place` of the label in LABELS;
            number of the `file`, and `row` there, from 0.
        rejected: the others.
        files: what was read.
    """

    table: pa.Table
    rejected: list[RejectedRow]
    files: list[SourceFile]

    def turned_away(self, rows: pa.Array, reason: str) -> list[RejectedRow]:
        """Some complete rows as rejected ones, for a reason that they share."""
        return _rejected(self.table.take(rows), [reason] * len(rows), self.files)


def read_rows(url: str) -> JudgmentRows:
    """Read a file, folder or glob of Parquet, CSV or JSON Lines, local or s3://.

    Raises:
        ShelfcodeError: nothing is there, a file cannot be read or lacks a column, or a label is unknown; without the flag and url.
    """
    files = _files(url)
    tables, rejected = [_ROWS.empty_table()], list[RejectedRow]()
    for number, file in enumerate(files):
        checked = False
        for batch in read_file(file):
            for row in batch.unreadable:
                if row.reason.startswith("file cannot be read:"):  # half of the judgments is not what was asked for
                    raise ShelfcodeError(row.reason)
                rejected.append(replace(row, stage=STAGE))
            if not batch.table.num_columns:
                continue
            if not checked:
                _check_columns(batch.table.column_names, file.url)
                checked = True
            rows = _texts(batch, number, file.url)
            reasons = _incomplete(rows)
            bad_R = pc.is_in(rows["row"], pa.array(list(reasons), pa.int64()))
            rejected += _rejected(rows.filter(bad_R), [reasons[row] for row in sorted(reasons)], files)
            tables.append(_labelled(rows.filter(pc.invert(bad_R)), file.url))
    return JudgmentRows(pa.concat_tables(tables), rejected, files)


def label_places(labels: pa.ChunkedArray) -> NDArray[np.int8]:
    """Place in LABELS of each label, given by its letter or its word; -1 where it is none."""
    encoded = labels.combine_chunks().dictionary_encode()
    places = np.array([_PLACES.get(label.casefold(), -1) for label in encoded.dictionary.to_pylist()], dtype=np.int8)
    return places[encoded.indices.to_numpy(zero_copy_only=False)]


def _files(url: str) -> list[SourceFile]:
    try:
        return list_source(url)
    except ShelfcodeError as error:
        # What is said of a catalog's files holds for these, but for the flag, which the caller puts in front.
        raise ShelfcodeError(str(error).removeprefix(f"--catalog {url}: ")) from error
    except OSError as error:
        raise ShelfcodeError(f"it cannot be opened: {' '.join(str(error).split())[:300]}") from error


def _check_columns(found: list[str], url: str) -> None:
    for name in _COLUMNS:
        if name not in found:
            raise ShelfcodeError(
                f"{url} has no column {name!r}. Columns found: {', '.join(found)}. "
                "Judgments have the columns query, item_id and label; name the files that have them, or rename the columns"
            )


def _texts(batch: RowBatch, number: int, url: str) -> pa.Table:
    """The columns that count as text, as the catalog has its item_ids, and where each row stands."""
    columns = [
        _text(batch.table[name].combine_chunks(), name, url)
        if name in batch.table.column_names
        else pa.nulls(len(batch.table), pa.string())
        for name in _COLUMNS
    ]
    row_R = np.arange(batch.first_row, batch.first_row + len(batch.table))
    return pa.table([*columns, pa.nulls(len(row_R), pa.int8()), np.full(len(row_R), number, np.int32), row_R], schema=_ROWS)


def _text(values: pa.Array, name: str, url: str) -> pa.Array:
    """Text without white space around it. Blank is null, and so is what is not UTF-8."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_nested(values.type):
        raise ShelfcodeError(f"{url}: column {name} is a {values.type}, expected text")
    try:
        text = values.cast(pa.string())
        text.validate(full=True)  # Parquet says that it is text and does not look
    except pa.ArrowInvalid:
        text = pa.array([_decoded(value) for value in values.cast(pa.large_binary()).to_pylist()], pa.string())
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _incomplete(rows: pa.Table) -> dict[int, str]:
    """Row number -> why it cannot be used."""
    reasons: dict[int, str] = {}
    for name in _COLUMNS:
        for row in rows["row"].filter(rows[name].is_null()).to_pylist():
            reasons.setdefault(row, f"{name} is missing, blank or not UTF-8")
    return reasons


def _labelled(rows: pa.Table, url: str) -> pa.Table:
    """The rows with each label's place in LABELS.

    Raises:
        ShelfcodeError: a label is unknown.
    """
    place_R = label_places(rows["label"])
    if (place_R < 0).any():
        row = rows.slice(int(np.argmax(place_R < 0)), 1).to_pylist()[0]
        raise ShelfcodeError(
            f"{url}, near row {row['row']} (query {row['query']!r}, item_id {row['item_id']!r}): "
            f"unknown label {row['label']!r}. {KNOWN_LABELS}"
        )
    return rows.set_column(rows.schema.get_field_index("place"), "place", pa.array(place_R, pa.int8()))


def _rejected(rows: pa.Table, reasons: Iterable[str], files: list[SourceFile]) -> list[RejectedRow]:
    """Rows of _ROWS as rejected ones, each with its reason and where it stands."""
    return [
        RejectedRow(
            row["item_id"], STAGE, f"{reason}: near row {row['row']} of {files[row['file']].url}", {name: row[name] for name in _COLUMNS}
        )
        for row, reason in zip(rows.to_pylist(), reasons, strict=True)
    ]
