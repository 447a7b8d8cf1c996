"""One release, laid out to be asked: its codes, what is known of its products, which of them have a value, a label for each prefix.

Its arrays are made once per node and kept on the node's disk, beside the item store; all processes that ask the release map the same files.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import numpy as np
from cachetools import LRUCache
from filelock import FileLock
from numpy.typing import NDArray
from safetensors.numpy import load

from shelfcode.attributes.extractor import extractor_name
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.index.cards import Cards, build_cards
from shelfcode.index.code_index import CodeIndex, build_index
from shelfcode.index.filters import Filters, build_filters
from shelfcode.index.item_store import ItemStore, file_digest, open_store
from shelfcode.index.layout import map_layout, write_layout
from shelfcode.index.prefix_labels import TitleWords, telling_words, title_words, without_words
from shelfcode.keys import KeyIndex, Keys, index_keys, item_key, item_keys
from shelfcode.quantization.semantic_ids import table_codes
from shelfcode.releases.check import check_semantic_ids
from shelfcode.releases.release import Manifest, current_name, load_manifest, release_recipe
from shelfcode.scratch import scratch_folder
from shelfcode.semantic_id import Codes, format_codes
from shelfcode.workspace import Workspace

LAYOUT = 2
"""Version of the files. Raise it with whatever changes how they are built or read, so that older ones are not read."""
LAYOUTS_KEPT = 8
"""Releases of a flavor that stay on a node's disk, those that were opened last."""
TITLES_PER_LABEL, TITLES_AROUND = 100, 500
"""Titles that a label is made from, evenly spread over its prefix, and titles around it."""
LABELS_KEPT, SURROUNDINGS_KEPT = 16_384, 64


