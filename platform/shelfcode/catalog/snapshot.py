"""A catalog as it was once read: immutable Parquet parts in the workspace, and a manifest that is written last."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from shelfcode.catalog.rejected import row_json
from shelfcode.catalog.schema import CATALOG_COLUMNS, Note
from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_batches
from shelfcode.keys import Keys, item_keys
from shelfcode.parallel import REQUESTS_AT_ONCE, TABLES_AT_ONCE
from shelfcode.workspace import Workspace

DECIDED = "_decided"
"""Column of a snapshot with decided labels: the verdict on the product's label (catalog/decided_labels.py); null where there is none."""


class LabelMove(BaseModel):
    """How many products were moved from one label to another."""

    model_config = ConfigDict(frozen=True)

    before: tuple[str, ...] | None
    after: tuple[str, ...] | None
    products: int


class DepartmentChanges(BaseModel):
    """How many labels were changed in one department, the first name of a path; None: products without one.

    Attributes:
        within: to another label of the department; `out`: to one of another department; `into`: from one.
    """

    model_config = ConfigDict(frozen=True)

    name: str | None
    within: int
    out: int
    into: int


class AppliedLabels(BaseModel):
    """Which decided labels a snapshot has, and what they changed.

    Attributes:
        source: the file or folder they were read from; `digest`: of what they say.
        rows: that were read: the following four and `passed_over` add up to them.
        changed: products that got another label; `already`: that had the right one by then.
        kept: whose label was found right; `excluded`: whose label is not used.
        passed_over: rows that decided nothing, by reason.
        moves: the commonest ones, at most ten.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    digest: str
    rows: int
    changed: int
    already: int
    kept: int
    excluded: int
    passed_over: dict[str, int]
    departments: tuple[DepartmentChanges, ...] = ()
    moves: tuple[LabelMove, ...] = ()

    def counts(self) -> dict[str, int]:
        """What became of the rows, as a job tells it."""
        told = {"rows": self.rows, "changed": self.changed, "already": self.already, "kept": self.kept, "excluded": self.excluded}
        return {**told, "passed_over": sum(self.passed_over.values())}


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
        labels: the decided labels that were laid over the catalog (catalog/label_overlay.py); None without any.
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
    labels: AppliedLabels | None = None

    @property
    def products(self) -> int:
        return sum(part.rows for part in self.parts)


def load_snapshot(workspace: Workspace, folder: str) -> Snapshot | None:
    """A finished snapshot. None where there is none, or only one that was broken off.

    Raises:
        ShelfcodeError: its manifest is damaged.
    """
    manifest = f"{folder}/manifest.json"
    return workspace.read_record(manifest, Snapshot) if workspace.exists(manifest) else None


def content_of(table: pa.Table) -> int:
    """Sum of the 128-bit hashes of some products, by the catalog's own columns: what a fingerprint is made of."""
    rows = table.select([name for name in CATALOG_COLUMNS if name in table.column_names]).to_pylist()
    hashes = (hashlib.blake2b(row_json(row).encode(), digest_size=16).digest() for row in rows)
    return sum(int.from_bytes(digest, "big") for digest in hashes) % 2**128


def snapshot_batches(workspace: Workspace, snapshot: Snapshot, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of all products, part by part, in their order; those with texts fewer parts at once, since they take more memory."""
    at_once = REQUESTS_AT_ONCE if set(columns) <= {"item_id", "category_path", DECIDED} else TABLES_AT_ONCE
    return workspace.read_tables((part.path for part in snapshot.parts), columns, at_once)


def snapshot_taxonomy(workspace: Workspace, snapshot: Snapshot) -> Taxonomy:
    """The taxonomy of all products of a snapshot, in its order. One whose label somebody excluded counts as without a path."""
    batches = snapshot_batches(workspace, snapshot, ["category_path", *([DECIDED] if snapshot.labels else [])])
    return taxonomy_from_batches(used_paths(table.combine_chunks()) for table in batches)


def used_paths(table: pa.Table) -> pa.ListArray:
    """The paths of some products of a snapshot, in one piece; none for a product whose label somebody excluded."""
    paths = pa.array([], pa.list_(pa.string())) if not len(table) else table["category_path"].chunk(0)
    if DECIDED not in table.column_names or not len(table):
        return paths
    excluded = pc.fill_null(pc.equal(table[DECIDED].chunk(0), "exclude"), False)
    return pc.if_else(excluded, pa.scalar(None, paths.type), paths)


def snapshot_item_keys(workspace: Workspace, snapshot: Snapshot) -> Keys:
    """Item key of each product of a snapshot, in its order."""
    return np.concatenate([item_keys(batch["item_id"]) for batch in snapshot_batches(workspace, snapshot, ["item_id"])])
