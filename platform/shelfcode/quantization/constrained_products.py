"""The groups of a catalog's products under the recipe's constraint, from a column of the catalog or an attribute of the products.

What was learnt of a catalog is kept with the release as constraint.json, with the codewords of each group: a beam that is to stay within
a group starts with these, and later catalogs are grouped alike.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.snapshot import Snapshot, SnapshotPart, snapshot_item_keys
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, first_copies, index_keys, item_keys, row_keys
from shelfcode.parallel import TABLES_AT_ONCE, in_order
from shelfcode.quantization.constraint import NO_GROUP, Constraint, Grouped, group_numbers, learn_constraint
from shelfcode.quantization.rqvae import GROUPS
from shelfcode.quantization.semantic_ids import read_ids, table_codes
from shelfcode.workspace import Workspace

CONSTRAINT_FILE = "constraint.json"

PRICE_BAND = "price_band"
"""The name by which `price` can be asked for, where the catalog has no column of this name."""


@dataclass(frozen=True)
class ConstrainedProducts:
    """A constraint, and the group of each product that has an embedding: int64[N]."""

    constraint: Constraint
    group_N: NDArray[np.int64]

    @property
    def grouped(self) -> Grouped:
        """The same without names."""
        return Grouped(self.group_N, len(self.constraint.groups))

    def sizes(self) -> dict[str, int]:
        """Products of each group."""
        count_G = np.bincount(self.group_N[self.group_N != NO_GROUP], minlength=len(self.constraint.groups))
        return dict(zip(self.constraint.groups, count_G.tolist(), strict=True))

    @property
    def of_no_group(self) -> int:
        """Products whose value the constraint does not know."""
        return int((self.group_N == NO_GROUP).sum())


def constrain(
    name: str, workspace: Workspace, snapshot: Snapshot, embedded: EmbeddedCatalog, known: Constraint | None = None
) -> ConstrainedProducts:
    """Group the products of a catalog.

    Args:
        name: `quantizer.constraint` of the recipe.
        known: of an earlier release whose groups are to be kept; learnt from this catalog where there is none.

    Raises:
        ShelfcodeError: neither the catalog nor the products' attributes have the column, or its values cannot be grouped.
    """
    extracted = embedded.extracted
    attributes = workspace.read_schema(extracted.parts[0]).names if extracted else []
    column, value, of_catalog = named_column(name, snapshot_columns(workspace, snapshot), attributes)
    if of_catalog:
        cells = _catalog_cells(workspace, snapshot, column).take(pa.array(embedded.positions_N))
    else:
        assert extracted
        attributes_of = _attributes(workspace, extracted, column)
        place_N = index_keys(item_keys(attributes_of["item_id"])).get(snapshot_item_keys(workspace, snapshot)[embedded.positions_N])
        cells = attributes_of[column].take(pa.array(place_N))
    constraint = known or learn_constraint(name, value, cells)
    return ConstrainedProducts(constraint, group_numbers(constraint, cells))


def named_column(name: str, columns: Sequence[str], attributes: Sequence[str]) -> tuple[str, str | None, bool]:
    """The column that a constraint names, the value of it, if any, and whether it is the catalog's rather than an attribute.

    Raises:
        ShelfcodeError: there is no such column.
    """
    whole = "price" if name == PRICE_BAND and PRICE_BAND not in columns and "price" in columns else name
    for column, value in ((whole, None), *(_split(name, at) for at, sign in enumerate(name) if sign == ".")):
        if column in columns or column in attributes:
            return column, value, column in columns
    raise ShelfcodeError(
        f"quantizer.constraint {name}: the catalog has no such column (it has {', '.join(columns)}), and "
        + (f"no such attribute was extracted ({', '.join(attributes)})" if attributes else "this flavor's text view extracts no attributes")
    )


def _split(name: str, at: int) -> tuple[str, str]:
    return name[:at], name[at + 1 :]


def snapshot_columns(workspace: Workspace, snapshot: Snapshot) -> list[str]:
    """Columns of a catalog, those of its own that ride along among them."""
    schemas = in_order(workspace.read_schema, (part.path for part in snapshot.parts))
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    return [name for name in names if not name.startswith("_")]


def _catalog_cells(workspace: Workspace, snapshot: Snapshot, column: str) -> pa.ChunkedArray:
    """A column of a snapshot; null in the parts that lack it."""

    def cells_of(part: SnapshotPart) -> pa.Table:
        there = column in workspace.read_schema(part.path).names
        return workspace.read_table(part.path, [column]) if there else pa.table({column: pa.nulls(part.rows)})

    return pa.concat_tables(in_order(cells_of, snapshot.parts), promote_options="permissive")[column]


def _attributes(workspace: Workspace, extracted: ExtractedCatalog, column: str) -> pa.Table:
    """item_id and an attribute of each of a catalog's products, in no particular order."""
    tables = workspace.read_tables(extracted.parts, ["item_id", "text_hash", column], TABLES_AT_ONCE)
    return pa.concat_tables(
        table.filter(pa.array(first_copies(row_keys(table["item_id"], table["text_hash"]), extracted.owner, part)))
        for part, table in enumerate(tables)
    )


def write_constraint(workspace: Workspace, folder: str, constraint: Constraint, weights: dict[str, Tensor]) -> None:
    """Keep a constraint with a release, as constraint.json: column, groups, and the first codewords of each group."""
    codewords: dict[str, list[int]] = {group: [] for group in constraint.groups}
    for codeword, number in enumerate(weights[GROUPS].tolist()):
        codewords[constraint.groups[number]].append(codeword)
    workspace.write_json(f"{folder}/{CONSTRAINT_FILE}", constraint.model_dump(mode="json") | {"codewords": codewords})


def coded_elsewhere(workspace: Workspace, release: str, constrained: ConstrainedProducts, item_keys_N: Keys) -> NDArray[np.bool_]:
    """Which products a release coded within another group than they are in now, though their texts may not have changed: bool[N].

    Args:
        release: folder of a release with this constraint.
        item_keys_N: of the products in `constrained`.
    """
    said = workspace.read_json(f"{release}/{CONSTRAINT_FILE}")
    group_of = {codeword: place for place, group in enumerate(constrained.constraint.groups) for codeword in said["codewords"][group]}
    coded = read_ids(workspace, f"{release}/semantic_ids")
    was_K = np.array([group_of[first] for first in table_codes(coded)[:, 0].tolist()])
    was_N = index_keys(item_keys(coded["item_id"]), was_K).get(item_keys_N)
    return (was_N >= 0) & (constrained.group_N != NO_GROUP) & (was_N != constrained.group_N)


def copy_constraint(workspace: Workspace, source: str, target: str) -> None:
    """The same constraint for a release that has the same model."""
    if workspace.exists(f"{source}/{CONSTRAINT_FILE}"):
        workspace.write_bytes(f"{target}/{CONSTRAINT_FILE}", workspace.read_bytes(f"{source}/{CONSTRAINT_FILE}"))


def read_constraint(workspace: Workspace, folder: str) -> Constraint | None:
    """The constraint of a release; None where it has none.

    Raises:
        ShelfcodeError: the file is damaged.
    """
    path = f"{folder}/{CONSTRAINT_FILE}"
    return workspace.read_record(path, Constraint) if workspace.exists(path) else None
