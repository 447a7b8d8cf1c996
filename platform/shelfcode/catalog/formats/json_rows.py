"""JSON: an object a line, or one array of objects. Both are read as they stream by."""

import json
from collections.abc import Iterator
from typing import Any, TextIO

import ijson
import pyarrow as pa

from shelfcode.catalog.formats.text_stream import is_decoded, open_text, undecoded
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.source_file import RowBatch, RowsRead, SourceFile

_CHUNK = 2**20


def read_json_lines(file: SourceFile, settings: CatalogSettings, rows_per_batch: int) -> Iterator[RowBatch]:
    """An object a line. A line that is something else is rejected alone; a blank one is no row.

    Raises:
        ValueError: it is an array.
        OSError: the file breaks off.
    """
    read = RowsRead(rows_per_batch)
    with open_text(file.url, settings.encoding) as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            if not (read.rows or read.unreadable) and _begins_array(line):
                raise ValueError("it holds one JSON array, not an object a line; such a file's name ends in .json")
            try:
                read.rows.append(_record(line))
                read.numbers.append(number)
            except (ValueError, RecursionError) as error:  # JSON's errors are ValueErrors
                why = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else error
                reason = f"line is not a JSON object: {file.place(number)}: {why}"
                read.unreadable.append(RejectedRow(None, "read", reason, {"text": undecoded(line).decode("utf-8", "replace")}))
            read.bytes += len(line)
            if read.full:
                yield _batch(read, file)
    if read.rows or read.unreadable:
        yield _batch(read, file)


def read_json_array(file: SourceFile, settings: CatalogSettings, rows_per_batch: int) -> Iterator[RowBatch]:
    """An array of objects. An element that is something else is rejected alone.

    Raises:
        ValueError: the array is no JSON from some place on, or breaks off.
        OSError: the file breaks off.
    """
    read = RowsRead(rows_per_batch)
    with open_text(file.url, settings.encoding) as text:
        try:
            for number, element in enumerate(ijson.items(_Utf8(text), "item", use_float=True), start=1):
                written = json.dumps(element, ensure_ascii=False)
                if isinstance(element, dict) and element:
                    read.rows.append(element)
                    read.numbers.append(number)
                else:
                    reason = f"element is not an object with fields: {file.place(number)}"
                    read.unreadable.append(RejectedRow(None, "read", reason, {"text": written}))
                read.bytes += len(written)
                if read.full:
                    yield _batch(read, file)
        except ijson.JSONError as error:
            raise ValueError(f"it is not a JSON array: {str(error).splitlines()[0]}") from error
    if read.rows or read.unreadable:
        yield _batch(read, file)


class _Utf8:
    """A text as the bytes that the parser asks for. Bytes that could not be decoded are an error for it, as they are not UTF-8."""

    def __init__(self, text: TextIO) -> None:
        self.text, self.rest = text, b""

    def read(self, size: int = -1) -> bytes:
        if not self.rest:
            self.rest = _in_utf8(self.text.read(_CHUNK))
        size = len(self.rest) if size < 0 else size
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece


def _in_utf8(text: str) -> bytes:
    """A text in UTF-8, and what could not be decoded as the bytes that it was."""
    return text.encode() if is_decoded(text) else undecoded(text)


def _begins_array(line: str) -> bool:
    return line.strip() == "[" or line.lstrip()[:2] in ("[{", "[ ")


def _record(line: str) -> dict[str, Any]:
    """One line as an object with fields.

    Raises:
        ValueError: it is something else, is not in the file's encoding, or contains an escaped half of a surrogate pair, which UTF-8 cannot
            express.
        RecursionError: it is nested too deeply.
    """
    if not is_decoded(line):
        raise ValueError("some bytes are not in the file's encoding")
    record = json.loads(line)
    if not isinstance(record, dict) or not record:
        raise ValueError("not an object with fields")
    if "\\ud" in line.lower():
        json.dumps(record, ensure_ascii=False).encode()
    return record


def _batch(read: RowsRead, file: SourceFile) -> RowBatch:
    places = [file.place(number) for number in read.numbers]
    mixed = _mixed(read.rows, places)
    kept = [row for row in range(len(read.rows)) if row not in mixed]
    read.rows, read.numbers = [read.rows[row] for row in kept], [read.numbers[row] for row in kept]
    read.unreadable += mixed.values()
    return read.batch(_table)


def _mixed(records: list[dict[str, Any]], places: list[str]) -> dict[int, RejectedRow]:
    """Records rejected for having text where most have a list of names."""
    lists = _list_columns(records)
    rejected = {}
    for row, record in enumerate(records):
        odd = [name for name in lists if record.get(name) is not None and not _is_name_list(record[name])]
        if odd:
            reason = f"{odd[0]} is not a list of strings as in other rows: {json.dumps(record[odd[0]])[:40]}, {places[row]}"
            item_id = record.get("item_id")
            rejected[row] = RejectedRow(None if item_id is None else str(item_id), "read", reason, record)
    return rejected


def _table(records: list[dict[str, Any]]) -> pa.Table:
    """Records as columns of text or of lists of names. Any other value becomes text, as in a CSV: numbers as written, objects as JSON."""
    names = dict.fromkeys(name for record in records for name in record)
    lists = _list_columns(records)
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        if name in lists:
            columns[name] = pa.array(values, pa.list_(pa.string()))
        elif all(value is None for value in values):
            columns[name] = pa.nulls(len(values))  # the same as absent: a category path without a name is not "one string"
        else:
            columns[name] = pa.array([_as_text(value) for value in values], pa.string())
    return pa.table(columns)


def _list_columns(records: list[dict[str, Any]]) -> set[str]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name for name in names if _mostly_lists([record.get(name) for record in records])}


def _mostly_lists(values: list[Any]) -> bool:
    present = [value for value in values if value is not None]
    return 2 * sum(map(_is_name_list, present)) > len(present)


def _is_name_list(value: Any) -> bool:
    return isinstance(value, list) and all(name is None or isinstance(name, str) for name in value)


def _as_text(value: Any) -> str | None:
    if isinstance(value, float) and (value != value or (value.is_integer() and abs(value) <= 2**53)):
        return None if value != value else str(int(value))  # NaN is a gap, and 17.0 in one row is 17 in another
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
