"""A catalog as it was once read: immutable Parquet parts in the workspace, and a manifest that is written last."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from shelfcode.catalog.schema import Note
from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_batches
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, item_keys
from shelfcode.parallel import REQUESTS_AT_ONCE, TABLES_AT_ONCE
from shelfcode.workspace import Workspace


class SnapshotPart(BaseModel):
    """Some consecutive products of a snapshot."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int


class Snapshot(BaseModel):
    """A catalog in the workspace. Products are numbered in the order of the parts, and other steps refer to them by that position.

    Attributes:
        folder: within the workspace.
        source: the file, folder or glob that was read.
        fingerprint: of the content of the usable rows, duplicates included. Their order, and how they were stored, change nothing.
        read, rejected: numbers of rows. `products` and `rejected` add up to `read`.
        rejected_folder: where rejected rows are kept, within the workspace.
        reasons: how often each reason rejected a row.
        notes: what was changed in rows that are used, such as HTML that was taken out; the cells as they were are in ORIGINAL.
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    source: str
    fingerprint: str
    read: int
    rejected: int
    rejected_folder: str
    reasons: dict[str, int]
    parts: tuple[SnapshotPart, ...]
    notes: dict[str, Note] = {}

    @property
    def products(self) -> int:
        return sum(part.rows for part in self.parts)


def load_snapshot(workspace: Workspace, folder: str) -> Snapshot | None:
    """A finished snapshot. None where there is none, or only one that was broken off.

    Raises:
        ShelfcodeError: its manifest is damaged.
    """
    manifest = f"{folder}/manifest.json"
    if not workspace.exists(manifest):
        return None
    try:
        return Snapshot.model_validate(workspace.read_json(manifest))
    except ValueError as error:
        raise ShelfcodeError(f"{workspace.address(manifest)} is damaged: {str(error).splitlines()[0]}") from error


def snapshot_batches(workspace: Workspace, snapshot: Snapshot, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of all products, part by part, in their order; those with texts fewer parts at once, since they take more memory."""
    at_once = REQUESTS_AT_ONCE if set(columns) <= {"item_id", "category_path"} else TABLES_AT_ONCE
    return workspace.read_tables((part.path for part in snapshot.parts), columns, at_once)


def snapshot_taxonomy(workspace: Workspace, snapshot: Snapshot) -> Taxonomy:
    """The taxonomy of all products of a snapshot, in its order."""
    batches = snapshot_batches(workspace, snapshot, ["category_path"])
    return taxonomy_from_batches(table["category_path"].combine_chunks() for table in batches)


def snapshot_item_keys(workspace: Workspace, snapshot: Snapshot) -> Keys:
    """Item key of each product of a snapshot, in its order."""
    return np.concatenate([item_keys(batch["item_id"]) for batch in snapshot_batches(workspace, snapshot, ["item_id"])])
