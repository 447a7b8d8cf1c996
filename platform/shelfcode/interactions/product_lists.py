"""A session's products as a log writes them: a list, or a text that holds one."""

import json
import re
from typing import Any

import pyarrow as pa

from shelfcode.catalog.cells.arrow_types import is_text, plain
from shelfcode.errors import ShelfcodeError

_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def product_lists(values: pa.Array, place: str) -> tuple[pa.Array, dict[int, str]]:
    """The item_ids of each row as a list of them, null where there is none, and why a row's cannot be read.

    Args:
        values: lists of any type of id, or texts (`ids_of_text`).
        place: names the column, for messages.

    Raises:
        ShelfcodeError: the values are neither.
    """
    values = plain(values)
    kind = values.type
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.list_(pa.string())), {}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return values, {}
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind) or pa.types.is_fixed_size_list(kind):
        return pa.array(values.to_pylist(), pa.list_(kind.value_type)), {}
    if not is_text(kind):
        raise ShelfcodeError(f"{place} is a {kind}; item_ids are a list a row, or text such as a|b|c. Of a row an event, map item_id to it")
    lists, bad = list[list[Any] | None](), dict[int, str]()
    for row, cell in enumerate(values.to_pylist()):
        try:
            text = cell.decode() if isinstance(cell, bytes) else cell
        except UnicodeDecodeError:
            bad[row], text = "item_ids is not UTF-8", None
        lists.append(None if text is None else ids_of_text(text))
    return pa.array(lists, pa.list_(pa.string())), bad


def ids_of_text(text: str) -> list[Any]:
    """The products of a session that is one text: a JSON list, or one as Python or numpy shows it; else what stands between the signs |,
    or, where there is none, between commas, semicolons and white space.
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [piece for piece in (text.split("|") if "|" in text else re.split(r"[,;\s]+", text)) if piece.strip()]
    try:
        listed = json.loads(text, parse_int=str, parse_float=str)
        return [item if item is None or isinstance(item, str) else json.dumps(item) for item in listed]
    except (ValueError, RecursionError):
        quoted = [single or double for single, double in _QUOTED.findall(text)]
        return quoted or [piece for piece in re.split(r"[,\s]+", text[1:-1]) if piece]
