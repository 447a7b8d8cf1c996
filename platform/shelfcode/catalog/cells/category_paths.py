"""Category paths as shops write them -> names from root to leaf: one text, a list of names, or several paths, of which the first counts."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from shelfcode.catalog.cells.markup import without_markup
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.text import JOINERS, seen

BETWEEN_CATEGORIES = (";", "|", "\n", ",")
"""What may stand between several categories of a product in one text."""

_WITHIN_NAMES = set("-/&,.+:'")
"""Separators that names contain, too: `TV/Audio` stays one name where the declared separator is ` / `."""

_JOINERS = re.compile(f"[{JOINERS}]")

Path = list[str] | None


def category_name(name: str) -> str:
    """A name of a category as it is shown: composed (NFC), with single spaces, without HTML and invisible characters."""
    return " ".join(seen(without_markup(name)).split())


def name_key(name: str) -> str:
    """What two names have in common that differ only in case, in spaces or in characters that nobody sees."""
    return _JOINERS.sub("", category_name(name)).casefold()


def path_of(value: Any, settings: CatalogSettings) -> tuple[Path, bool]:
    """Names from root to leaf, without blank ones, and whether the value holds several paths.

    Args:
        value: a text with the declared separator or with a list in it; a list of names or of such texts; a list of lists of names.
    """
    paths = [path for path in _paths(value, settings) if path]
    return (paths[0] if paths else None), len(paths) > 1


def between_categories(texts: Iterable[str], settings: CatalogSettings) -> str:
    """What stands between several categories in these texts; "" where each has one.

    A comma may also belong to a name, as in `Home > Kitchen, Dining > Pans`. It stands between categories where the same name follows it
    after different ones (`Dairy > Milk, Sale` beside `Bakery > Bread, Sale`), or where paths begin with what follows it.
    """
    distinct = list(dict.fromkeys(without_markup(text) for text in texts))
    for sign in BETWEEN_CATEGORIES:
        if sign in (settings.category_separator or ""):
            continue
        lists = [[_names(piece, settings) for piece in pieces] for text in distinct if len(pieces := _pieces(text, sign)) > 1]
        lists = [paths for paths in ([path for path in paths if path] for paths in lists) if len(paths) > 1]
        roots = {name_key(path[0]) for text in distinct if len(_pieces(text, sign)) == 1 and (path := _names(text, settings))}
        before: dict[str, set[str]] = defaultdict(set)
        for first, *others in lists:
            for other in others:
                before[name_key(other[0])].add(name_key(first[-1]))
        deep = [paths for paths in lists if sum(len(path) > 1 for path in paths) > 1]
        again = [
            [first, *others] for first, *others in lists
            if any(len(before[root]) > 1 or root in (*roots, name_key(first[0])) for root in (name_key(other[0]) for other in others))
        ]  # fmt: skip
        evidence = again if sign == "," else deep or again
        if 2 * len(evidence) > len(lists):
            return sign
    return ""


def _paths(value: Any, settings: CatalogSettings) -> Sequence[list[str]]:
    if isinstance(value, str) and (listed := as_list(value)) is not None:
        value = listed
    if isinstance(value, str):
        text = without_markup(value)
        sign = settings.category_list_separator
        return [_names(piece, settings) for piece in (_pieces(text, sign) if sign and sign != "auto" else [text])]
    items = [item for item in value or () if item is not None]
    if any(isinstance(item, list | tuple) for item in items):
        return [_clean(item) if isinstance(item, list | tuple) else _clean([item]) for item in items]
    names = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]
    split = [_names(name, settings) for name in names] if settings.category_separator else []
    if any(len(path) > 1 for path in split):
        return split
    return [_clean(names)]


def _names(text: str, settings: CatalogSettings) -> list[str]:
    separator = settings.category_separator
    return _clean(_split_at(separator).split(text) if separator else [text])


def _clean(names: Iterable[Any]) -> list[str]:
    texts = (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names if name is not None)
    return [clean for text in texts if (clean := category_name(text))]


def _pieces(text: str, sign: str) -> list[str]:
    r"""Categories of a text. A sign that belongs to a name may be written `\,`, as WooCommerce does."""
    return [piece.replace(f"\\{sign}", sign).strip() for piece in re.split(rf"(?<!\\){re.escape(sign)}", text) if piece.strip()]


@lru_cache(maxsize=64)
def _split_at(separator: str) -> re.Pattern[str]:
    """Where a path is split. White space around a declared separator may be missing in a row, on one side at least."""
    sign = separator.strip()
    if not sign or sign == separator:
        return re.compile(re.escape(separator))
    escaped = re.escape(sign)
    if set(sign) <= _WITHIN_NAMES or sign.isalnum():
        return re.compile(rf"\s+{escaped}(?:\s+|$)|^{escaped}\s+" if sign.isalnum() else rf"\s{escaped}|{escaped}\s|^{escaped}|{escaped}$")
    return re.compile(escaped)


def as_list(text: str) -> list[Any] | None:
    """A list that was written as text, as JSON or as Python shows one; None for any other text."""
    if not (text.lstrip().startswith("[") and text.rstrip().endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list) else None
    return None
