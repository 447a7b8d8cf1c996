"""One column of a source's rows -> the catalog's column: ids, texts, category paths and prices, each as shops write them."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.catalog.cells.arrow_types import is_bytes, is_text, plain_type
from shelfcode.catalog.cells.category_paths import as_list, path_of
from shelfcode.catalog.cells.item_ids import item_id_texts
from shelfcode.catalog.cells.markup import LIKE_MARKUP, without_markup
from shelfcode.catalog.cells.prices import price_of
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.text import seen

BETWEEN_TEXTS = {"description": "\n", "brand": ", "}
"""What joins the texts of a column that is a list of them."""

PATHS = pa.list_(pa.string())

ID_EVENED = "item_id evened out"
HTML_REMOVED = "HTML taken out of title, description or brand"
PRICE_EMPTY = "price left empty, since it is no price"
FIRST_CATEGORY = "several categories in one product, the first taken"


@dataclass
class Findings:
    """What is found while the columns of some rows are converted, by row.

    Attributes:
        reasons: why a row is rejected.
        notes: rows of which a note speaks, each with the cell.
        originals: cells that were changed.
    """

    reasons: dict[int, str] = field(default_factory=dict)
    notes: dict[str, dict[int, str]] = field(default_factory=dict)
    originals: dict[int, dict[str, Any]] = field(default_factory=dict)

    def note(self, note: str, row: int, column: str, cell: Any) -> None:
        """Say of a row that one of its cells is used otherwise than it is written."""
        self.notes.setdefault(note, {}).setdefault(row, repr(cell)[:60])
        self.keep(row, column, cell)

    def keep(self, row: int, column: str, cell: Any) -> None:
        """Keep a cell as the source has it."""
        self.originals.setdefault(row, {})[column] = cell


def item_id_column(values: pa.Array, found: Findings) -> pa.Array:
    """item_ids as `item_id_texts` gives them."""
    texts, reasons = item_id_texts(values)
    for row, reason in reasons.items():
        found.reasons.setdefault(row, reason)
    if is_text(values.type):
        written = decode("item_id", values, found.reasons)
        for row in true_rows(pc.not_equal(texts, written)):
            cell = written[row].as_py()
            if cell.strip() == texts[row].as_py():
                found.keep(row, "item_id", cell)
            else:
                found.note(ID_EVENED, row, "item_id", cell)
    return texts


def decode(name: str, values: pa.Array, reasons: dict[int, str] | None) -> pa.Array:
    """Bytes as text; other values stay as they are, and so does, without `reasons`, a column that is no text, such as an image."""
    if not is_bytes(values.type):
        return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values
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


def text_column(name: str, values: pa.Array, found: Findings) -> pa.Array:
    """Text without HTML, and without white space around it. What shows nothing is null."""
    if pa.types.is_list(values.type) and (is_text(values.type.value_type) or pa.types.is_null(values.type.value_type)):
        values = _joined(name, values, found.reasons)
    if pa.types.is_nested(values.type) or pa.types.is_fixed_size_binary(values.type):
        for row in true_rows(values.is_valid()):
            found.reasons.setdefault(row, f"{name} is a {type_name(values.type)}, expected text")
        return pa.nulls(len(values), pa.string())
    trimmed = pc.utf8_trim_whitespace(values.cast(pa.string()))
    if name in BETWEEN_TEXTS:
        lists = {row: as_list(trimmed[row].as_py()) for row in true_rows(pc.match_substring_regex(trimmed, r"^\[\s*[\"']"))}
        trimmed = _replaced(trimmed, {row: _in_one(name, texts) for row, texts in lists.items() if texts})
    changed = {}
    for row in true_rows(pc.match_substring_regex(trimmed, LIKE_MARKUP)):
        text = trimmed[row].as_py()
        if (clean := without_markup(text)) != text:
            changed[row] = clean
            found.note(HTML_REMOVED, row, name, text)
    unseen = [row for row in true_rows(pc.match_substring_regex(trimmed, r"^[^\x21-\x7e]*$")) if not seen(trimmed[row].as_py())]
    texts = _replaced(trimmed, {**changed, **dict.fromkeys(unseen, "")})
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def category_column(values: pa.Array, settings: CatalogSettings, found: Findings) -> pa.Array:
    """Names from root to leaf, without blank ones. A path without any name is null, and of several paths the first counts."""
    problem = category_type_problem(values.type, settings)
    if problem and not is_text(values.type):
        for row in true_rows(values.is_valid()):
            found.reasons.setdefault(row, problem)
        return pa.nulls(len(values), PATHS)
    known: dict[str, tuple[list[str] | None, bool]] = {}
    paths = []
    for row, cell in enumerate(values.to_pylist()):
        key = cell if isinstance(cell, str) else repr(cell)
        if key not in known:
            known[key] = path_of(cell, settings)
        path, several = known[key]
        if problem and path and as_list(cell) is None:
            found.reasons.setdefault(row, problem)
        elif several:
            found.note(FIRST_CATEGORY, row, "category_path", cell)
        paths.append(path)
    return pa.array(paths, PATHS)


def category_type_problem(kind: pa.DataType, settings: CatalogSettings) -> str | None:
    """Why category paths cannot be read from values of a type; None where they can."""
    kind = plain_type(kind)
    if pa.types.is_null(kind):
        return None
    if is_text(kind):
        if settings.category_separator:
            return None
        return (
            "category_path is one string and no separator is declared; "
            "add catalog.category_separator to the recipe, or --set 'catalog.category_separator=\" > \"'"
        )
    item = kind
    while pa.types.is_list(item):
        item = item.value_type
    if item != kind and (is_text(item) or pa.types.is_null(item)):
        return None
    return f"category_path is a {type_name(kind)}, expected a list of strings, or one string with catalog.category_separator declared"


def price_column(values: pa.Array, found: Findings) -> pa.Array:
    """Amounts without currency. Where a cell states no price, the row goes without one: nothing depends on it."""
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        x_N = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        prices = np.where(np.isfinite(x_N) & (x_N >= 0), x_N, np.nan)
        missing_N = np.isnan(x_N)  # null, or a gap in a column of numbers
        result = pa.array(prices, mask=np.isnan(prices))
    else:
        cells = values.to_pylist()
        result = pa.array([None if cell is None else price_of(str(cell)) for cell in cells], pa.float64())
        missing_N = np.array([cell is None or not str(cell).strip() for cell in cells], dtype=bool)
    for row in np.flatnonzero(~missing_N & np.asarray(result.is_null())).tolist():
        found.note(PRICE_EMPTY, row, "price", values[row].as_py())
    return result


def type_name(kind: pa.DataType) -> str:
    """`list<string>` for Arrow's `list<item: string>`: where reasons are counted, a colon ends them."""
    return re.sub(r"\w+: ", "", str(kind))


def true_rows(mask: pa.Array) -> list[int]:
    """Rows in which a mask is true; null is not."""
    rows: list[int] = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
    return rows


def _joined(name: str, values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    """Lists of texts, joined. A title has one text only: of several, nobody knows which one it is."""
    texts: list[str | None] = []
    for row, value in enumerate(values.to_pylist()):
        decoded = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in value or ()]
        kept = [text.strip() for text in decoded if text and text.strip()]
        if name not in BETWEEN_TEXTS and len(kept) > 1:
            reasons.setdefault(row, f"{name} is a list of {len(kept)} texts, expected one")
        texts.append(None if value is None else _in_one(name, kept))
    return pa.array(texts, pa.string())


def _in_one(name: str, texts: list[Any]) -> str:
    return BETWEEN_TEXTS.get(name, " ").join(str(text).strip() for text in texts if text is not None)


def _replaced(values: pa.Array, by_row: dict[int, str]) -> pa.Array:
    if not by_row:
        return values
    texts = values.to_pylist()
    for row, text in by_row.items():
        texts[row] = text
    return pa.array(texts, pa.string())
