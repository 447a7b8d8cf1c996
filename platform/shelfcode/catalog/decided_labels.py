"""Labels that people decided, as files: what a review gives back to whoever keeps the catalog, and to the next training.

Parquet, CSV or JSON Lines; a file, folder or glob, local or s3://. A row says what was decided of one product:

    item_id      of the product
    from_path    the label that was judged: whoever sets the new one compares it first
    to_path      the label that is right, for accept and relabel; empty otherwise
    verdict      accept, relabel, keep, code_wrong, unsure, exclude
    at           when; of several rows of a product the last counts

Other columns ride along. A path is a list of names. A file without lists has it twice: for the eye as one text, whose names are joined by
` > `, and as a JSON list in from_path_json and to_path_json, from which it is read back without loss, since a name may hold any character.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shelfcode.catalog.cells.category_paths import as_list, category_name, name_key
from shelfcode.catalog.cells.item_ids import item_id_texts
from shelfcode.catalog.listed_files import list_files
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source_file import UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError

SETS, CONFIRMS, EXCLUDES, LEAVES_OPEN = ("accept", "relabel"), ("keep", "code_wrong"), "exclude", "unsure"
VERDICTS = (*SETS, *CONFIRMS, LEAVES_OPEN, EXCLUDES)

PATH_SEPARATOR = " > "
PATHS = ("from_path", "to_path")
COLUMNS = ("item_id", *PATHS, "verdict")
STAGE = "labels"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

CategoryPath = tuple[str, ...]


@dataclass(frozen=True)
class DecidedLabel:
    """What was decided of one product. `place` says where it was read, such as `line 7 of corrections.csv`."""

    item_id: str
    from_path: CategoryPath | None
    to_path: CategoryPath | None
    verdict: str
    at: str
    place: str

    def row(self) -> dict[str, Any]:
        """As it is kept where it was passed over."""
        return {"item_id": self.item_id, "from_path": self.from_path, "to_path": self.to_path, "verdict": self.verdict, "at": self.at}


@dataclass(frozen=True)
class DecidedLabels:
    """All that was decided, in the order of time; without a time, in the order of the rows.

    Attributes:
        url: where it was read.
        digest: of the decisions, wherever they are stored.
        rejected: rows that say nothing that could be used, each with its reason.
    """

    url: str
    digest: str
    labels: tuple[DecidedLabel, ...]
    rejected: tuple[RejectedRow, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.labels) + len(self.rejected)


def read_decided_labels(url: str, flag: str = "--labels") -> DecidedLabels:
    """Read decided labels.

    Args:
        flag: what the url was given by; errors begin with it.

    Raises:
        ShelfcodeError: nothing is there, a file cannot be read whole, or it lacks a column.
    """
    labels, rejected = list[DecidedLabel](), list[RejectedRow]()
    for _, found in label_rows(url, flag):
        (labels if isinstance(found, DecidedLabel) else rejected).append(found)  # type: ignore[arg-type]
    labels.sort(key=lambda label: _seconds(label.at))
    lines = (json.dumps([each.item_id, each.from_path, each.to_path, each.verdict]) for each in labels)
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=6).hexdigest()
    return DecidedLabels(url, digest, tuple(labels), tuple(rejected))


def label_rows(url: str, flag: str) -> Iterator[tuple[dict[str, Any], DecidedLabel | RejectedRow]]:
    """The rows of decided labels as they come, each with all of its cells, and as a decision or with the reason why it is none.

    Raises:
        ShelfcodeError: as `read_decided_labels`.
    """
    try:
        yield from _rows(list_files(url))
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{flag} {url}: {error}") from error


def shown_path(path: Sequence[str] | None) -> str:
    """A path for the eye and for spreadsheets, in which no text may begin like a formula."""
    return "" if not path else guarded(PATH_SEPARATOR.join(path))


def guarded(text: str) -> str:
    """A text that a spreadsheet shows and does not compute: an apostrophe before what would begin a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def path_of_cells(row: Mapping[str, Any], name: str) -> CategoryPath | None:
    """A path from the cells of a row: a list, a JSON list, or one text.

    Raises:
        ValueError: it is none, or the text and the JSON list beside it are two different paths.
    """
    shown, exact = row.get(name), row.get(f"{name}_json")
    if not isinstance(exact, str) or not exact.strip():
        return _path(shown, name)
    path = _path(_json_list(exact, f"{name}_json"), f"{name}_json")
    if isinstance(shown, str) and shown.strip() and _spaced(shown) != _spaced(shown_path(path)):
        raise ValueError(f"{name} and {name}_json are two different paths: {shown!r} and {exact!r}; change both, or empty {name}_json")
    return path


