"""Source -> snapshot, by Ray Data: a task reads a file, converts its rows to the catalog's columns, and writes parts as it goes.

To find item_ids that occur twice, the driver holds 64 bits per product. It never holds the catalog.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from numpy.typing import NDArray

from shelfcode.catalog.rejected import RejectedRow, count_reasons, row_json, write_rejected
from shelfcode.catalog.schema import CATALOG_COLUMNS, check_columns, normalise
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, load_snapshot
from shelfcode.catalog.source import SourceFile, list_source, read_file, source_digest, source_schema
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import item_keys
from shelfcode.parts import part_name, part_path
from shelfcode.progress import Progress
from shelfcode.workspace import Workspace


def take_snapshot(source: str, settings: CatalogSettings, workspace: Workspace, run: str, progress: Progress) -> Snapshot:
    """Read a catalog into the workspace, unless the same files were read before.

    Raises:
        ShelfcodeError: nothing to read, a column is missing or of a type that cannot be read, or no row is usable.
    """
    files = list_source(source)
    folder = f"catalog/{source_digest(files, settings.model_dump_json())}"
    if known := load_snapshot(workspace, folder):
        progress(known.read)
        return known
    url, schema = source_schema(files)
    check_columns(schema, settings, url)
    parts, keys, reasons, content = [], [], Counter[str](), 0
    for done in _read_files(files, settings, workspace, folder, run):
        progress(int(done["rows"]) + int(done["rejected"]))
        reasons.update(dict(zip(done["reasons"], map(int, done["reason_counts"]), strict=True)))
        if done["rows"]:
            parts.append(SnapshotPart(path=str(done["path"]), rows=int(done["rows"])))
            keys.append(np.frombuffer(done["item_keys"], dtype=np.uint64))
            content = (content + int(done["content"], 16)) % 2**128
    order = sorted(range(len(parts)), key=lambda i: parts[i].path)
    parts, keys = [parts[i] for i in order], [keys[i] for i in order]
    read = sum(part.rows for part in parts) + sum(reasons.values())
    if not parts:
        why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(5)) or "it has no rows"
        raise ShelfcodeError(f"--catalog {source} holds no usable product: read {read}, rejected {read}: {why}")
    parts, duplicates = _drop_duplicates(parts, keys, workspace, folder, run)
    if duplicates:
        reasons["item_id occurs twice"] += duplicates
    snapshot = Snapshot(
        folder=folder, source=source, fingerprint=f"{content:032x}", read=read, rejected=sum(reasons.values()),
        rejected_folder=f"rejected/{run}", reasons=dict(reasons), parts=tuple(part for part in parts if part.rows),
    )  # fmt: skip
    workspace.write_json(f"{folder}/manifest.json", snapshot.model_dump(mode="json"))
    return snapshot


def _read_files(
    files: list[SourceFile], settings: CatalogSettings, workspace: Workspace, folder: str, run: str
) -> Iterator[dict[str, Any]]:
    items = [{**asdict(file), "number": number} for number, file in enumerate(files)]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    arguments = {"settings": settings, "workspace": workspace, "folder": folder, "run": run}
    yield from dataset.map_batches(_store_file, batch_size=1, batch_format="pyarrow", fn_kwargs=arguments).iter_rows()


def _store_file(item: pa.Table, settings: CatalogSettings, workspace: Workspace, folder: str, run: str) -> Iterator[pa.Table]:
    """Read one file, write its parts and rejected rows, and yield a row of figures for each part.

    Parts are named by the number of the file and of the batch in it, so a task that runs again writes the same files again.
    """
    fields = item.to_pylist()[0]
    number = fields.pop("number")
    groups = fields.pop("row_groups")
    file = SourceFile(**fields, row_groups=None if groups is None else tuple(groups))
    for batch_number, batch in enumerate(read_file(file)):
        name = f"{number:06d}-{batch_number:06d}"
        table, rejected = normalise(batch.table, settings, file.url, batch.first_row)
        rejected = [*batch.unreadable, *rejected]
        write_rejected(workspace, run, f"catalog-{name}", rejected)
        path = part_path(folder, name)
        if len(table):
            workspace.write_table(path, table)
        reasons = count_reasons(rejected)
        yield pa.table({
            "path": [path], "rows": [len(table)], "rejected": [len(rejected)], "content": [f"{_content(table):032x}"],
            "reasons": pa.array([list(reasons)], pa.list_(pa.string())),
            "reason_counts": pa.array([list(reasons.values())], pa.list_(pa.int64())),
            "item_keys": pa.array([item_keys(table["item_id"]).tobytes() if len(table) else b""], pa.large_binary()),
        })  # fmt: skip


def _content(table: pa.Table) -> int:
    """Sum of the products' 128-bit hashes."""
    rows = table.select([name for name in CATALOG_COLUMNS if name in table.column_names]).to_pylist()
    hashes = (hashlib.blake2b(row_json(row).encode(), digest_size=16).digest() for row in rows)
    return sum(int.from_bytes(digest, "big") for digest in hashes) % 2**128


def _drop_duplicates(
    parts: list[SnapshotPart], keys: list[NDArray[np.uint64]], workspace: Workspace, folder: str, run: str
) -> tuple[list[SnapshotPart], int]:
    """Reject every product whose item_id came before. Only parts with such a product are written again."""
    all_keys = np.concatenate(keys)
    first = np.zeros(len(all_keys), dtype=bool)
    first[np.unique(all_keys, return_index=True)[1]] = True
    ends = np.cumsum([part.rows for part in parts])
    kept, dropped = [], 0
    for part, keep in zip(parts, np.split(first, ends[:-1]), strict=True):
        if keep.all():
            kept.append(part)
            continue
        table = workspace.read_table(part.path)
        later = table.filter(pa.array(~keep)).to_pylist()
        rows = [RejectedRow(row["item_id"], "catalog", f"item_id occurs twice: {row['item_id']!r} came before", row) for row in later]
        name = part_name(part.path)
        write_rejected(workspace, run, f"duplicate-{name}", rows)
        # Under another name, since a second job that reads the same files now would write the old one again, duplicates included.
        path = part_path(folder, f"{name}-distinct")
        workspace.write_table(path, table.filter(pa.array(keep)))
        kept.append(SnapshotPart(path=path, rows=int(keep.sum())))
        dropped += len(rows)
    return kept, dropped
