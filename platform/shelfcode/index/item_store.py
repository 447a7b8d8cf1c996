"""What is known of the products of a snapshot besides their codes: one Arrow file on the node's disk, memory-mapped.

Titles and attributes of millions of products would fill a process's memory. Mapped, only what is looked at takes room, and the operating
system may take it back.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from shelfcode.attributes.prompt import text_hashes
from shelfcode.catalog.schema import ORIGINAL
from shelfcode.catalog.snapshot import DECIDED, Snapshot, load_snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import KeyIndex, Keys, index_keys, item_keys, row_keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

ROWS_PER_BATCH = 2**16
NOT_STORED = ("description", ORIGINAL, DECIDED)
"""Columns of a catalog that stay out: they are long, and nobody looks them up."""
NOT_ATTRIBUTES = ("item_id", "text_hash", "extractor", "failure", "truncated", "unsupported")
"""Columns of an attributes table that are no attributes."""
LAYOUT = 2
"""Version of the file. Raise it with whatever changes how one is built or read, so that older files are not read."""
ATTRIBUTE = b"attribute"
"""Marks a column of the store as an attribute, and says which."""


class ItemStore:
    """Columns of a snapshot's products, and of their attributes where they have any. Rows stand in the snapshot's order.

    Attributes:
        attributes: name of an attribute -> its column; the two differ where the catalog has a column of that name already.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        attribute_of = {field.name: (field.metadata or {}).get(ATTRIBUTE) for field in self.table.schema}
        self.attributes = {name.decode(): column for column, name in attribute_of.items() if name}
        self.columns = {name: self.table[name].chunks for name in self.table.column_names}

    def __len__(self) -> int:
        return len(self.table)

    def value(self, row: int, column: str) -> Any:
        """One value, as a plain Python object."""
        return self.columns[column][row // ROWS_PER_BATCH][row % ROWS_PER_BATCH].as_py()

    def values(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        """Some values of one product."""
        return {name: self.value(row, name) for name in columns}

    def attributes_of(self, row: int) -> dict[str, Any] | None:
        """The attributes of a product; None where none were extracted."""
        values = {name: self.value(row, column) for name, column in self.attributes.items()}
        return values if values.get("product_type") is not None else None

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column of numbers: float64[rows], NaN where a product has none, and everywhere where the store has no such column."""
        if column not in self.columns or not pa.types.is_floating(self.table.schema.field(column).type):
            return np.full(len(self), np.nan)
        return self.table[column].cast(pa.float64()).to_numpy()

    @property
    def keys_N(self) -> Keys:
        """Key of each product: uint64[rows]. Computed anew each time: they are large, and rarely needed."""
        return np.concatenate([item_keys(chunk) for chunk in self.columns["item_id"]] or [np.empty(0, np.uint64)])


def open_store(workspace: Workspace, snapshot_folder: str, attributes_folder: str | None) -> ItemStore:
    """The store of a snapshot, built once per node and kept under `scratch_folder()`; processes that start together wait for the first.

    Args:
        attributes_folder: an attributes table of the workspace; it may hold rows of other products too.

    Raises:
        ShelfcodeError: the snapshot is gone or damaged.
    """
    snapshot = load_snapshot(workspace, snapshot_folder)
    if snapshot is None:
        raise ShelfcodeError(f"{workspace.address(snapshot_folder)}: the snapshot of the catalog is gone or incomplete")
    parts = workspace.parts(attributes_folder) if attributes_folder else []
    catalog, content = (file_digest(*of) for of in ((workspace.url, snapshot_folder), (LAYOUT, snapshot.model_dump_json(), parts)))
    path = scratch_folder() / f"items-{catalog}-{content}.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch_folder() / f"items-{catalog}.lock"):
        if not path.exists():
            try:
                _build(workspace, snapshot, parts, path)
            except (OSError, pa.ArrowException) as error:
                raise ShelfcodeError(f"the catalog of {workspace.address(snapshot_folder)} cannot be read: {error}") from error
            for earlier in scratch_folder().glob(f"items-{catalog}-*.arrow"):  # a process that has one mapped keeps it until it ends
                if earlier != path:
                    earlier.unlink()
        return ItemStore(path)  # still under the lock: otherwise a newer one could delete this file before it is mapped


def file_digest(*parts: object) -> str:
    """What a file or folder on a node's disk is named by, of all that its content follows from."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _build(workspace: Workspace, snapshot: Snapshot, parts: Sequence[str], path: Path) -> None:
    attributes, row_of = _attributes(workspace, parts)
    draft = path.with_suffix(".draft")
    schema = _schema(workspace, snapshot, attributes)
    with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        waiting: list[pa.Table] = []
        for products in workspace.read_tables((part.path for part in snapshot.parts), at_once=TABLES_AT_ONCE):
            waiting.append(_joined(products, attributes, row_of, schema))
            while sum(map(len, waiting)) >= ROWS_PER_BATCH:
                together = pa.concat_tables(waiting).combine_chunks()
                writer.write_table(together.slice(0, ROWS_PER_BATCH), max_chunksize=ROWS_PER_BATCH)
                waiting = [together.slice(ROWS_PER_BATCH)]
        if sum(map(len, waiting)):
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), max_chunksize=ROWS_PER_BATCH)
    draft.replace(path)
    pa.default_memory_pool().release_unused()


def _attributes(workspace: Workspace, parts: Sequence[str]) -> tuple[pa.Table | None, KeyIndex]:
    """An attributes table, and its row for each item with each of its texts."""
    if not parts:
        return None, index_keys(np.empty(0, np.uint64))
    table = pa.concat_tables(workspace.read_tables(parts))
    return table, index_keys(row_keys(table["item_id"], table["text_hash"]))


def _schema(workspace: Workspace, snapshot: Snapshot, attributes: pa.Table | None) -> pa.Schema:
    catalog = pa.unify_schemas(list(in_order(workspace.read_schema, (part.path for part in snapshot.parts))), promote_options="permissive")
    fields = [field for field in catalog if field.name not in NOT_STORED and not _is_bytes(field.type)]
    if attributes is not None:
        taken = {field.name for field in fields}
        for field in (field for field in attributes.schema if field.name not in NOT_ATTRIBUTES):
            column = f"attributes.{field.name}" if field.name in taken else field.name
            fields.append(field.with_name(column).with_metadata({ATTRIBUTE: field.name.encode()}))
    return pa.schema(fields)


def _is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is or holds bytes, such as images, for which JSON has no place."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_is_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _joined(products: pa.Table, attributes: pa.Table | None, row_of: KeyIndex, schema: pa.Schema) -> pa.Table:
    row_N = row_of.get(row_keys(products["item_id"], text_hashes(products))) if len(row_of) else np.full(len(products), -1)
    places = pa.array(row_N, mask=row_N < 0)
    columns = []
    for field in schema:
        if attribute := (field.metadata or {}).get(ATTRIBUTE):
            columns.append(attributes[attribute.decode()].take(places).cast(field.type))  # type: ignore[index]
        elif field.name in products.column_names:
            columns.append(products[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(len(products), field.type))
    return pa.table(columns, schema=schema)
