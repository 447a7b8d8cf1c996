"""A log of sessions as flat arrays: what retrievers learn from and are measured on.

Training and evaluation read sessions at random; the workspace's table of parts does not allow that, flat files do, and the operating
system shares their pages between the workers of a node.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import hashlib
import shutil
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.record import InteractionsRecord
from shelfcode.keys import Keys, item_keys
from shelfcode.parallel import TABLES_AT_ONCE
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

NO_TIME: int = int(np.iinfo(np.int64).min)
"""Of a session of which nobody knows when it was."""

NO_PLACE = -1
"""Of a session of which nobody knows at which retailer, or on which surface, it was."""

Array = NDArray[Any]


@dataclass(frozen=True)
class SessionLog:
    """S sessions of E events; the sessions of a user stand side by side, oldest first. Memory-mapped: a log may be larger than memory.

    Attributes:
        product_E: int32, place of the product in the catalog that it was joined to.
        first_S: int64[S + 1], where each session's events begin.
        user_S: int32, number of the user; every session without a user is a user of its own. A part of a log keeps the whole's numbers.
        retailer_S, surface_S: int32, place in `retailers` / `surfaces`; -1 where unknown.
        at_S: int64, seconds since 1970 (UTC) of the session's first event; NO_TIME where unknown.
        retailers, surfaces: names, sorted.
        ordered: whether the order of a session's events means something; else a session is a set, and no product occurs twice in it.
        key_S: uint64, which session it is: hash of its session_id and user, or of its place in the source where it has no session_id. The
            same in every part of a log, so that a session is known again on both sides of a split.
    """

    product_E: NDArray[np.int32]
    first_S: NDArray[np.int64]
    user_S: NDArray[np.int32]
    retailer_S: NDArray[np.int32]
    surface_S: NDArray[np.int32]
    at_S: NDArray[np.int64]
    retailers: tuple[str, ...]
    surfaces: tuple[str, ...]
    ordered: bool
    key_S: Keys

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len(self.user_S)

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self.product_E)


def session_of_events(log: SessionLog, events_T: NDArray[np.integer]) -> NDArray[np.int64]:
    """Which session each of these events, given by their positions in `product_E`, belongs to: int64[T]."""
    return np.searchsorted(log.first_S, events_T, side="right") - 1


def only_sessions(log: SessionLog, keep_S: NDArray[np.bool_]) -> SessionLog:
    """The part of a log that consists of some of its sessions, in memory."""
    return _part(log, np.repeat(keep_S, np.diff(log.first_S)))


def without_events(log: SessionLog, events_T: NDArray[np.integer]) -> SessionLog:
    """A log without some events, given by their positions in `product_E`, and without the sessions that had no others; in memory."""
    keep_E = np.ones(log.events, dtype=bool)
    keep_E[events_T] = False
    return _part(log, keep_E)


def _part(log: SessionLog, keep_E: NDArray[np.bool_]) -> SessionLog:
    before_E = np.concatenate([[0], np.cumsum(keep_E)])
    first_S = before_E[log.first_S]
    kept_K = np.flatnonzero(np.diff(first_S))
    return replace(
        log, product_E=log.product_E[keep_E], first_S=np.append(first_S[kept_K], before_E[-1]), user_S=log.user_S[kept_K],
        retailer_S=log.retailer_S[kept_K], surface_S=log.surface_S[kept_K], at_S=log.at_S[kept_K], key_S=log.key_S[kept_K],
    )  # fmt: skip


def log_of_sessions(
    products: Sequence[Sequence[int]],
    users: Sequence[Hashable | None] | None = None,
    retailers: Sequence[str | None] | None = None,
    times: Sequence[int | None] | None = None,
    surfaces: Sequence[str | None] | None = None,
    ordered: bool = True,
) -> SessionLog:
    """A log from plain values, one of each a session.

    Args:
        products: places of each session's products in the catalog; at least one a session.
        users: who they are; users are numbered in the order in which they first occur. None: unknown.
        times: seconds since 1970. Sessions of a user are sorted by them; those at one time, or without a time, stay in their order.
        ordered: where it is false, a product that comes again in a session is left out.

    Raises:
        ValueError: a session has no product, or there are more or fewer of one thing than of sessions.
    """
    count = len(products)
    for name, values in {"users": users, "retailers": retailers, "times": times, "surfaces": surfaces}.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{len(values)} {name} for {count} sessions")
    if empty := [session for session, each in enumerate(products) if not len(each)]:
        raise ValueError(f"session {empty[0]} has no product")
    numbers: dict[Hashable, int] = {}
    keys = (("", session) if user is None else (user,) for session, user in enumerate(users or [None] * count))
    user_S = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int32)
    at_S = np.array([NO_TIME if at is None else at for at in times or [None] * count], np.int64)
    order_S = np.lexsort((at_S, user_S))  # stable
    sessions = [products[session] if ordered else list(dict.fromkeys(products[session])) for session in order_S.tolist()]
    retailer_S, retailer_names = _places(retailers or [None] * count)
    surface_S, surface_names = _places(surfaces or [None] * count)
    return SessionLog(
        product_E=np.concatenate([np.empty(0, np.int32), *(np.asarray(each, np.int32) for each in sessions)]),
        first_S=np.cumsum([0, *map(len, sessions)], dtype=np.int64), user_S=user_S[order_S], retailer_S=retailer_S[order_S],
        surface_S=surface_S[order_S], at_S=at_S[order_S], retailers=retailer_names, surfaces=surface_names, ordered=ordered,
        key_S=item_keys(pa.array([f"session {session}" for session in order_S.tolist()], pa.string())),
    )  # fmt: skip


def _places(values: Sequence[str | None]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    names = tuple(sorted({value for value in values if value is not None}))
    place = {name: number for number, name in enumerate(names)}
    return np.array([NO_PLACE if value is None else place[value] for value in values], np.int32), names


def open_session_log(workspace: Workspace, record: InteractionsRecord) -> SessionLog:
    """The sessions of a log that was read into the workspace, memory-mapped, read only.

    Built once per node and kept under `scratch_folder()`; workers that ask at the same time wait for the first.

    Raises:
        ShelfcodeError: a part is not what the manifest says.
    """
    source = _digest(f"{workspace.url} {record.source}")
    target = scratch_folder() / f"sessions-{source}-{_digest(f'{record.folder} {record.fingerprint}')}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch_folder() / f"sessions-{source}.lock"):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            _build(workspace, record, draft)
            # Earlier readings of the same log go; whoever still has one mapped keeps it until they close it.
            for earlier in scratch_folder().glob(f"sessions-{source}-*"):
                if earlier != draft:
                    shutil.rmtree(earlier)
            draft.replace(target)
        arrays = {name: np.load(target / f"{name}.npy", mmap_mode="r") for name in _arrays(record)}
    return SessionLog(**arrays, retailers=record.retailers, surfaces=record.surfaces, ordered=record.ordered)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _arrays(record: InteractionsRecord) -> dict[str, tuple[str, int]]:
    """Type and length of each array."""
    of_sessions = {"user_S": "int32", "retailer_S": "int32", "surface_S": "int32", "at_S": "int64", "key_S": "uint64"}
    lengths = {name: (kind, record.sessions) for name, kind in of_sessions.items()}
    return {"product_E": ("int32", record.events.used), "first_S": ("int64", record.sessions + 1), **lengths}


def _build(workspace: Workspace, record: InteractionsRecord, folder: Path) -> None:
    folder.mkdir()
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=(length,))
        for name, (kind, length) in _arrays(record).items()
    }
    files["first_S"][0] = 0
    session = event = users = 0
    tables = workspace.read_tables((part.path for part in record.parts), at_once=TABLES_AT_ONCE)
    for part, table in zip(record.parts, tables, strict=True):
        arrays = arrays_of_part(table)
        if (len(table), len(arrays["product_E"])) != (part.sessions, part.events):
            raise ShelfcodeError(
                f"{part.path} holds {len(table):,} sessions, and {record.folder}/manifest.json says {part.sessions:,}: delete that folder "
                "and read the interactions again"
            )
        arrays["first_S"] += event
        arrays["user_S"] += users
        users = int(arrays["user_S"].max(initial=users - 1)) + 1
        for name, values in arrays.items():
            begin = event if name == "product_E" else session + (name == "first_S")
            files[name][begin : begin + len(values)] = values
        session, event = session + part.sessions, event + part.events
    for file in files.values():
        file.flush()


def arrays_of_part(table: pa.Table) -> dict[str, Array]:
    """The arrays of one part of the table of sessions: users are numbered from 0, and first_S holds the ends of its sessions alone."""
    column = {name: table[name].combine_chunks() for name in table.column_names}
    user_S = column["user"].to_numpy()
    return {
        "product_E": column["products"].flatten().to_numpy(),
        "first_S": np.cumsum(column["products"].value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64),
        "user_S": np.cumsum(np.concatenate([[False], user_S[1:] != user_S[:-1]]), dtype=np.int32)[: len(user_S)],
        "retailer_S": column["retailer"].to_numpy(), "surface_S": column["surface"].to_numpy(), "at_S": column["at"].to_numpy(),
        "key_S": column["session"].to_numpy(),
    }  # fmt: skip
