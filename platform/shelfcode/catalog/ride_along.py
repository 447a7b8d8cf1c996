"""Columns that ride along in a catalog have one type in all of its parts: where their files disagree, fractions or text."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from shelfcode.catalog.schema import CATALOG_COLUMNS


def settled_types(schemas: Iterable[pa.Schema]) -> dict[str, pa.DataType]:
    """Columns whose types in these parts have none in common that readers would find, and the type that they get.

    Whole numbers here and fractions there are fractions. Numbers and text, or lists of different things, are text.
    """
    types: dict[str, set[pa.DataType]] = {}
    for schema in schemas:
        for column in schema:
            if column.name not in CATALOG_COLUMNS and not pa.types.is_null(column.type):
                types.setdefault(column.name, set()).add(column.type)
    return {name: kind for name, found in types.items() if (kind := _settled(found)) is not None}


def unsettled(schema: pa.Schema, settled: Mapping[str, pa.DataType]) -> list[str]:
    """Columns of a part that have to be brought to the type settled for them."""
    return [column.name for column in schema if settled.get(column.name, column.type) != column.type]


def settle(table: pa.Table, settled: Mapping[str, pa.DataType]) -> pa.Table:
    """A table in which columns have the types settled for them: as text, lists and structures are JSON."""
    for name in unsettled(table.schema, settled):
        values = table[name]
        cast = _as_text(values) if settled[name] == pa.string() else values.cast(settled[name], safe=False)
        table = table.set_column(table.column_names.index(name), name, cast)
    return table


def _settled(types: set[pa.DataType]) -> pa.DataType | None:
    """The one type for values of these, or None where readers bring them together without losing anything."""
    if len(types) == 1 or all(map(_is_text, types)) or all(map(pa.types.is_signed_integer, types)):
        return None
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types) and any(map(pa.types.is_floating, types)):
        return pa.float64()
    return pa.string()


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
