"""What can be recommended: the products of a release with their codes, and which of them each retailer has."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels.

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.embedding.embeddings import embedding_matrix
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import KeyIndex, Keys, index_keys, item_keys, row_keys
from shelfcode.quantization.semantic_ids import read_ids, table_codes
from shelfcode.recipe_file import validate_recipe
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace


@dataclass(frozen=True)
class Assortment:
    """N products of a release, in the order of their item keys.

    Attributes:
        release: its name.
        keys_N: item keys, rising.
        codes_NL: uint16.
        sizes: codewords per level.
    """

    release: str
    item_ids: pa.StringArray
    keys_N: Keys
    codes_NL: NDArray[np.uint16]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys_N)

    @cached_property
    def place_of(self) -> KeyIndex:
        """Item key -> place."""
        return KeyIndex(self.keys_N, np.arange(len(self), dtype=np.int64))

    def places(self, item_ids: pa.Array | pa.ChunkedArray) -> NDArray[np.int32]:
        """Places of products, -1 for those that the release does not have."""
        return self.place_of.get(item_keys(item_ids)).astype(np.int32)


def open_assortment(workspace: Workspace, manifest: Manifest) -> Assortment:
    """The products of a release.

    Raises:
        ShelfcodeError: it has no semantic IDs.
    """
    table = read_ids(workspace, f"{manifest.folder}/semantic_ids")
    keys_N = item_keys(table["item_id"])
    order_N = np.argsort(keys_N, kind="stable")
    item_ids = table["item_id"].combine_chunks().cast(pa.string()).take(pa.array(order_N))
    sizes = tuple(validate_recipe(manifest.recipe, f"of {manifest.name}").quantizer.codebook_sizes)
    return Assortment(manifest.name, item_ids, keys_N[order_N], table_codes(table)[order_N], sizes)


def release_embeddings(workspace: Workspace, manifest: Manifest, assortment: Assortment) -> NDArray[np.float32]:
    """The embeddings that a release's codes were made from, in the order of an assortment: float32[N, E], memory-mapped.

    Raises:
        ShelfcodeError: the workspace has them no more.
    """
    tables = workspace.read_tables(workspace.parts(manifest.embeddings), ["item_id", "text_hash"])
    rows = pa.concat_tables(tables)
    items, keys = item_keys(rows["item_id"])[::-1], row_keys(rows["item_id"], rows["text_hash"])[::-1]
    slot_N = index_keys(items).get(assortment.keys_N)  # of several texts of a product, the one that was stored last
    if (slot_N < 0).any():
        raise ShelfcodeError(f"{manifest.embeddings} lacks {int((slot_N < 0).sum()):,} products of {manifest.name}: embed them again")
    return embedding_matrix(workspace, manifest.embeddings, keys[slot_N])
