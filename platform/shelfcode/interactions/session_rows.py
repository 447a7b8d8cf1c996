"""The rows of a log -> events of the catalog's products, and the rejected ones with reasons. A row is a session with a list of products,
or one event; both come out as one table, a row an event.

Users and sessions are known by 64-bit keys from here on, so that a log of any size can be sorted without their texts.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.cells.item_ids import item_id_texts
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.catalog.source_file import RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.instants import instants
from shelfcode.interactions.product_lists import product_lists
from shelfcode.interactions.settings import INTERACTION_COLUMNS, InteractionColumn, InteractionSettings
from shelfcode.keys import KeyIndex, Keys, item_keys

STAGE = "interactions"
"""Of the rejected rows."""

EVENTS = pa.schema([
    ("user", pa.uint64()), ("session", pa.uint64()), ("retailer", pa.uint64()), ("surface", pa.uint64()), ("at", pa.int64()),
    ("product", pa.int32()),
])  # fmt: skip
"""A row an event. The user, the session, the retailer and the surface are keys, `NO_KEY` where a retailer or surface is unknown; a session
without a user has a user of its own (`anonymous_key`). `at` is in microseconds, NO_TIME where unknown; `product` a place in the catalog."""

NO_KEY = 0

NO_PRODUCT = "row names no product"
NO_ITEM = "item_id is missing or blank"
NOBODY = "neither session_id nor user_id"
UNKNOWN_PRODUCT = "no such product in the catalog"

Columns = Mapping[InteractionColumn, str]
"""The columns that a log has: interactions' name for it -> the log's."""

_TEXTS: tuple[InteractionColumn, ...] = ("session_id", "user_id", "retailer_id", "surface", "event")
_LISTS, _EVENTS = "item_ids (a list a row)", "item_id (a row an event)"
_SHOWN_ITEMS = 5


@dataclass(frozen=True)
class EventRows:
    """The events of some rows.

    Attributes:
        table: those that can be used, by EVENTS, in the rows' order.
        rejected: the others, an event each; rows that name no product, and those that could not be parsed, count as one.
        read: events, the rejected ones and those passed over included.
        passed_over: events of kinds that the settings leave out.
        kinds: all events by their kind, where there is a column of it.
        joined, unknown: events that name a product, and those among them whose product the catalog lacks; some of their item_ids.
        retailers, surfaces: that the usable ones name.
    """

    table: pa.Table
    rejected: list[RejectedRow]
    read: int
    passed_over: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    unknown: int = 0
    unknown_items: tuple[str, ...] = ()
    retailers: tuple[str, ...] = ()
    surfaces: tuple[str, ...] = ()


def anonymous_key(sessions: Keys) -> Keys:
    """Keys of the users that sessions without a user have."""
    return ~sessions


def find_columns(found: Sequence[str], settings: InteractionSettings, source: str) -> dict[InteractionColumn, str]:
    """The columns of interactions that a log has, and its own names for them.

    Raises:
        ShelfcodeError: one that the settings name is not there, there are lists of products and single ones, or neither, or nothing tells
            which events belong together.
    """
    listed = f"Columns found: {', '.join(map(repr, found)) or 'none'}"
    for column, name in settings.columns.items():
        if name not in found:
            raise ShelfcodeError(
                f"{source} has no column {name!r} for {column}. {listed}. Name the right one with "
                f"--set interactions.columns.{column}=THEIR_NAME"
            )
    columns = {column: name for column in INTERACTION_COLUMNS if (name := settings.columns.get(column, column)) in found}
    for one, other in (("item_ids", "item_id"), ("item_id", "item_ids")):
        if one in settings.columns:
            columns.pop(other, None)  # type: ignore[call-overload]
    if "item_ids" in columns and "item_id" in columns:
        raise ShelfcodeError(
            f"{source} has both {_LISTS} and {_EVENTS}. {listed}. Name the one that counts: --set interactions.columns.item_ids=item_ids, "
            "or --set interactions.columns.item_id=item_id"
        )
    if "item_ids" not in columns and "item_id" not in columns:
        raise ShelfcodeError(
            f"{source} has neither {_LISTS} nor {_EVENTS}. {listed}. Name the column of products with "
            "--set interactions.columns.item_ids=THEIR_NAME or interactions.columns.item_id=THEIR_NAME"
        )
    if "item_id" in columns and not {"session_id", "user_id"} & columns.keys():
        raise ShelfcodeError(
            f"{source} has a row an event, and nothing tells which events belong together: neither session_id nor user_id. {listed}. Name "
            "one with --set interactions.columns.session_id=THEIR_NAME or interactions.columns.user_id=THEIR_NAME"
        )
    return columns


def event_rows(
    batch: RowBatch, file: SourceFile, columns: Columns, settings: InteractionSettings, catalog: KeyIndex, now: int
) -> EventRows:
    """The events of a batch of rows.

    Args:
        columns: as `find_columns` gives them; one that the batch lacks is null in all its rows.
        catalog: item key -> place of the product.
        now: microseconds since 1970; later times than a day from then are rejected.

    Raises:
        ShelfcodeError: a column is of a type that cannot hold what it should.
    """
    unreadable = [replace(row, stage=STAGE) for row in batch.unreadable]
    if not len(batch.table):
        return EventRows(EVENTS.empty_table(), unreadable, len(unreadable))
    said = _read(batch, file, columns, now)
    passed_N, row_E = _passed_over(said.texts["event"], settings), said.row_E
    product_E = catalog.get(item_keys(said.item_E))
    joined_E = ~passed_N[row_E] & ~_at(said.bad_rows, len(passed_N))[row_E] & ~_at(said.bad_items, len(row_E)) & _valid(said.item_E)
    used_E, unknown_E = joined_E & (product_E >= 0), joined_E & (product_E < 0)
    rejected: list[tuple[int, str | None, str]] = [
        (int(row_E[event]), said.item_E[event].as_py(), said.reason(event)) for event in np.flatnonzero(~used_E & ~passed_N[row_E]).tolist()
    ]
    rejected += [(row, None, said.bad_rows[row]) for row in np.flatnonzero((said.count_N == 0) & ~passed_N).tolist()]
    events_N, used_N = np.maximum(said.count_N, 1), _at(np.unique(row_E[used_E]).tolist(), len(passed_N))
    return EventRows(
        _table(said, product_E[used_E], row_E[used_E]), [*unreadable, *_rejected(rejected, batch, file, columns)],
        read=int(events_N.sum()) + len(unreadable), passed_over=int(events_N[passed_N].sum()),
        kinds=_kinds(said.texts["event"], events_N) if "event" in columns else Counter(),
        joined=int(joined_E.sum()), unknown=int(unknown_E.sum()),
        unknown_items=tuple(pc.unique(said.item_E.filter(pa.array(unknown_E))).slice(0, _SHOWN_ITEMS).to_pylist()),
        retailers=_names(said.texts["retailer_id"], used_N), surfaces=_names(said.texts["surface"], used_N),
    )  # fmt: skip


@dataclass(frozen=True)
class _Said:
    """What N rows say.

    Attributes:
        texts: their ids and names, evened out as the catalog's item_ids are.
        places: where they stand, if each is a list; None if each is an event.
        item_E, row_E: the item_id of each event, null where there is none, and its row; `count_N`: the events of each row.
        bad_rows: why a row cannot be used; `bad_items`: why an event's item_id is none.
    """

    texts: dict[InteractionColumn, pa.Array]
    at_N: NDArray[np.int64]
    places: pa.Array | None
    item_E: pa.Array
    row_E: NDArray[np.int64]
    count_N: NDArray[np.int64]
    bad_rows: dict[int, str]
    bad_items: dict[int, str]

    def reason(self, event: int) -> str:
        """Why an event cannot be used."""
        missing = UNKNOWN_PRODUCT if self.item_E[event].is_valid else NO_ITEM
        return self.bad_rows.get(int(self.row_E[event])) or self.bad_items.get(event) or missing


def _read(batch: RowBatch, file: SourceFile, columns: Columns, now: int) -> _Said:
    bad: dict[int, str] = {}
    texts = {}
    for name in _TEXTS:
        texts[name], bad_texts = item_id_texts(_cells(batch, columns, name))
        bad = {**{row: reason.replace("item_id", name, 1) for row, reason in bad_texts.items()}, **bad}
    at_N, bad_times = instants(_cells(batch, columns, "at"), now)
    places = None
    if "item_id" in columns:
        values, row_E = _cells(batch, columns, "item_id"), np.arange(len(at_N))
        nobody_N = ~_valid(texts["session_id"]) & ~_valid(texts["user_id"])
        bad = {**dict.fromkeys(np.flatnonzero(nobody_N).tolist(), NOBODY), **bad_times, **bad}
    else:
        lists, bad_lists = product_lists(_cells(batch, columns, "item_ids"), f"{file.url}: column {columns['item_ids']!r}")
        values, row_E = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        empty_N = np.bincount(row_E, minlength=len(at_N)) == 0
        bad = {**dict.fromkeys(np.flatnonzero(empty_N).tolist(), NO_PRODUCT), **bad_lists, **bad_times, **bad}
        places = pc.binary_join_element_wise(f"\x00{file.url}", pa.array(batch.numbers_N).cast(pa.string()), "\x1f")
    items, bad_items = item_id_texts(values)
    return _Said(texts, at_N, places, items, row_E, np.bincount(row_E, minlength=len(at_N)), bad, bad_items)


def _at(places: Collection[int], count: int) -> NDArray[np.bool_]:
    """A mask that is true at some places."""
    mask = np.zeros(count, dtype=bool)
    mask[np.fromiter(places, np.int64, len(places))] = True
    return mask


def _cells(batch: RowBatch, columns: Columns, name: InteractionColumn) -> pa.Array:
    source = columns.get(name)
    if source is None or source not in batch.table.column_names:
        return pa.nulls(len(batch.table))
    return batch.table[source].combine_chunks()


def _passed_over(kinds: pa.Array, settings: InteractionSettings) -> NDArray[np.bool_]:
    """Which rows are of a kind that is not learnt from."""
    if settings.events is None:
        return np.zeros(len(kinds), dtype=bool)
    return ~pc.is_in(kinds, pa.array(settings.events, pa.string())).to_numpy(zero_copy_only=False)


def _table(said: _Said, product_U: NDArray[np.int64], row_U: NDArray[np.int64]) -> pa.Table:
    """The usable events, by EVENTS: product and row of each."""
    texts = said.texts
    session_N = _session_keys(texts["user_id"], texts["session_id"], said.places)
    user_N = np.where(_valid(texts["user_id"]), item_keys(texts["user_id"]), anonymous_key(session_N))
    of_rows = {
        "user": user_N, "session": session_N, "retailer": _name_keys(texts["retailer_id"]), "surface": _name_keys(texts["surface"]),
        "at": said.at_N,
    }  # fmt: skip
    return pa.table({**{name: values[row_U] for name, values in of_rows.items()}, "product": product_U.astype(np.int32)}, schema=EVENTS)


def _session_keys(users: pa.Array, sessions: pa.Array, places: pa.Array | None) -> Keys:
    """Keys of sessions: of their user and session_id. A list without a session_id is a session by itself, known by where it stands; events
    of a user without one are one session.

    Args:
        places: of the rows, where they are lists.
    """
    sessions = pc.coalesce(sessions, pa.scalar("\x00") if places is None else places)
    return item_keys(pc.binary_join_element_wise(pc.fill_null(users, "\x00"), sessions, "\x1f"))


def _name_keys(names: pa.Array) -> Keys:
    return np.where(_valid(names), item_keys(names), np.uint64(NO_KEY))


def _kinds(kinds: pa.Array, events_N: NDArray[np.int64]) -> Counter[str]:
    encoded = pc.fill_null(kinds, "").dictionary_encode()
    counts = np.bincount(encoded.indices.to_numpy(), weights=events_N).astype(int)
    return Counter(dict(zip(encoded.dictionary.to_pylist(), counts.tolist(), strict=True)))


def _names(texts: pa.Array, used_N: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(pc.unique(texts.filter(pa.array(used_N)).drop_null()).to_pylist())


def _rejected(rejections: Sequence[tuple[int, str | None, str]], batch: RowBatch, file: SourceFile, columns: Columns) -> list[RejectedRow]:
    """Events as rejected rows: row, item_id and reason of each."""
    kept: dict[str, str] = {name: source for name, source in columns.items() if source in batch.table.column_names and name != "item_ids"}
    rows = pa.array([row for row, _, _ in rejections], pa.int64())
    shown = {name: _as_python(batch.table[source].take(rows)) for name, source in kept.items()}
    rejected = []
    for place, (row, item_id, reason) in enumerate(rejections):
        cells = {name: values[place] for name, values in shown.items()}
        said = f"{reason}{', ' if ':' in reason else ': '}{file.place(int(batch.numbers_N[row]))}"
        rejected.append(RejectedRow(item_id, STAGE, said, {"item_id": item_id, **cells}))
    return rejected


def _as_python(cells: pa.ChunkedArray) -> list[Any]:
    """The cells of a column; as text where a time is beyond what a datetime holds."""
    try:
        return cells.to_pylist()
    except OverflowError:
        return pc.cast(cells, pa.string()).to_pylist()


def _valid(texts: pa.Array) -> NDArray[np.bool_]:
    return texts.is_valid().to_numpy(zero_copy_only=False)
