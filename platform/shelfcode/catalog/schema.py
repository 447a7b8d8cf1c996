"""The catalog's columns, and the conversion of a source's rows to them; a row that cannot be converted is rejected with a reason."""

import re
from collections.abc import Callable
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.settings import CatalogSettings, ContractColumn
from shelfcode.errors import ShelfcodeError

REQUIRED = ("item_id", "title")
TEXTS = ("item_id", "title", "description", "brand")
CATALOG_COLUMNS: dict[str, pa.DataType] = {
    "item_id": pa.string(),
    "title": pa.string(),
    "description": pa.string(),
    "brand": pa.string(),
    "category_path": pa.list_(pa.string()),
    "price": pa.float64(),
}
assert tuple(CATALOG_COLUMNS) == get_args(ContractColumn)


def check_columns(schema: pa.Schema, settings: CatalogSettings, source: str) -> None:
    """Refuse a source that lacks a required column, or whose category paths are of a type that cannot be read.

    Raises:
        ShelfcodeError: names the column, lists those found, and shows the mapping to write.
    """
    for column in [*REQUIRED, *settings.columns]:
        name = settings.columns.get(column, column)  # type: ignore[call-overload]
        if name not in schema.names:
            found = ", ".join(map(repr, schema.names)) or "none"
            raise ShelfcodeError(
                f"{source} has no column {name!r} for {column}. Columns found: {found}. Name the right one "
                f"in the recipe, catalog.columns: {{{column}: THEIR_NAME}}, or with --set catalog.columns.{column}=THEIR_NAME"
            )
    name = settings.columns.get("category_path", "category_path")
    if name in schema.names:
        problem = _category_type_problem(schema.field(name).type, settings)
        if problem:
            raise ShelfcodeError(f"{source}: {problem}")


def normalise(raw: pa.Table, settings: CatalogSettings, place: Callable[[int], str]) -> tuple[pa.Table, list[RejectedRow]]:
    """Convert a source's rows to the catalog's columns. Other columns ride along under their own name.

    Args:
        raw: rows of a source. Text may be binary (CSV); a row with bytes that are not UTF-8 is rejected.
        place: says where a row of `raw` stands in its source, for the reasons: `line 7 of products.csv`.

    Returns:
        The rows that can be used, in order, and those that cannot.
    """
    raw = _readable(_rename(raw, settings))
    reasons: dict[int, str] = {}
    columns: dict[str, pa.Array] = {}
    for name in [*CATALOG_COLUMNS, *(name for name in raw.column_names if name not in CATALOG_COLUMNS)]:
        values = raw[name].combine_chunks() if name in raw.column_names else pa.nulls(len(raw))
        columns[name] = _convert(name, values, settings, reasons)
    for name in REQUIRED:
        missing = pc.fill_null(columns[name].is_null(), True)
        for row in pc.indices_nonzero(missing).to_pylist():
            blank = name in raw.column_names and raw[name][row].as_py() is not None
            reasons.setdefault(row, f"{name} is blank" if blank else f"{name} is missing")
    table = pa.table(columns)
    if not reasons:
        return table, []
    bad = pa.array(sorted(reasons))
    places = (place(i) for i in sorted(reasons))
    stated = (f"{reasons[i]}, " if ":" in reasons[i] else f"{reasons[i]}: " for i in sorted(reasons))
    rejected = [_rejected_row(row, reason + where) for row, reason, where in zip(raw.take(bad).to_pylist(), stated, places, strict=True)]
    keep = pc.invert(pc.is_in(pa.array(range(len(table))), bad))
    return table.filter(keep), rejected


def _rejected_row(row: dict[str, Any], reason: str) -> RejectedRow:
    item_id = row.get("item_id")
    if isinstance(item_id, bytes):
        item_id = item_id.decode("utf-8", "replace")
    return RejectedRow(None if item_id is None else str(item_id), "catalog", reason, row)