def path_key(path: Sequence[str] | None) -> CategoryPath | None:
    """What two paths have in common that differ only in how their names are written."""
    return tuple(map(name_key, path)) if path else None


def _path(value: Any, name: str) -> CategoryPath | None:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("'") and text[1:].startswith(_FORMULA):
            text = text[1:]
        listed = as_list(text)
        value = text.split(PATH_SEPARATOR) if listed is None else listed
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{name} is no list of names: {str(value)[:100]!r}")
    return tuple(part for part in map(category_name, value) if part) or None


def _json_list(text: str, name: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {text[:100]!r}") from error
    if not isinstance(value, list):
        raise ValueError(f"{name} is no JSON list: {text[:100]!r}")
    return value


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _seconds(at: str) -> float:
    """A time in seconds since 1970; before all others where it is none."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return float("-inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rows(files: Sequence[SourceFile]) -> Iterator[tuple[dict[str, Any], DecidedLabel | RejectedRow]]:
    for file in files:
        for batch in read_file(file):
            for row in batch.unreadable:
                if row.reason.startswith(UNREADABLE_FILE):
                    raise ShelfcodeError(row.reason)
                yield row.row, replace(row, stage=STAGE)
            if batch.table.num_columns:
                _check_columns(batch.table.column_names, file.url)
                yield from _labels(batch, file)


def _check_columns(columns: Sequence[str], url: str) -> None:
    """Refuse a file that holds something else.

    Raises:
        ShelfcodeError: a column is missing; a path may be there in either of its forms.
    """
    for name in COLUMNS:
        if name not in columns and not (name in PATHS and f"{name}_json" in columns):
            raise ShelfcodeError(
                f"{url} has no column {name!r}. Columns found: {', '.join(map(repr, columns))}. Decided labels have the columns "
                f"{', '.join(COLUMNS)}, as jobs/export_corrections.py writes them"
            )


def _labels(batch: RowBatch, file: SourceFile) -> Iterator[tuple[dict[str, Any], DecidedLabel | RejectedRow]]:
    texts, reasons = item_id_texts(batch.table["item_id"].combine_chunks())
    for number, row in enumerate(batch.table.to_pylist()):
        cells = {name: _cell(value) for name, value in row.items()}
        cells["item_id"] = None if number in reasons else texts[number].as_py()
        yield cells, _label(cells, file.place(int(batch.numbers_N[number])))


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, datetime) else value


def _label(cells: dict[str, Any], place: str) -> DecidedLabel | RejectedRow:
    """A row as a decision, or why it is none."""
    item_id, verdict = cells["item_id"], str(cells["verdict"] or "").strip().lower()
    try:
        if item_id is None:
            raise ValueError("item_id is missing, or no item_id")
        if verdict not in VERDICTS:
            raise ValueError(f"unknown verdict: {verdict!r}; there are {', '.join(VERDICTS)}")
        before, after = (path_of_cells(cells, name) for name in PATHS)
        if verdict in SETS and after is None:
            raise ValueError(f"to_path is missing: {verdict} needs one")
    except ValueError as error:
        return RejectedRow(item_id, STAGE, f"{error}{', ' if ':' in str(error) else ': '}{place}", cells)
    return DecidedLabel(item_id, before, after if verdict in SETS else None, verdict, str(cells.get("at") or ""), place)
