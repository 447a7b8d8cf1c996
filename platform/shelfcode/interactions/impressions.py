"""What was shown and what of it was chosen, kept as a log that interactions are read from: a row a product shown, a row a product chosen.

A retriever learns from the chosen ones with `interactions.events=[chosen]`, or whatever word the callers have for choosing. Of a person
nothing is kept but the key that the caller gave, which says nothing to anybody else.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.parts import part_path
from shelfcode.workspace import Workspace

FOLDER = "impressions"
"""Within a workspace; below it a folder a day (UTC), with parts."""

SHOWN, CHOSEN = "shown", "chosen"
"""Kinds of events. Whoever reports a choice may have a word of their own for it, such as cart or order."""

IMPRESSIONS = pa.schema([
    ("session_id", pa.string()), ("user_id", pa.string()), ("retailer_id", pa.string()), ("surface", pa.string()),
    ("at", pa.timestamp("us", "UTC")), ("event", pa.string()), ("item_id", pa.string()), ("position", pa.int32()),
    ("score", pa.float32()), ("proposed_by", pa.string()), ("side", pa.string()), ("propensity", pa.float64()),
    ("retriever", pa.string()), ("release", pa.string()),
])  # fmt: skip
"""A row a product shown or chosen. The session_id is the id of the request that was answered; `position` counts from 1.

A list without a product is one row without an item_id, so that it is counted. A chosen product has what its list says of it, as far as the
list is known where the row is made; its position is null where the list does not have it.
"""


@dataclass(frozen=True)
class Shown:
    """One answered request and its list, best first.

    Attributes:
        at: when it was answered; a time without a zone is UTC.
        side: what the split drew, as surfaces.yaml names it; what answers where the surface is not split.
        propensity: share of the traffic that goes to this side, above 0 and at most 1; 1 where nothing is drawn.
        item_ids, scores, proposed_by: of each product; who proposed it is generator, cr, both or similar.
        user_id: opaque key of the caller, by which the side is drawn.
        retriever, release: such as generator@v0003 and precision@v0001.
    """

    request_id: str
    surface: str
    at: datetime
    side: str
    propensity: float
    item_ids: tuple[str, ...]
    scores: tuple[float | None, ...]
    proposed_by: tuple[str | None, ...]
    user_id: str | None = None
    retailer_id: str | None = None
    retriever: str | None = None
    release: str | None = None

    def __post_init__(self) -> None:
        if not len(self.item_ids) == len(self.scores) == len(self.proposed_by):
            raise ValueError(f"{len(self.item_ids)} products with {len(self.scores)} scores and {len(self.proposed_by)} who proposed them")
        if not 0 < self.propensity <= 1:
            raise ValueError(f"a propensity of {self.propensity}: expected a share above 0 and at most 1")


@dataclass(frozen=True)
class Chosen:
    """What was chosen after one answered request.

    Attributes:
        request_id: of the request.
        at: when it was chosen; a time without a zone is UTC.
        event: the caller's word for choosing.
        user_id, retailer_id: of the request, where whoever reports knows them; a row without a user has no history to learn from.
    """

    request_id: str
    item_ids: tuple[str, ...]
    at: datetime
    surface: str
    event: str = CHOSEN
    user_id: str | None = None
    retailer_id: str | None = None

    def __post_init__(self) -> None:
        if not self.event.strip() or self.event.strip() == SHOWN:
            raise ValueError(f"{self.event!r} cannot be the name of a choice: expected a word such as {CHOSEN}, cart or order")


def shown_table(shown: Sequence[Shown]) -> pa.Table:
    """The rows of lists, by IMPRESSIONS."""
    columns: dict[str, list[Any]] = {"item_id": [], "position": [], "score": [], "proposed_by": []}
    for each in shown:
        positions = range(1, len(each.item_ids) + 1)
        for column, cells in zip(columns.values(), (each.item_ids, positions, each.scores, each.proposed_by), strict=True):
            column.extend(cells or (None,))
    lists = [each for each in shown for _ in each.item_ids or (None,)]
    return _table(lists, {"event": [SHOWN] * len(lists), **columns, **_of_lists(lists)})


def chosen_table(chosen: Sequence[Chosen], lists: Mapping[str, Shown] | None = None) -> pa.Table:
    """The rows of choices, by IMPRESSIONS. A product that is named twice in one choice counts once.

    Args:
        lists: request_id -> the list that was shown, of those that are known.
    """
    pairs = [(each, item_id) for each in chosen for item_id in dict.fromkeys(each.item_ids)]
    choices = [each for each, _ in pairs]
    shown = [(lists or {}).get(each.request_id) for each in choices]
    found = [_found(item_id, of) for (_, item_id), of in zip(pairs, shown, strict=True)]
    columns: dict[str, list[Any]] = {
        "event": [each.event.strip() for each in choices],
        "item_id": [item_id for _, item_id in pairs],
        **{name: [cells[place] for cells in found] for place, name in enumerate(("position", "score", "proposed_by"))},
        **_of_lists(shown),
    }
    for name in ("user_id", "retailer_id"):
        columns[name] = [getattr(each, name) or known for each, known in zip(choices, columns[name], strict=True)]
    return _table(choices, columns)


def _found(item_id: str, of: Shown | None) -> tuple[int | None, float | None, str | None]:
    """Position, score and who proposed it, of a chosen product in its list."""
    if of is None or item_id not in of.item_ids:
        return None, None, None
    place = of.item_ids.index(item_id)
    return place + 1, of.scores[place], of.proposed_by[place]


def _of_lists(lists: Sequence[Shown | None]) -> dict[str, list[Any]]:
    """What is said of the whole list that each row belongs to; nothing where that is not known."""
    names = ("user_id", "retailer_id", "side", "propensity", "retriever", "release")
    return {name: [each and getattr(each, name) for each in lists] for name in names}


def _table(requests: Sequence[Shown | Chosen], columns: dict[str, list[Any]]) -> pa.Table:
    of_requests = {
        "session_id": [each.request_id for each in requests],
        "surface": [each.surface for each in requests],
        "at": [each.at if each.at.tzinfo else each.at.replace(tzinfo=UTC) for each in requests],
    }
    return pa.table({**of_requests, **columns}, schema=IMPRESSIONS)


def write_impressions(workspace: Workspace, rows: pa.Table) -> str:
    """Write rows as one part of their first day, whole or not at all; its path within the workspace.

    The part is named by what is in it, so that rows that are written again after a fault are not there twice.

    Args:
        rows: by IMPRESSIONS; at least one.

    Raises:
        OSError: the store does not take it.
        ValueError: there is no row, or another column.
    """
    if not len(rows) or rows.schema != IMPRESSIONS:
        raise ValueError(f"expected at least one row by IMPRESSIONS, got {len(rows)} with {', '.join(rows.column_names)}")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, IMPRESSIONS) as stream:
        stream.write_table(rows.combine_chunks())
    name = hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()
    path = part_path(f"{FOLDER}/{pc.min(rows['at']).as_py():%Y-%m-%d}", name)
    workspace.write_table(path, rows)
    return path
