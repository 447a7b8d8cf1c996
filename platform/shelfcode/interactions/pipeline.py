"""A log of interactions -> sessions in the workspace, by Ray Data, in two steps between which events change hands through files:

    files -> events, joined to the catalog -> pieces by the hash of their user -> sessions, user by user -> interactions/<digest>/

The driver holds counts, and the names of retailers and surfaces. A longer log is more tasks, and no process that needs more memory.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from shelfcode.catalog.listed_files import list_files
from shelfcode.catalog.source import source_digest
from shelfcode.catalog.source_file import SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.hardware import memory_to_reserve
from shelfcode.interactions.account import StoredSessions, Tally, complete_record
from shelfcode.interactions.instants import PER_SECOND
from shelfcode.interactions.reading import (
    EVENTS_PER_PARTITION,
    EVENTS_PER_PIECE,
    LogDraft,
    count_partitions,
    log_columns,
    store_pieces,
    store_sessions,
)
from shelfcode.interactions.record import InteractionsRecord, check_kinds, check_products, check_sessions, load_record
from shelfcode.interactions.settings import InteractionSettings
from shelfcode.keys import KeyIndex, Keys, index_keys
from shelfcode.progress import Progress
from shelfcode.settings import deciding
from shelfcode.workspace import Workspace

READING = 1
"""Version of how logs are read. Raise it with whatever changes what a log's rows become: logs are then read anew."""

MOST_TASKS = 256
"""Of the first step: each may write a piece for each partition."""

BYTES_AT_ALL, BYTES_PER_EVENT = 2**28, 400
"""Memory of a task that sorts events, of those that it has at once."""


def take_interactions(
    url: str, settings: InteractionSettings, item_keys_N: Keys, workspace: Workspace, run: str, progress: Progress,
    flag: str = "--interactions",
) -> InteractionsRecord:  # fmt: skip
    """Read a log into the workspace and join it to a catalog, unless the same files were read before with the same settings and catalog.

    Every event that is read is used, a duplicate, rejected with a reason (kept under rejected/<run>/), one of too many of its user, or of a
    kind that the settings leave out. Sessions lie in interactions/<digest>/, those of a user side by side and oldest first.

    Args:
        url: file, folder or glob of Parquet, CSV or JSON; local or s3://.
        item_keys_N: of the catalog's products; the log names these by their places.
        progress: called with rows of the log.
        flag: what the url was given by; errors begin with it.

    Raises:
        ShelfcodeError: nothing is there, a file cannot be read, or columns are missing or ambiguous (`find_columns`); the catalog lacks too
            many of the products (`check_products`); or there is nothing to learn from (`check_sessions`).
    """
    try:
        return _take(url, settings, item_keys_N, workspace, run, progress)
    except ShelfcodeError as error:
        raise ShelfcodeError(f"{flag} {url}: {error}") from error


def _take(
    url: str, settings: InteractionSettings, item_keys_N: Keys, workspace: Workspace, run: str, progress: Progress
) -> InteractionsRecord:
    files = list_files(url)
    catalog = hashlib.blake2b(item_keys_N.tobytes(), digest_size=8).hexdigest()
    decides = {"settings": deciding(settings), "catalog": catalog, "reading": READING}
    folder = f"interactions/{source_digest(files, json.dumps(decides, sort_keys=True))}"
    if record := load_record(workspace, folder):
        check_products(record.joined_events, record.unknown_events, record.unknown_examples, settings)
        progress(record.rows)
        return record
    draft = LogDraft(
        workspace, settings, log_columns(files, settings), run, folder, pieces=f"runs/{run}-interactions",
        partitions=count_partitions(files, EVENTS_PER_PARTITION), now=int(time.time()) * PER_SECOND,
        events_per_piece=EVENTS_PER_PIECE, events_at_once=EVENTS_PER_PARTITION,
    )  # fmt: skip
    try:
        tally = _store_pieces(files, draft, item_keys_N, progress)
        check_kinds(tally.kinds, settings)
        check_products(tally.joined, tally.unknown, tuple(tally.unknown_items), settings)
        stored = _store_sessions(draft, tally, item_keys_N)
    finally:
        workspace.remove(draft.pieces)
    said = {"folder": folder, "source": url, "catalog": catalog, "products": len(item_keys_N), "rejected_folder": f"rejected/{run}"}
    record = complete_record(settings, tally, stored, said)
    try:
        check_sessions(record)
    except ShelfcodeError:
        workspace.remove(folder)
        raise
    workspace.write_json(f"{folder}/manifest.json", record.model_dump(mode="json"))
    return record


def _store_pieces(files: Sequence[SourceFile], draft: LogDraft, item_keys_N: Keys, progress: Progress) -> Tally:
    """The first step, by many tasks, of which each has some consecutive files."""
    tasks = [files[share[0] : share[-1] + 1] for share in np.array_split(np.arange(len(files)), min(MOST_TASKS, len(files)))]
    arguments = {"tasks": ray.put(tasks), "draft": draft, "catalog": ray.put(index_keys(item_keys_N))}
    tally = Tally()
    for row in _each(len(tasks), _store_pieces_of, arguments, EVENTS_PER_PIECE).iter_rows():
        if row["problem"]:
            raise ShelfcodeError(row["problem"])
        done = Tally.from_json(row["tally"])
        tally.add(done)
        progress(done.rows)
    return tally


def _store_pieces_of(
    item: pa.Table, tasks: "ray.ObjectRef[list[Sequence[SourceFile]]]", draft: LogDraft, catalog: "ray.ObjectRef[KeyIndex]"
) -> Iterator[pa.Table]:
    task = item["item"][0].as_py()
    try:
        for tally in store_pieces(ray.get(tasks)[task], task, draft, ray.get(catalog)):
            yield pa.table({"tally": [tally.to_json()], "problem": [""]})
    except ShelfcodeError as error:  # raised here, it would reach the driver as the text of a task's failure
        yield pa.table({"tally": [""], "problem": [str(error)]})


def _store_sessions(draft: LogDraft, tally: Tally, item_keys_N: Keys) -> list[StoredSessions]:
    """The second step, by a task for each partition; in the order of the partitions."""
    names = {"retailers": ray.put(sorted(tally.retailers)), "surfaces": ray.put(sorted(tally.surfaces)), "item_keys": ray.put(item_keys_N)}
    done = _each(draft.partitions, _store_sessions_of, {"draft": draft, **names}, min(tally.read, EVENTS_PER_PARTITION))
    stored = {row["partition"]: StoredSessions.model_validate_json(row["stored"]) for row in done.iter_rows()}
    return [stored[partition] for partition in range(draft.partitions)]


def _store_sessions_of(
    item: pa.Table, draft: LogDraft, retailers: "ray.ObjectRef[list[str]]", surfaces: "ray.ObjectRef[list[str]]",
    item_keys: "ray.ObjectRef[Keys]",
) -> pa.Table:  # fmt: skip
    partition = item["item"][0].as_py()
    stored = store_sessions(partition, draft, ray.get(retailers), ray.get(surfaces), ray.get(item_keys))
    return pa.table({"partition": [partition], "stored": [stored.model_dump_json()]})


def _each(count: int, function: Callable[..., Any], arguments: dict[str, Any], events: int) -> ray.data.Dataset:
    """A task for each number below `count`, with memory for so many events."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    memory = memory_to_reserve(BYTES_AT_ALL + BYTES_PER_EVENT * events, nodes)
    numbers = ray.data.from_items(list(range(count)), override_num_blocks=count)
    return numbers.map_batches(function, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments, memory=memory)
