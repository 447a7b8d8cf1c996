"""Events -> sessions: of each user side by side and oldest first, a product once where order means nothing, and the latest of too many.

All events of a user must be given together. They may come piece by piece: what `settled` keeps of some pieces can be given again with the
next one, so that a user with very many events needs no more memory than one with as many as the limit.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shelfcode.interactions.instants import PER_SECOND
from shelfcode.interactions.session_log import NO_PLACE, NO_TIME
from shelfcode.interactions.session_rows import EVENTS, NO_KEY, anonymous_key
from shelfcode.keys import Keys, index_keys, item_keys

SESSIONS = pa.schema([
    ("session", pa.uint64()), ("user", pa.uint64()), ("retailer", pa.int32()), ("surface", pa.int32()), ("at", pa.int64()),
    ("products", pa.list_(pa.int32())),
])  # fmt: skip
"""A row a session: keys of it and of its user, places among the log's retailers and surfaces (NO_PLACE unknown), seconds since 1970 of its
first event (NO_TIME unknown), and places of its products in the catalog."""

_LATEST = np.iinfo(np.int64).max

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SettledEvents:
    """Events in their final order.

    Attributes:
        table: by EVENTS and `order`, where they came among all events.
        duplicates: left out, since their session had the product.
        over_limit: left out, since their user had more; `users_over_limit`: the keys of such users.
    """

    table: pa.Table
    duplicates: int
    over_limit: int
    users_over_limit: Keys


def settled(events: pa.Table, ordered: bool, limit: int) -> SettledEvents:
    """Sort events by user, then session, oldest first, and leave out what does not count.

    Args:
        events: by EVENTS and `order`. Events at one time, or without a time, stay in their order; so do sessions.
        limit: the number of events of a user that count, the latest ones.
    """
    columns: Columns = {name: events[name].to_numpy() for name in events.column_names}
    columns = _taken(columns, np.lexsort((columns["order"], columns["at"], columns["session"], columns["user"])))
    if not ordered:
        columns = _taken(columns, _without_repeats(columns))
    duplicates = len(events) - len(columns["user"])
    columns, users_over_limit = _latest(columns, limit)
    over_limit = len(events) - duplicates - len(columns["user"])
    return SettledEvents(pa.table(_oldest_session_first(columns)), duplicates, over_limit, users_over_limit)


def _taken(columns: Columns, places_E: NDArray[np.int64]) -> Columns:
    return {name: values[places_E] for name, values in columns.items()}


def _without_repeats(columns: Columns) -> NDArray[np.int64]:
    """Of events sorted by session, those that are the first with their product in it, in order."""
    order_E = np.lexsort((columns["product"], columns["session"], columns["user"]))  # stable: of equal products the first comes first
    sorted_E = _taken(columns, order_E)
    return np.sort(order_E[_first(sorted_E["user"], sorted_E["session"], sorted_E["product"])])


def _latest(columns: Columns, limit: int) -> tuple[Columns, Keys]:
    """Of events sorted by user, the latest of each, and the users who had more."""
    first_U = _first(columns["user"])
    count_U = np.diff(first_U, append=len(columns["user"]))
    if not (count_U > limit).any():
        return columns, np.empty(0, np.uint64)
    by_time_E = np.lexsort((columns["order"], columns["at"], columns["user"]))
    from_end_E = np.repeat(first_U + count_U, count_U) - np.arange(len(by_time_E))
    return _taken(columns, np.sort(by_time_E[from_end_E <= limit])), columns["user"][first_U[count_U > limit]]


def _oldest_session_first(columns: Columns) -> Columns:
    """Events sorted by session with the sessions of each user in the order of their first events."""
    first_S = _first(columns["user"], columns["session"])
    if not len(first_S):
        return columns
    at_S, order_S = _earliest(columns["at"], first_S), np.minimum.reduceat(columns["order"], first_S)
    rank_S = np.empty(len(first_S), np.int64)
    rank_S[np.lexsort((order_S, np.where(at_S == _LATEST, NO_TIME, at_S), columns["user"][first_S]))] = np.arange(len(first_S))
    rank_E = np.repeat(rank_S, np.diff(first_S, append=len(columns["user"])))
    return _taken(columns, np.argsort(rank_E, kind="stable"))


class SessionFacts(BaseModel):
    """What is to be known of some users' sessions. Counts as in InteractionsRecord.

    Attributes:
        fingerprint: sum of the sessions' hashes, modulo 2^64.
        first_at, last_at: seconds; None where no session has a time.
    """

    model_config = ConfigDict(frozen=True)

    sessions: int
    single_sessions: int
    users: int
    returning_users: int
    anonymous_sessions: int
    sessions_without_time: int
    mixed_sessions: int
    fingerprint: int
    first_at: int | None
    last_at: int | None


SUMMED = (
    "sessions", "single_sessions", "users", "returning_users", "anonymous_sessions", "sessions_without_time", "mixed_sessions",
)  # fmt: skip
"""The facts that add up over partitions."""


def session_table(
    events: pa.Table, retailers: Sequence[str], surfaces: Sequence[str], item_keys_N: Keys, ordered: bool
) -> tuple[pa.Table, SessionFacts]:
    """Sessions of settled events, by SESSIONS, and what is to be known of them.

    Args:
        retailers, surfaces: all names of the log, in the order of their places.
        item_keys_N: of the catalog's products.
    """
    columns: Columns = {name: events[name].to_numpy() for name in EVENTS.names}
    first_S = _first(columns["user"], columns["session"])
    length_S = np.diff(first_S, append=len(events))
    user_S, session_S = columns["user"][first_S], columns["session"][first_S]
    earliest_S = _earliest(columns["at"], first_S)
    timed_S = earliest_S != _LATEST
    at_S = np.where(timed_S, earliest_S // PER_SECOND, NO_TIME)
    key_S, mixed_S = _first_known(columns["retailer"], first_S)
    offsets = pa.array(np.append(first_S, len(events)).astype(np.int32))
    table = pa.table({
        "session": session_S, "user": user_S, "retailer": _places(key_S, retailers),
        "surface": _places(_first_known(columns["surface"], first_S)[0], surfaces), "at": at_S,
        "products": pa.ListArray.from_arrays(offsets, pa.array(columns["product"], pa.int32())),
    }, schema=SESSIONS)  # fmt: skip
    anonymous_S = user_S == anonymous_key(session_S)
    sessions_U = np.diff(_first(user_S), append=len(user_S))
    times_S = at_S[timed_S]
    facts = SessionFacts(
        sessions=len(table), single_sessions=int((length_S == 1).sum()), users=len(sessions_U) - int(anonymous_S.sum()),
        returning_users=int((sessions_U > 1).sum()), anonymous_sessions=int(anonymous_S.sum()),
        sessions_without_time=int((~timed_S).sum()), mixed_sessions=int(mixed_S.sum()),
        fingerprint=_fingerprint(item_keys_N[columns["product"]], first_S, [np.where(anonymous_S, NO_KEY, user_S), key_S, at_S], ordered),
        first_at=int(times_S.min()) if len(times_S) else None, last_at=int(times_S.max()) if len(times_S) else None,
    )  # fmt: skip
    return table, facts


def _first(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of equal values begin."""
    changes = np.ones(len(columns[0]), dtype=bool)
    if len(changes):
        changes[1:] = np.any([values[1:] != values[:-1] for values in columns], axis=0)
    return np.flatnonzero(changes)


