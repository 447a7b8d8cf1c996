"""The two steps in which a log is read, as plain functions: some files -> pieces of events, and the pieces of some users -> their sessions.

Without Ray; pipeline.py runs many of each side by side. What one step writes the other reads, so no process holds more than a piece, or
the events of its users.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from shelfcode.catalog.formats.content import COMPRESSED
from shelfcode.catalog.rejected import count_reasons, write_rejected
from shelfcode.catalog.rows import read_file
from shelfcode.catalog.source_file import UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.account import StoredSessions, Tally, counted
from shelfcode.interactions.record import LogPart
from shelfcode.interactions.session_rows import EVENTS, Columns, EventRows, event_rows, find_columns
from shelfcode.interactions.sessions import session_table, settled
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import KeyIndex, Keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.parts import part_path
from shelfcode.store import open_filesystem
from shelfcode.workspace import Workspace

EVENTS_PER_PIECE = 1_000_000
"""Events that a task of the first step collects before it writes them: about 50 MB, and several times that while they are sorted."""

EVENTS_PER_PARTITION = 2_000_000
"""About as many events the second step sorts at once."""

_ROWS_PER_BATCH = 50_000
_REJECTED_AT_ONCE = 100_000
_LEAST_BYTES_PER_EVENT = {True: 3, False: 10}  # in a file that is compressed, as Parquet is, and in one that is not


@dataclass(frozen=True)
class LogDraft:
    """A log that is being read.

    Attributes:
        columns: of the log's first file that has any.
        folder: of the sessions to be; `pieces`: of what is exchanged between the steps.
        partitions: among which users are distributed; each becomes a part.
        now: microseconds since 1970.
    """

    workspace: Workspace
    settings: InteractionSettings
    columns: Columns
    run: str
    folder: str
    pieces: str
    partitions: int
    now: int
    events_per_piece: int = EVENTS_PER_PIECE
    events_at_once: int = EVENTS_PER_PARTITION


def log_columns(files: Sequence[SourceFile], settings: InteractionSettings) -> Columns:
    """The columns of a log, by its first file that has any.

    Raises:
        ShelfcodeError: no file has any, that file cannot be read, or `find_columns` refuses its columns.
    """
    for file in files:
        for batch in islice(read_file(file, _ROWS_PER_BATCH), 1):
            _refuse_broken(batch)
            if batch.table.num_columns:
                return find_columns(batch.table.column_names, settings, file.url)
    raise ShelfcodeError(f"it is empty: no row could be read from {files[0].url}")


def count_partitions(files: Sequence[SourceFile], events_per_partition: int = EVENTS_PER_PARTITION) -> int:
    """How many partitions a log needs, so that each has few enough events, by the size of its files."""

    def events(file: SourceFile) -> float:
        if file.format in ("delta", "iceberg"):
            return events_per_partition  # a share of a table, of which only its library knows the size
        fs, path = open_filesystem(file.url)
        packed = file.format == "parquet" or path.lower().endswith(COMPRESSED)
        return float(fs.size(path) or 0) / _LEAST_BYTES_PER_EVENT[packed]

    distinct = {(file.url, file.shares if file.format == "delta" else None): file for file in files}  # a large file is in several shares
    return max(1, math.ceil(sum(in_order(events, distinct.values())) / events_per_partition))


def store_pieces(files: Sequence[SourceFile], task: int, draft: LogDraft, catalog: KeyIndex) -> Iterator[Tally]:
    """The first step: read some files and store their events as pieces, one for each partition that they have users of; the counts.

    Args:
        task: names the pieces, so that a task that runs again writes the same files again.
        catalog: item key -> place of the product.

    Raises:
        ShelfcodeError: a file cannot be read to its end, or has other columns than the log's first one.
    """
    for number, (rows, read) in enumerate(_collected(_event_rows(files, draft, catalog), draft.events_per_piece)):
        name = f"{task:06d}-{number:06d}"
        rejected = [row for each in read for row in each.rejected]
        write_rejected(draft.workspace, draft.run, f"interactions-{name}", rejected)
        _store_piece(pa.concat_tables([each.table for each in read]), name, draft)
        tally = Tally(rows=rows, reasons=count_reasons(rejected))
        for each in read:
            tally.add(counted(each))
        yield tally


def _event_rows(files: Sequence[SourceFile], draft: LogDraft, catalog: KeyIndex) -> Iterator[tuple[int, EventRows]]:
    """The events of some files, batch by batch, and of how many rows."""
    for file in files:
        for batch in read_file(file, _ROWS_PER_BATCH):
            _refuse_broken(batch)
            _check_columns(batch, file, draft.columns)
            rows = len(batch.table) + len(batch.unreadable)
            yield rows, event_rows(batch, file, draft.columns, draft.settings, catalog, draft.now)


def _collected(batches: Iterator[tuple[int, EventRows]], events: int) -> Iterator[tuple[int, list[EventRows]]]:
    """Batches in groups of about so many events, and the rows of each group."""
    rows, group = 0, list[EventRows]()
    for more, read in batches:
        rows, group = rows + more, [*group, read]
        if sum(len(each.table) for each in group) >= events or sum(len(each.rejected) for each in group) >= _REJECTED_AT_ONCE:
            yield rows, group
            rows, group = 0, []
    if group:
        yield rows, group


def _store_piece(events: pa.Table, name: str, draft: LogDraft) -> None:
    partition_E = events["user"].to_numpy() % np.uint64(draft.partitions)
    order_E = np.argsort(partition_E, kind="stable")
    events, bounds = events.take(pa.array(order_E)), np.searchsorted(partition_E[order_E], np.arange(draft.partitions + 1))
    for partition in np.flatnonzero(np.diff(bounds)).tolist():
        piece = events.slice(bounds[partition], bounds[partition + 1] - bounds[partition])
        draft.workspace.write_table(part_path(_pieces(draft, partition), name), piece)


def _pieces(draft: LogDraft, partition: int) -> str:
    return f"{draft.pieces}/{partition:06d}"


def _refuse_broken(batch: RowBatch) -> None:
    """Half a log is not what was asked for."""
    for row in batch.unreadable:
        if row.reason.startswith(UNREADABLE_FILE):
            raise ShelfcodeError(row.reason)


def _check_columns(batch: RowBatch, file: SourceFile, columns: Columns) -> None:
    """Refuse a file without a column that others have: its users or times would be unknown without a word. JSON leaves out what is null."""
    found = batch.table.column_names
    if not found or file.format in ("jsonl", "json"):
        return
    for column, name in columns.items():
        if name not in found:
            raise ShelfcodeError(
                f"{file.url} has no column {name!r} for {column}, and other files of the log have one. Columns found: "
                f"{', '.join(map(repr, found))}. Give files of one kind"
            )


def store_sessions(partition: int, draft: LogDraft, retailers: Sequence[str], surfaces: Sequence[str], item_keys_N: Keys) -> StoredSessions:
    """The second step: sort the events of a partition's users into sessions, and store them as a part.

    Args:
        retailers, surfaces: all names of the log, in the order of their places.
        item_keys_N: of the catalog's products.
    """
    ordered, limit = draft.settings.ordered, draft.settings.events_per_user_max
    waiting, before, duplicates, over_limit = list[pa.Table](), 0, 0, 0
    over_users = [np.empty(0, np.uint64)]
    enough = draft.events_at_once
    pieces = draft.workspace.parts(_pieces(draft, partition))
    for number, piece in enumerate(draft.workspace.read_tables(pieces, EVENTS.names, TABLES_AT_ONCE), start=1):
        waiting.append(piece.append_column("order", pa.array(np.arange(before, before + len(piece)))))
        before += len(piece)
        if number == len(pieces) or sum(map(len, waiting)) > enough:
            done = settled(pa.concat_tables(waiting), ordered, limit)
            waiting, enough = [done.table], max(enough, 2 * len(done.table))
            duplicates, over_limit = duplicates + done.duplicates, over_limit + done.over_limit
            over_users.append(done.users_over_limit)
    events = waiting[0] if waiting else EVENTS.empty_table()
    table, facts = session_table(events, retailers, surfaces, item_keys_N, ordered)
    part = None
    if len(table):
        part = LogPart(path=part_path(draft.folder, f"{partition:06d}"), sessions=len(table), events=len(events))
        draft.workspace.write_table(part.path, table)
    users_over_limit = len(np.unique(np.concatenate(over_users)))
    return StoredSessions(part=part, facts=facts, duplicates=duplicates, over_limit=over_limit, users_over_limit=users_over_limit)
