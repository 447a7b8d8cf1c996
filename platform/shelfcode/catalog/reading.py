"""Source -> snapshot: rows are converted to the catalog's columns file by file, and products whose item_id came before are rejected.

To find these, the caller holds 64 bits per product. It never holds the catalog. Without Ray; pipeline.py reads many files at once.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.formats.text_stream import encoding_hint
from shelfcode.catalog.rejected import RejectedRow, count_reasons, write_rejected
from shelfcode.catalog.ride_along import settle, settled_types, unsettled
from shelfcode.catalog.rows import first_rows, read_file
from shelfcode.catalog.schema import CONVERSION, ORIGINAL, Note, check_columns, normalise, resolved
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, content_of, load_snapshot
from shelfcode.catalog.source import list_source, source_digest
from shelfcode.catalog.source_file import UNREADABLE_FILE, RowBatch, SourceFile
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import KeyIndex, Keys, index_keys, item_keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.parts import part_name, part_path
from shelfcode.progress import Progress
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class SnapshotDraft:
    """Where the rows of a source are stored, and how they are read."""

    workspace: Workspace
    settings: CatalogSettings
    folder: str
    run: str


@dataclass(frozen=True)
class StoredBatch:
    """What became of some rows of a file.

    Attributes:
        path: the part with the usable rows.
        rows, rejected: how many are usable, and how many are not.
        content: sum of the products' 128-bit hashes.
        reasons: how often each reason rejected a row.
        notes: what was changed in usable rows.
        item_keys_N: of the usable rows.
        respelled_M: keys of item_ids that are spelled otherwise in the source.
        schema: of the part.
        broken: where the file is damaged or its rows were miscounted, and how; such a catalog is refused.
    """

    path: str
    rows: int
    rejected: int
    content: int
    reasons: dict[str, int]
    notes: dict[str, Note]
    item_keys_N: Keys
    respelled_M: Keys
    schema: pa.Schema
    broken: str | None = None


StoreFiles = Callable[[list[SourceFile], SnapshotDraft], Iterator[StoredBatch]]
"""Stores all files of a source, in any order."""


def store_files(files: list[SourceFile], draft: SnapshotDraft) -> Iterator[StoredBatch]:
    """Store one file after another, in this process."""
    for number, file in enumerate(files):
        yield from store_file(file, number, draft)


def check_catalog(source: str, settings: CatalogSettings) -> list[SourceFile]:
    """The files of a catalog, if they are there and the first has the columns that the settings name; of it, the beginning is read.

    Raises:
        ShelfcodeError: nothing to read, a file of a format that is not read, or a column is missing or of a type that cannot be read.
    """
    files = list_source(source)
    url, head = first_rows(files, settings)
    check_columns(head.schema, settings, url, head)
    return files


def read_catalog(
    source: str, settings: CatalogSettings, workspace: Workspace, run: str, progress: Progress, store: StoreFiles = store_files
) -> Snapshot:
    """Read a catalog into the workspace, unless the same files were read before.

    Raises:
        ShelfcodeError: nothing to read, a file cannot be read whole, a column is missing or of a type that cannot be read, or no row is
            usable.
    """
    files = list_source(source)
    folder = f"catalog/{source_digest(files, f'{CONVERSION} {settings.model_dump_json()}')}"
    if known := load_snapshot(workspace, folder):
        progress(known.read)
        return known
    url, head = first_rows(files, settings)
    check_columns(head.schema, settings, url, head)
    batches, reasons, content = [], Counter[str](), 0
    for batch in store(files, SnapshotDraft(workspace, resolved(settings, head), folder, run)):
        progress(batch.rows + batch.rejected)
        reasons.update(batch.reasons)
        content = (content + batch.content) % 2**128
        if batch.broken:
            raise ShelfcodeError(
                f"{batch.broken.rstrip('.')}. How many rows are lost, nobody knows, so nothing was published. "
                "Get the file again, or take it out of --catalog"
            )
        batches += [batch] if batch.rows else []
    read = sum(batch.rows for batch in batches) + sum(reasons.values())
    if not batches:
        why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(5)) or "it has no rows"
        raise ShelfcodeError(f"--catalog {source} holds no usable product: read {read}, rejected {read}: {why}")
    batches.sort(key=lambda batch: batch.path)
    types = settled_types(batch.schema for batch in batches)
    parts, duplicates = _drop_duplicates(batches, types, workspace, folder, run)
    reasons.update(duplicates)
    snapshot = Snapshot(
        folder=folder, source=source, fingerprint=f"{content:032x}", read=read, rejected=sum(reasons.values()),
        rejected_folder=f"rejected/{run}", reasons=dict(reasons), notes={**_together(batches), **_kept_as_text(batches, types)},
        parts=tuple(part for part in parts if part.rows),
    )  # fmt: skip
    workspace.write_json(f"{folder}/manifest.json", snapshot.model_dump(mode="json"))
    return snapshot


def store_file(file: SourceFile, number: int, draft: SnapshotDraft) -> Iterator[StoredBatch]:
    """Read one file, and write its parts and rejected rows.

    Parts are named by the number of the file and of the batch in it, so work that is done again writes the same files again.
    """
    for batch_number, batch in enumerate(read_file(file, settings=draft.settings)):
        name = f"{number:06d}-{batch_number:06d}"
        converted = normalise(batch.table, draft.settings, partial(_place, file, batch))
        table, rejected = converted.table, [*batch.unreadable, *_with_hint(converted.rejected, file, batch, draft.settings)]
        write_rejected(draft.workspace, draft.run, f"catalog-{name}", rejected)
        path = part_path(draft.folder, name)
        if len(table):
            draft.workspace.write_table(path, table)
        keys_N = item_keys(table["item_id"]) if len(table) else np.empty(0, np.uint64)
        broken = next((row.reason for row in batch.unreadable if row.reason.startswith(UNREADABLE_FILE)), None)
        if len(table) + len(rejected) != len(batch.table) + len(batch.unreadable):
            broken = f"{len(batch.table)} rows up to {_place(file, batch, -1)} became {len(table)} and {len(rejected)} rejected ones"
        yield StoredBatch(
            path=path, rows=len(table), rejected=len(rejected), content=content_of(table), reasons=dict(count_reasons(rejected)),
            notes={**_notes(file, batch), **converted.notes},
            item_keys_N=keys_N, respelled_M=item_keys(converted.respelled), schema=table.schema, broken=broken,
        )  # fmt: skip


def _place(file: SourceFile, batch: RowBatch, row: int) -> str:
    return file.place(int(batch.numbers_N[row]))


def _notes(file: SourceFile, batch: RowBatch) -> dict[str, Note]:
    """What was changed in the names of columns."""
    return {f"column {old!r} is read as {new!r}": Note(len(batch.table), file.url) for old, new in batch.renamed if len(batch.table)}


def _with_hint(rejected: list[RejectedRow], file: SourceFile, batch: RowBatch, settings: CatalogSettings) -> list[RejectedRow]:
    """Rows rejected for an encoding that nobody declared say which one it may be."""
    problem = " is not UTF-8"
    if settings.encoding or not file.is_text or not any(problem in row.reason for row in rejected):
        return rejected
    texts = [column for column in batch.table.columns if pa.types.is_binary(column.type)]
    hint = encoding_hint([cell for column in texts for cell in column.to_pylist() if cell and not cell.isascii()])
    return [replace(row, reason=row.reason.replace(problem, problem + hint, 1)) for row in rejected]


def _together(batches: list[StoredBatch]) -> dict[str, Note]:
    """Notes of all batches, each with its first example."""
    notes: dict[str, Note] = {}
    for batch in batches:
        for note, of in batch.notes.items():
            notes[note] = Note(of.rows + notes[note].rows, notes[note].example) if note in notes else of
    return notes


def _kept_as_text(batches: list[StoredBatch], settled: Mapping[str, pa.DataType]) -> dict[str, Note]:
    """What is said of columns that ride along and have no one type."""
    notes = {}
    for name in (name for name, kind in settled.items() if kind == pa.string()):
        typed = [(batch.rows, batch.schema.field(name).type) for batch in batches if name in batch.schema.names]
        types = dict.fromkeys(str(kind) for _, kind in typed if not pa.types.is_null(kind))
        notes[f"{name!r} kept as text, since its type differs between files"] = Note(sum(rows for rows, _ in typed), " and ".join(types))
    return notes


def _drop_duplicates(
    batches: list[StoredBatch], settled: Mapping[str, pa.DataType], workspace: Workspace, folder: str, run: str
) -> tuple[list[SnapshotPart], Counter[str]]:
    """Reject every product whose item_id came before, and count why.

    Only parts with such a product are written again, and those with a column that is of another type elsewhere.
    """
    keys_N = np.concatenate([batch.item_keys_N for batch in batches])
    first_N = np.zeros(len(keys_N), dtype=bool)
    first_N[np.unique(keys_N, return_index=True)[1]] = True
    keeps = np.split(first_N, np.cumsum([batch.rows for batch in batches])[:-1])
    respelled = index_keys(np.concatenate([batch.respelled_M for batch in batches]))
    finish = partial(_finish, settled=settled, respelled=respelled, workspace=workspace, folder=folder, run=run)
    finished = list(in_order(lambda each: finish(*each), zip(batches, keeps, strict=True), TABLES_AT_ONCE))
    return [part for part, _ in finished], sum((reasons for _, reasons in finished), Counter[str]())


def _finish(
    batch: StoredBatch,
    keep: NDArray[np.bool_],
    settled: Mapping[str, pa.DataType],
    respelled: KeyIndex,
    workspace: Workspace,
    folder: str,
    run: str,
) -> tuple[SnapshotPart, Counter[str]]:
    """A part without the products that came before, and with columns that are of another type elsewhere in the type settled for them."""
    if keep.all() and not unsettled(batch.schema, settled):
        return SnapshotPart(path=batch.path, rows=batch.rows), Counter()
    table = settle(workspace.read_table(batch.path), settled)
    later = table.filter(pa.array(~keep))
    otherwise_N = respelled.get(item_keys(later["item_id"])) >= 0
    rows = [_duplicate(row, otherwise) for row, otherwise in zip(later.to_pylist(), otherwise_N.tolist(), strict=True)]
    name = part_name(batch.path)
    write_rejected(workspace, run, f"duplicate-{name}", rows)
    # Under another name, since a second job that reads the same files now would write the old one again, duplicates included.
    path = part_path(folder, f"{name}-distinct")
    workspace.write_table(path, table.filter(pa.array(keep)))
    return SnapshotPart(path=path, rows=int(keep.sum())), count_reasons(rows)


def _duplicate(row: dict[str, Any], respelled: bool) -> RejectedRow:
    """A product whose item_id came before, be it spelled otherwise there or here."""
    if not respelled:
        return RejectedRow(row["item_id"], "catalog", f"item_id occurs twice: {row['item_id']!r} came before", row)
    written = json.loads(row[ORIGINAL] or "{}").get("item_id", row["item_id"])
    reason = f"item_id occurs twice, spelled in two ways: {written!a} is {row['item_id']!r} once evened out, which came before"
    return RejectedRow(row["item_id"], "catalog", reason, row)
