"""One release in memory: its codes, what is known of its products, and a label for each prefix."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from cachetools import LRUCache
from numpy.typing import NDArray
from safetensors.numpy import load

from shelfcode.attributes.extractor import extractor_name
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.index.code_index import CodeIndex, Mask, build_index
from shelfcode.index.item_store import ItemStore, open_store
from shelfcode.index.prefix_labels import telling_words, without_words
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.quantization.semantic_ids import table_codes
from shelfcode.releases.check import check_semantic_ids
from shelfcode.releases.release import current_name, load_manifest, release_recipe
from shelfcode.semantic_id import Codes, format_codes
from shelfcode.workspace import Workspace

TITLES_PER_LABEL, TITLES_AROUND = 100, 500
"""Titles that a label is made from, evenly spread over its prefix, and titles around it."""
PAGES_KEPT = 256


@dataclass(frozen=True)
class ReleaseIndex:
    """A release in memory.

    Attributes:
        name: such as `precision@v0001`.
        catalog: fingerprint of the catalog that it was made from.
    """

    name: str
    catalog: str
    codes: CodeIndex
    items: ItemStore
    labels: "LRUCache[tuple[Codes, int, int], list[dict[str, Any]]]" = field(default_factory=lambda: LRUCache(PAGES_KEPT))

    def place(self, item_id: str) -> int:
        """Where a product stands in the index; -1 for one that the release does not have."""
        return int(self.codes.place_of.get(item_keys_of([item_id]))[0])

    def places(self, item_ids: Collection[str]) -> frozenset[int]:
        """Where some products stand; those that the release does not have are left out."""
        return frozenset(self.codes.place_of.get(item_keys_of(item_ids)).tolist()) - {-1} if item_ids else frozenset()

    def product(self, place: int, columns: Sequence[str] = ("title",)) -> dict[str, Any]:
        """item_id, semantic_id and some columns of the product at a place."""
        row = int(self.codes.row_N[place])
        ids = {"item_id": self.items.value(row, "item_id"), "semantic_id": format_codes(self.codes.codes_of(place))}
        return {**ids, **self.items.values(row, columns)}

    def allowed(self, row_mask: Mask | None) -> Mask | None:
        """A mask over rows of the item store, turned into one over places."""
        return None if row_mask is None else row_mask[self.codes.row_N]

    def child_prefixes(self, prefix: Codes, first: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """How many prefixes of the next level lie below a prefix, and a page of them: the largest first, each with its label."""
        code_C, count_C = self.codes.children(prefix)
        if (prefix, first, limit) not in self.labels:
            order_C = np.lexsort((code_C, -count_C))[first : first + limit]
            around = self._titles(prefix, TITLES_AROUND)
            self.labels[prefix, first, limit] = [
                {
                    "prefix": format_codes(child := (*prefix, int(code_C[place]))),
                    "products": int(count_C[place]),
                    "label": telling_words(titles := self._titles(child, TITLES_PER_LABEL), [*around, *titles]),
                }
                for place in order_C
            ]
        return len(code_C), self.labels[prefix, first, limit]

    def label(self, prefix: Codes) -> list[str]:
        """The words that tell a prefix from its siblings; none for the root."""
        if not prefix:
            return []
        titles = self._titles(prefix, TITLES_PER_LABEL)
        return telling_words(titles, [*self._titles(prefix[:-1], TITLES_AROUND), *titles])

    def _titles(self, prefix: Codes, most: int) -> list[str]:
        first, end = self.codes.places(prefix)
        spread_M = np.unique(np.linspace(first, end - 1, min(most, end - first)).astype(np.int64))
        rows = (self.items.values(int(self.codes.row_N[place]), ("title", "brand")) for place in spread_M)
        return [without_words(row["title"], row["brand"] or "") for row in rows]


def item_keys_of(item_ids: Collection[str]) -> Keys:
    """Key of each item_id."""
    return item_keys(pa.array(list(item_ids), pa.string()))


def load_release_index(workspace: Workspace, name: str, attributes_folder: str | None) -> ReleaseIndex:
    """Read a release's semantic IDs and codebooks, and open the store of its catalog.

    Raises:
        ShelfcodeError: there is no such release, its files are damaged, or its catalog is gone.
    """
    manifest = load_manifest(workspace, name)
    recipe = release_recipe(manifest)
    codewords = _codewords(workspace, manifest.folder, recipe)
    check_semantic_ids(workspace, f"{manifest.folder}/semantic_ids", manifest.rows.coded, recipe.quantizer.codebook_sizes)
    items = open_store(workspace, manifest.catalog.snapshot, attributes_folder)
    keys, codes = [], []
    for table in workspace.read_tables(workspace.parts(f"{manifest.folder}/semantic_ids"), ["item_id", "codes"]):
        keys.append(item_keys(table["item_id"]))
        codes.append(table_codes(table))
    item_keys_N = np.concatenate(keys)
    row_N = index_keys(items.keys_N).get(item_keys_N)
    if (row_N < 0).any():
        raise ShelfcodeError(f"{name} has {int((row_N < 0).sum()):,} products that its catalog, {manifest.catalog.snapshot}, does not have")
    return ReleaseIndex(name, manifest.catalog.fingerprint, build_index(np.concatenate(codes), item_keys_N, row_N, codewords), items)


def attributes_folder(workspace: Workspace, release: str, flavors: Sequence[str]) -> str | None:
    """Where the attributes of a release's catalog are: its own extractor's, or those of another flavor's release of the same catalog."""
    release_manifest = load_manifest(workspace, release)
    others = [name for flavor in flavors if flavor != release_manifest.flavor and (name := current_name(workspace, flavor))]
    for manifest in (release_manifest, *(load_manifest(workspace, name) for name in others)):
        recipe = release_recipe(manifest)
        if recipe.text_view.kind == "attributes" and manifest.catalog.snapshot == release_manifest.catalog.snapshot:
            return f"attributes/{extractor_name(recipe.extractor)}"
    return None


def _codewords(workspace: Workspace, folder: str, recipe: Recipe) -> list[NDArray[np.float32]]:
    """The codebooks of a release's model, without the model."""
    path = f"{folder}/model.safetensors"
    try:
        weights = load(workspace.read_bytes(path))
        codewords = [weights[f"codebooks.codewords_{level}"] for level in range(len(recipe.quantizer.codebook_sizes))]
    except Exception as error:  # safetensors raises kinds of its own for each way a file can be damaged
        raise ShelfcodeError(f"{workspace.address(path)} cannot be loaded: {str(error).splitlines()[0]}") from error
    sizes = [len(codewords_KD) for codewords_KD in codewords]
    if sizes != recipe.quantizer.codebook_sizes:
        raise ShelfcodeError(f"{workspace.address(path)} has codebooks of {sizes} codewords, its recipe {recipe.quantizer.codebook_sizes}")
    return codewords
