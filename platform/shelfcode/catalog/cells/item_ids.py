"""item_ids as text. Catalogs, judgments and tables of availability all come through here, so that an id is the same id in each of them."""

import re
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.catalog.cells.arrow_types import is_bytes, is_text, plain
from shelfcode.text import INVISIBLE, JOINERS

EXACT_INTEGERS = {pa.float64(): 2**53, pa.float32(): 2**24, pa.float16(): 2**11}
"""Up to where a type of floats holds every whole number. Beyond it, neighbouring ids are one value."""

_UNSEEN = f"[{INVISIBLE}{JOINERS}]"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f]"
_WHOLE_FLOAT = r"^([0-9]{8,})\.0+$"
_FRACTION = r"^[0-9]{8,}\.[0-9]+$"
_SCIENTIFIC = r"^[+-]?[0-9](\.[0-9]+)?[eE]\+[0-9]+$|^[0-9]\.[0-9]+E[0-9]+$"


def item_id_texts(values: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """item_ids as text: composed (NFC), without invisible characters or white space around them, and null where there is none.

    A number counts by its digits, however it is stored: 4006381333931.0 is '4006381333931'. An id that lost digits on its way is refused,
    since others may have come to the same value.

    Args:
        values: of any type.

    Returns:
        string[N], and the reason for each row whose value is no item_id; there the text is null, or of no use.
    """
    values = plain(values)
    if is_text(values.type) and not is_bytes(values.type):
        values = values.cast(pa.large_binary())  # Parquet says that it is UTF-8 and does not look
    kind, reasons = values.type, dict[int, str]()
    if pa.types.is_nested(kind):
        name = re.sub(r"\w+: ", "", str(kind))  # list<string>, not list<item: string>: where reasons are counted, a colon ends them
        return pa.nulls(len(values), pa.string()), dict.fromkeys(_rows(values.is_valid()), f"item_id is a {name}, expected text")
    if kind in EXACT_INTEGERS:
        values = _of_floats(values, reasons)
    elif pa.types.is_decimal(kind):
        values = pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")
        _refuse(values, r"\.", "item_id is a number with a fraction", reasons)
    elif pa.types.is_fixed_size_binary(kind):
        values = _of_bytes(values, reasons)
    elif is_bytes(kind):
        values = _decoded(values, reasons)
    texts = _texts(values.cast(pa.string()))
    _refuse(texts, _CONTROL, "item_id has control characters; are these bytes, and not text", reasons)
    _refuse(texts, _SCIENTIFIC, "item_id is a rounded number, whose last digits are lost; export it as text", reasons)
    _refuse(texts, _FRACTION, "item_id is a number with a fraction", reasons)
    return texts, reasons


def known_item_ids(values: pa.Array) -> pa.Array:
    """item_ids as a catalog has them, null where it can have none such, for tables that name products of a catalog: string[N]."""
    texts, reasons = item_id_texts(values)
    if not reasons:
        return texts
    return pc.if_else(pc.is_in(pa.array(range(len(texts))), pa.array(list(reasons))), pa.scalar(None, pa.string()), texts)


def _texts(values: pa.Array) -> pa.Array:
    seen = pc.replace_substring_regex(pc.utf8_normalize(values, "NFC"), _UNSEEN, "")
    trimmed = pc.utf8_trim_whitespace(seen)
    digits = pc.replace_substring_regex(trimmed, _WHOLE_FLOAT, r"\1")
    return pc.if_else(pc.equal(digits, ""), pa.scalar(None, pa.string()), digits)


def _of_floats(values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    """Whole numbers that the type holds exactly, as integers. NaN, which stands for a gap in a column of numbers, is null."""
    largest = EXACT_INTEGERS[values.type]
    x_N = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    whole_N = np.isfinite(x_N) & (np.abs(x_N) <= largest) & (np.floor(x_N) == x_N)
    for row in np.flatnonzero(~whole_N & ~np.isnan(x_N)).tolist():
        exact = abs(x_N[row]) <= largest
        reasons[row] = "item_id is a number with a fraction" if exact else f"item_id is a number too large for {values.type} to be exact"
    return pa.array(np.where(whole_N, x_N, 0).astype(np.int64), mask=~whole_N)


def _of_bytes(values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    """Text of a fixed length, or UUIDs, which are 16 bytes that are none."""
    texts: list[str | None] = []
    for row, value in enumerate(values.to_pylist()):
        texts.append(_printable(value))
        if texts[-1] is None and value is not None:
            if len(value) == 16:
                texts[-1] = str(uuid.UUID(bytes=value))
            else:
                reasons[row] = f"item_id is {len(value)} bytes that are no text"
    return pa.array(texts, pa.string())


def _printable(value: Any) -> str | None:
    try:
        text = None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None


def _decoded(values: pa.Array, reasons: dict[int, str]) -> pa.Array:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        texts: list[str | None] = []
        for row, value in enumerate(values.to_pylist()):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                reasons[row] = "item_id is not UTF-8"
                texts.append(None)
        return pa.array(texts, pa.string())


def _refuse(texts: pa.Array, pattern: str, reason: str, reasons: dict[int, str]) -> None:
    for row in _rows(pc.match_substring_regex(texts, pattern)):
        reasons.setdefault(row, reason)


def _rows(mask: pa.Array) -> list[int]:
    rows: list[int] = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
    return rows
