"""What is known of products beside their titles: description, brand, category path, product type, format."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot, snapshot_batches
from shelfcode.keys import index_keys, item_keys
from shelfcode.text import fold
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class Fields:
    """What is known of N products, None where nothing is.

    Attributes:
        values: of each field, in the order of the products.
    """

    values: Mapping[str, Sequence[str | None]]

    def missing(self) -> list[list[str]]:
        """The fields that each product lacks."""
        return [
            [name for name, value in zip(self.values, row, strict=True) if not value] for row in zip(*self.values.values(), strict=True)
        ]

    def lacking(self, names: Sequence[str], positions_Q: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
        """Of each of these fields that there is, whether some of the products lack it: bool[Q]."""
        known = {name: self.values[name] for name in names if name in self.values}
        return {name: np.array([not values[at] for at in positions_Q.tolist()], bool) for name, values in known.items()}


def read_attributes(workspace: Workspace, extracted: ExtractedCatalog) -> pa.Table:
    """item_id, product_type and format of the products that an extractor read."""
    parts = [extracted.parts[part] for part in np.unique(extracted.owner.values_K).tolist()]
    return pa.concat_tables(workspace.read_tables(parts, ["item_id", "product_type", "format"]))


def read_fields(
    workspace: Workspace, snapshot: Snapshot, positions_N: NDArray[np.int64], settings: CatalogSettings, attributes: pa.Table | None
) -> Fields:
    """Fields of the products at some positions of a snapshot.

    The product type is the extractor's where there is one, else the leaf of the category path; the format is the extractor's. A leaf that
    names nothing (`catalog.no_leaf_names`) counts as missing.

    Args:
        attributes: item_id, product_type and format of an extractor; None where none read the catalog.
    """
    columns = ["item_id", "description", "brand", "category_path"]
    products = pa.concat_tables(snapshot_batches(workspace, snapshot, columns)).take(pa.array(positions_N))
    nameless = {fold(name) for name in settings.no_leaf_names}
    leaves = [path[-1] if path and fold(path[-1]) not in nameless else None for path in products["category_path"].to_pylist()]
    values: dict[str, list[str | None]] = {name: products[name].to_pylist() for name in ("description", "brand")}
    values["category_path"] = leaves
    if attributes is None:
        return Fields({**values, "product_type": leaves})
    place_N = index_keys(item_keys(attributes["item_id"])).get(item_keys(products["item_id"])).tolist()
    types, formats = (_taken(attributes[name].to_pylist(), place_N) for name in ("product_type", "format"))
    return Fields({**values, "product_type": [kind or leaf for kind, leaf in zip(types, leaves, strict=True)], "format": formats})


def _taken(column: Sequence[str | None], place_N: Sequence[int]) -> list[str | None]:
    return [column[at] or None if at >= 0 else None for at in place_N]
