"""Columns that ride along in a catalog have one type in all of its parts: text, where their files disagree."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from shelfcode.catalog.schema import CATALOG_COLUMNS


def mixed_columns(schemas: Iterable[pa.Schema]) -> list[str]:
    """Columns whose types in these parts have none in common: numbers here and text there, say, or lists of different things."""
    types: dict[str, set[pa.DataType]] = {}
    for schema in schemas:
        for column in schema:
            if column.name not in CATALOG_COLUMNS and not pa.types.is_null(column.type):
                types.setdefault(column.name, set()).add(column.type)
    return [name for name, found in types.items() if not _alike(found)]


def columns_as_text(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """A table in which some columns, where it has them, are text: lists and structures as JSON."""
    for name in names:
        if name in table.column_names and table[name].type != pa.string():
            table = table.set_column(table.column_names.index(name), name, _as_text(table[name]))
    return table


def _alike(types: set[pa.DataType]) -> bool:
    """Whether readers can bring types together without losing anything."""
    if len(types) == 1:
        return True
    if any(pa.types.is_nested(kind) for kind in types):
        return False
    return all(map(_is_text, types)) or all(map(_is_number, types))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.chunked_array([pa.array([_json(value) for value in values.to_pylist()], pa.string())])


def _json(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, default=str)
