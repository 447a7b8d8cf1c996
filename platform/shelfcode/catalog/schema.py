"""The catalog's columns, and the conversion of a source's rows to them; a row that cannot be converted is rejected with a reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.catalog.cells.arrow_types import is_bytes, is_text, plain, plain_type, ride_along
from shelfcode.catalog.cells.category_paths import as_list, between_categories
from shelfcode.catalog.cells.columns import (
    Findings,
    category_column,
    category_type_problem,
    decode,
    item_id_column,
    price_column,
    text_column,
    true_rows,
)
from shelfcode.catalog.rejected import RejectedRow, row_json
from shelfcode.catalog.settings import CatalogSettings, ContractColumn
from shelfcode.errors import ShelfcodeError

REQUIRED = ("item_id", "title")
CATALOG_COLUMNS: dict[str, pa.DataType] = {
    "item_id": pa.string(),
    "title": pa.string(),
    "description": pa.string(),
    "brand": pa.string(),
    "category_path": pa.list_(pa.string()),
    "price": pa.float64(),
}
assert tuple(CATALOG_COLUMNS) == get_args(ContractColumn)

CONVERSION = 2
"""Version of how rows are converted. Raise it with whatever changes what a source's rows become: snapshots are then taken anew."""

ORIGINAL = "_original"
"""Column of a snapshot: a JSON object with the cells of a row that were changed, as the source has them; null where none was."""


@dataclass(frozen=True)
class Note:
    """How many rows were used otherwise than they are written, with one of them as an example."""

    rows: int
    example: str


@dataclass(frozen=True)
class ConvertedRows:
    """Rows in the catalog's columns.

    Attributes:
        table: the rows that can be used, in order.
        rejected: those that cannot.
        notes: what was changed in those that can.
        respelled: item_ids that are not spelled as in the source.
    """

    table: pa.Table
    rejected: list[RejectedRow]
    notes: dict[str, Note]
    respelled: pa.Array


def check_columns(schema: pa.Schema, settings: CatalogSettings, source: str, rows: pa.Table | None = None) -> None:
    """Refuse a source that lacks a required column, or whose category paths are of a type that cannot be read.

    Args:
        rows: some of the source, which show whether category paths that are text are lists.

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
        kind = schema.field(name).type
        problem = category_type_problem(kind, settings)
        if problem and not (is_text(plain_type(kind)) and _all_lists(category_texts(rows, settings) if rows else ())):
            raise ShelfcodeError(f"{source}: {problem}")


def _all_lists(texts: Sequence[str]) -> bool:
    return bool(texts) and all(as_list(text) is not None for text in texts)


def resolved(settings: CatalogSettings, rows: pa.Table) -> CatalogSettings:
    """Settings in which `auto` stands for nothing any more.

    Args:
        rows: the first ones of the source.
    """
    if settings.category_list_separator != "auto":
        return settings
    return settings.model_copy(update={"category_list_separator": between_categories(category_texts(rows, settings), settings)})


def category_texts(raw: pa.Table, settings: CatalogSettings) -> list[str]:
    """Category paths of a source's rows where they are text; none where they are anything else."""
    name = settings.columns.get("category_path", "category_path")
    if name not in raw.column_names:
        return []
    values = plain(raw[name].combine_chunks())
    if not is_text(values.type):
        return []
    return [text for value in values.to_pylist() if (text := value.decode("utf-8", "replace") if isinstance(value, bytes) else value)]


def normalise(raw: pa.Table, settings: CatalogSettings, place: Callable[[int], str]) -> ConvertedRows:
    """Convert a source's rows to the catalog's columns. Other columns ride along under their own name.

    Args:
        raw: rows of a source. Text may be binary (CSV); a row with bytes that are not UTF-8 is rejected.
        place: says where a row of `raw` stands in its source, for reasons and notes: `line 7 of products.csv`.
    """
    raw = _readable(_rename(raw, settings))
    found = Findings()
    columns: dict[str, pa.Array] = {}
    for name in [*CATALOG_COLUMNS, *(name for name in raw.column_names if name not in (*CATALOG_COLUMNS, ORIGINAL))]:
        values = raw[name].combine_chunks() if name in raw.column_names else pa.nulls(len(raw))
        columns[name] = _convert(name, values, settings, found)
    for name in REQUIRED:
        for row in true_rows(columns[name].is_null()):
            blank = name in raw.column_names and raw[name][row].as_py() is not None
            found.reasons.setdefault(row, f"{name} is blank" if blank else f"{name} is missing")
    originals = [row_json(found.originals[row]) if row in found.originals else None for row in range(len(raw))]
    table = pa.table({**columns, ORIGINAL: pa.array(originals, pa.string())})
    notes = {
        note: Note(len(used), f"{used[min(used)]}, {place(min(used))}")
        for note, rows in found.notes.items()
        if (used := {row: cell for row, cell in rows.items() if row not in found.reasons})
    }
    bad = pa.array(sorted(found.reasons), pa.int64())
    rejected = [
        _rejected_row(row, f"{reason}{', ' if ':' in reason else ': '}{place(number)}")
        for row, (number, reason) in zip(raw.take(bad).to_pylist(), sorted(found.reasons.items()), strict=True)
    ]
    respelled = [row for row, cells in found.originals.items() if "item_id" in cells and row not in found.reasons]
    keep = pc.invert(pc.is_in(pa.array(range(len(table)), pa.int64()), bad))
    return ConvertedRows(table.filter(keep), rejected, notes, table["item_id"].take(pa.array(respelled, pa.int64())).combine_chunks())


def _rejected_row(row: dict[str, Any], reason: str) -> RejectedRow:
    item_id = row.get("item_id")
    if isinstance(item_id, bytes):
        item_id = item_id.decode("utf-8", "replace")
    return RejectedRow(None if item_id is None else str(item_id), "catalog", reason, row)


def _rename(raw: pa.Table, settings: CatalogSettings) -> pa.Table:
    """Columns under the catalog's names; a source's column may be mapped to several of them.

    Where the settings take `title` from another column, a column called `title` is left out.
    """
    mapped = {name: raw[source] for name, source in settings.columns.items() if source in raw.column_names}
    renamed = set(settings.columns.values()) - set(CATALOG_COLUMNS)
    return pa.table({**mapped, **{name: raw[name] for name in raw.column_names if name not in settings.columns and name not in renamed}})


def _readable(raw: pa.Table) -> pa.Table:
    """Columns in plain types, and text with invalid UTF-8 turned into bytes: Parquet calls it text without looking."""
    columns = {}
    for name in raw.column_names:
        values = raw[name].combine_chunks()
        values = plain(values) if name in CATALOG_COLUMNS else ride_along(values)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            try:
                values.validate(full=True)
            except pa.ArrowInvalid:
                values = values.cast(pa.large_binary())
        columns[name] = values
    return pa.table(columns)


def _convert(name: str, values: pa.Array, settings: CatalogSettings, found: Findings) -> pa.Array:
    if name == "item_id":
        return item_id_column(values, found)
    values = decode(name, values, found.reasons if name in CATALOG_COLUMNS else None) if is_bytes(values.type) else values
    if name == "category_path":
        return category_column(values, settings, found)
    if name == "price":
        return price_column(values, found)
    return text_column(name, values, found) if name in CATALOG_COLUMNS else values