def _earliest(at_E: NDArray[np.int64], first_S: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time of each session's first event that has one; _LATEST where none has."""
    if not len(first_S):
        return np.empty(0, np.int64)
    return np.minimum.reduceat(np.where(at_E == NO_TIME, _LATEST, at_E), first_S)


def _first_known(key_E: Keys, first_S: NDArray[np.int64]) -> tuple[Keys, NDArray[np.bool_]]:
    """The first key of each session that is known, NO_KEY where none is, and whether others follow."""
    if not len(first_S):
        return np.empty(0, np.uint64), np.empty(0, bool)
    events = len(key_E)
    known_S = np.minimum.reduceat(np.where(key_E == NO_KEY, events, np.arange(events)), first_S)
    key_S = np.append(key_E, np.uint64(NO_KEY))[known_S]
    other_E = (key_E != NO_KEY) & (key_E != np.repeat(key_S, np.diff(first_S, append=events)))
    return key_S, np.logical_or.reduceat(other_E, first_S)


def _places(key_S: Keys, names: Sequence[str]) -> NDArray[np.int32]:
    place_S = index_keys(item_keys(pa.array(names, pa.string()))).get(key_S)
    return np.where(key_S == NO_KEY, NO_PLACE, place_S).astype(np.int32)


def _fingerprint(item_E: Keys, first_S: NDArray[np.int64], of_sessions: Sequence[NDArray[Any]], ordered: bool) -> int:
    """Sum of the sessions' hashes, so that neither the order of users nor how the log is cut changes it."""
    if not len(first_S):
        return 0
    place_E = np.arange(len(item_E)) - np.repeat(first_S, np.diff(first_S, append=len(item_E)))
    hash_S = np.add.reduceat(_mixed(item_E + _mixed(place_E.astype(np.uint64)) * np.uint64(ordered)), first_S)
    for values in of_sessions:
        hash_S = _mixed(np.asarray(hash_S ^ values.astype(np.uint64)))
    return int(hash_S.sum())


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each number: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
