"""Source -> snapshot, by Ray Data: a task reads a file, and writes its parts as it goes."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import ray.data

from shelfcode.catalog.reading import SnapshotDraft, StoredBatch, read_catalog, store_file
from shelfcode.catalog.schema import Note
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.catalog.source_file import SourceFile
from shelfcode.progress import Progress
from shelfcode.workspace import Workspace


def take_snapshot(source: str, settings: CatalogSettings, workspace: Workspace, run: str, progress: Progress) -> Snapshot:
    """Read a catalog into the workspace, unless the same files were read before.

    Raises:
        ShelfcodeError: nothing to read, a column is missing or of a type that cannot be read, or no row is usable.
    """
    return read_catalog(source, settings, workspace, run, progress, _store_files)


def _store_files(files: list[SourceFile], draft: SnapshotDraft) -> Iterator[StoredBatch]:
    items = [{"file": json.dumps(asdict(file)), "number": number} for number, file in enumerate(files)]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    for row in dataset.map_batches(_store_file, batch_size=1, batch_format="pyarrow", fn_kwargs={"draft": draft}).iter_rows():
        yield StoredBatch(
            path=str(row["path"]), rows=int(row["rows"]), rejected=int(row["rejected"]), content=int(row["content"], 16),
            reasons=json.loads(row["reasons"]), notes={note: Note(**of) for note, of in json.loads(row["notes"]).items()},
            item_keys_N=np.frombuffer(row["item_keys"], dtype=np.uint64), respelled_M=np.frombuffer(row["respelled"], dtype=np.uint64),
            schema=pa.ipc.read_schema(pa.py_buffer(row["schema"])), broken=row["broken"],
        )  # fmt: skip


def _store_file(item: pa.Table, draft: SnapshotDraft) -> Iterator[pa.Table]:
    """Store one file. A batch is passed on as a row: a number of 128 bits as text, and keys as bytes, which Arrow has no types for."""
    number, fields = item["number"][0].as_py(), json.loads(item["file"][0].as_py())
    shares = fields.pop("shares")
    partitions = tuple((name, value) for name, value in fields.pop("partitions"))
    file = SourceFile(**fields, shares=None if shares is None else tuple(shares), partitions=partitions)
    for stored in store_file(file, number, draft):
        yield pa.table({
            "path": [stored.path], "rows": [stored.rows], "rejected": [stored.rejected], "content": [f"{stored.content:032x}"],
            "reasons": [json.dumps(stored.reasons)], "notes": [json.dumps({note: asdict(of) for note, of in stored.notes.items()})],
            "item_keys": pa.array([stored.item_keys_N.tobytes()], pa.large_binary()),
            "respelled": pa.array([stored.respelled_M.tobytes()], pa.large_binary()),
            "schema": [stored.schema.serialize().to_pybytes()], "broken": pa.array([stored.broken], pa.string()),
        })  # fmt: skip