@dataclass(frozen=True)
class ReleaseIndex:
    """A release that can be asked.

    Attributes:
        name: such as `precision@v0001`.
        catalog: fingerprint of the catalog that it was made from.
        folder: where its arrays are, on this node.
        place_of_row: row of the item store -> place; -1 for a product that the release does not have.
        filters: which products have a value.
        cards: what is told of each product when nothing particular is asked for.
        price_N: float64, NaN where a product has none.
    """

    name: str
    catalog: str
    folder: Path
    codes: CodeIndex
    items: ItemStore
    place_of_row: NDArray[np.int32]
    filters: Filters
    cards: Cards
    price_N: NDArray[np.float64]
    labels: "LRUCache[Codes, list[str]]" = field(default_factory=lambda: LRUCache(LABELS_KEPT))
    surroundings: "LRUCache[Codes, TitleWords]" = field(default_factory=lambda: LRUCache(SURROUNDINGS_KEPT))
    labelling: Lock = field(default_factory=Lock)

    @property
    def flavor(self) -> str:
        return self.name.partition("@")[0]

    def place(self, item_id: str) -> int:
        """Where a product stands in the index; -1 for one that the release does not have."""
        return self.codes.place_of.find(item_key(item_id))

    def places_of(self, item_ids: Collection[str]) -> NDArray[np.int64]:
        """Where each of some products stands; -1 for those that the release does not have."""
        return self.codes.place_of.get(item_keys_of(item_ids))

    def places(self, item_ids: Collection[str]) -> frozenset[int]:
        """Where some products stand; those that the release does not have are left out."""
        return frozenset(self.places_of(item_ids).tolist()) - {-1} if item_ids else frozenset()

    def item_id(self, place: int) -> str:
        """The item_id of the product at a place."""
        return str(self.items.value(int(self.codes.row_N[place]), "item_id"))

    def product(self, place: int, columns: Sequence[str] = ("title",)) -> dict[str, Any]:
        """item_id, semantic_id and some columns of the product at a place."""
        row = int(self.codes.row_N[place])
        ids = {"item_id": self.items.value(row, "item_id"), "semantic_id": format_codes(self.codes.codes_of(place))}
        return {**ids, **self.items.values(row, columns)}

    def on_card(self, place: int) -> dict[str, Any]:
        """What is on the card of the product at a place: item_id, semantic_id and title."""
        card: dict[str, Any] = msgspec.json.decode(self.cards.card(place) + b"}")
        return card

    def child_prefixes(self, prefix: Codes, first: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """How many prefixes of the next level lie below a prefix, and a page of them: the largest first, each with its label."""
        code_C, count_C = self.codes.children(prefix)
        order_C = np.lexsort((code_C, -count_C))[first : first + limit]
        children = [((*prefix, int(code_C[at])), int(count_C[at])) for at in order_C]
        return len(code_C), [{"prefix": format_codes(child), "products": count, "label": self.label(child)} for child, count in children]

    def label(self, prefix: Codes) -> list[str]:
        """The words that tell a prefix from its siblings; none for the root. Takes a while the first time: never on an event loop."""
        if not prefix:
            return []
        with self.labelling:
            if prefix not in self.labels:
                self.labels[prefix] = telling_words(title_words(self._titles(prefix, TITLES_PER_LABEL)), self._around(prefix[:-1]))
            return self.labels[prefix]

    def _around(self, prefix: Codes) -> TitleWords:
        if prefix not in self.surroundings:
            self.surroundings[prefix] = title_words(self._titles(prefix, TITLES_AROUND))
        return self.surroundings[prefix]

    def _titles(self, prefix: Codes, most: int) -> list[str]:
        first, end = self.codes.places(prefix)
        spread_M = np.unique(np.linspace(first, end - 1, min(most, end - first)).astype(np.int64))
        rows = (self.items.values(row, ("title", "brand")) for row in self.codes.row_N[spread_M].tolist())
        return [without_words(row["title"], row["brand"] or "") for row in rows]


def item_keys_of(item_ids: Collection[str]) -> Keys:
    """Key of each item_id."""
    return np.fromiter(map(item_key, item_ids), np.uint64, len(item_ids))


def load_release_index(workspace: Workspace, name: str, attributes_folder: str | None) -> ReleaseIndex:
    """Open a release on this node. The first process to do so reads its files and lays it out; those that come meanwhile wait.

    Raises:
        ShelfcodeError: there is no such release, its files are damaged, or its catalog is gone.
    """
    manifest = load_manifest(workspace, name)
    items = open_store(workspace, manifest.catalog.snapshot, attributes_folder)
    flavor, content = (
        file_digest(workspace.url, manifest.flavor),
        file_digest(LAYOUT, _hash_version(), manifest.model_dump_json(), items.name),
    )
    folder = scratch_folder() / f"release-{flavor}-{content}"
    with FileLock(scratch_folder() / f"release-{flavor}.lock"):
        if not folder.exists():
            arrays = _arrays(workspace, manifest, items)
            try:
                write_layout(folder, arrays, {"name": name, "catalog": manifest.catalog.fingerprint, "items": items.name})
            except OSError as error:
                raise ShelfcodeError(
                    f"{name} cannot be laid out in {folder.parent} (SHELFCODE_SCRATCH names another folder): {error}"
                ) from error
        os.utime(folder)
        _forget_earlier(scratch_folder().glob(f"release-{flavor}-*"))
        return open_release_index(folder, items)


def open_release_index(folder: Path, items: ItemStore | None = None) -> ReleaseIndex:
    """A release that is laid out on this node.

    Args:
        items: its store, where it is open already.

    Raises:
        OSError: it is not laid out, or its item store is gone.
    """
    arrays, told = map_layout(folder)
    codewords = tuple(arrays[f"codewords_{level}"] for level in range(len(arrays["codes_LB"])))
    codes = CodeIndex(
        tuple(map(len, codewords)), codewords, arrays["packed_B"], arrays["codes_LB"], arrays["first_B"], arrays["norm_B"],
        KeyIndex(arrays["keys_K"], arrays["places_K"]), arrays["row_N"],
    )  # fmt: skip
    filters = Filters(**{each.name: arrays[f"filters_{each.name}"] for each in fields(Filters)})
    cards = Cards(**{each.name: arrays[f"cards_{each.name}"] for each in fields(Cards)})
    items = items or ItemStore(folder.parent / told["items"])
    return ReleaseIndex(told["name"], told["catalog"], folder, codes, items, arrays["place_of_row"], filters, cards, arrays["price_N"])


def _arrays(workspace: Workspace, manifest: Manifest, items: ItemStore) -> dict[str, NDArray[Any]]:
    """Read a release, and lay it out."""
    recipe = release_recipe(manifest)
    codewords = _codewords(workspace, manifest.folder, recipe)
    check_semantic_ids(workspace, f"{manifest.folder}/semantic_ids", manifest.rows.coded, recipe.quantizer.codebook_sizes)
    keys, codes = [], []
    for table in workspace.read_tables(workspace.parts(f"{manifest.folder}/semantic_ids"), ["item_id", "codes"]):
        keys.append(item_keys(table["item_id"]))
        codes.append(table_codes(table))
    item_keys_N = np.concatenate(keys)
    row_N = index_keys(items.keys_N).get(item_keys_N)
    if strangers := int((row_N < 0).sum()):
        raise ShelfcodeError(f"{manifest.name} has {strangers:,} products that its catalog, {manifest.catalog.snapshot}, does not have")
    index = build_index(np.concatenate(codes), item_keys_N, row_N, codewords)
    place_of_row = np.full(len(items), -1, np.int32)
    place_of_row[index.row_N] = np.arange(len(index), dtype=np.int32)
    filters, cards = build_filters(items, place_of_row), build_cards(index, items)
    return {
        "packed_B": index.packed_B, "codes_LB": index.codes_LB, "first_B": index.first_B, "norm_B": index.norm_B,
        "keys_K": index.place_of.keys_K, "places_K": index.place_of.values_K, "row_N": index.row_N, "place_of_row": place_of_row,
        "price_N": items.numbers("price")[index.row_N],
        **{f"codewords_{level}": codewords_KD for level, codewords_KD in enumerate(codewords)},
        **{f"filters_{each.name}": getattr(filters, each.name) for each in fields(Filters)},
        **{f"cards_{each.name}": getattr(cards, each.name) for each in fields(Cards)},
    }  # fmt: skip


def _forget_earlier(folders: Iterable[Path]) -> None:
    """Remove what was opened longest ago; a process that has it mapped keeps it until it ends."""
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)[LAYOUTS_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def _hash_version() -> int:
    """Keys lie in the files, so files of another hash are not read."""
    return item_key("a product")


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