def _rename(raw: pa.Table, settings: CatalogSettings) -> pa.Table:
    """Columns under the catalog's names. Where the settings take `title` from another column, a column called `title` is left out."""
    catalog_name = {source_name: name for name, source_name in settings.columns.items()}
    kept = [name for name in raw.column_names if name in catalog_name or name not in settings.columns]
    return raw.select(kept).rename_columns([catalog_name.get(name, name) for name in kept])


def _readable(raw: pa.Table) -> pa.Table:
    """Dictionaries decoded, and columns of text with invalid UTF-8 turned into bytes: Parquet calls them text without looking."""
    columns = {}
    for name in raw.column_names:
        values = raw[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            try:
                values.validate(full=True)
            except pa.ArrowInvalid:
                values = values.cast(pa.large_binary())
        columns[name] = values
    return pa.table(columns)


def _convert(name: str, values: pa.Array, settings: CatalogSettings, reasons: dict[int, str]) -> pa.Array:
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        values = _decode(name, values, reasons if name in CATALOG_COLUMNS else None)
    if name in TEXTS:
        return _text(name, values, reasons)
    if name == "category_path":
        return _category_path(values, settings, reasons)
    if name == "price":
        return _price(values, reasons)
    return values


def _decode(name: str, values: pa.Array, reasons: dict[int, str] | None) -> pa.Array:
    """Bytes as text. Without `reasons`, a column that is no text stays as it is, such as an image that rides along."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        if reasons is None:
            return values
        decoded: list[str | None] = []
        for row, value in enumerate(values.to_pylist()):
            try:
                decoded.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                reasons.setdefault(row, f"{name} is not UTF-8")
                decoded.append(value.decode("utf-8", "replace"))
        return pa.array(decoded, pa.string())


def _text(name: str, values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    """Text without white space around it. Blank is null."""
    if pa.types.is_nested(values.type):
        for row in pc.indices_nonzero(values.is_valid()).to_pylist():
            reasons.setdefault(row, f"{name} is a {_type_name(values.type)}, expected text")
        return pa.nulls(len(values), pa.string())
    trimmed = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _category_path(values: pa.Array, settings: CatalogSettings, reasons: dict[int, str]) -> pa.Array:
    """Names from root to leaf, without blank ones. A path without any name is null."""
    problem = _category_type_problem(values.type, settings)
    if problem:
        for row in pc.indices_nonzero(values.is_valid()).to_pylist():
            reasons.setdefault(row, problem)
        return pa.nulls(len(values), CATALOG_COLUMNS["category_path"])
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.split_pattern(values, settings.category_separator)
    paths = [[clean for name in path if (clean := (name or "").strip())] if path else None for path in values.to_pylist()]
    return pa.array([path or None for path in paths], CATALOG_COLUMNS["category_path"])


def _category_type_problem(kind: pa.DataType, settings: CatalogSettings) -> str | None:
    def is_text(part: pa.DataType) -> bool:
        return pa.types.is_string(part) or pa.types.is_large_string(part) or pa.types.is_binary(part) or pa.types.is_large_binary(part)

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return None
    if is_text(kind):
        if settings.category_separator:
            return None
        return (
            "category_path is one string and no separator is declared; "
            "add catalog.category_separator to the recipe, or --set 'catalog.category_separator=\" > \"'"
        )
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and (is_text(kind.value_type) or pa.types.is_null(kind.value_type)):
        return None
    return f"category_path is a {_type_name(kind)}, expected a list of strings, or one string with catalog.category_separator declared"


def _type_name(kind: pa.DataType) -> str:
    """`list<string>` for Arrow's `list<item: string>`: where reasons are counted, a colon ends them."""
    return re.sub(r"\w+: ", "", str(kind))


def _price(values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    try:
        return values.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        prices: list[float | None] = []
        for row, value in enumerate(values.to_pylist()):
            prices.append(_number(value))
            if prices[-1] is None and value is not None:
                reasons.setdefault(row, f"price is not a number: {str(value)[:40]!r}")
        return pa.array(prices, pa.float64())


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
