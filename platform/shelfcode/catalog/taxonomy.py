"""The catalog's own tree as arrays: which products share a leaf, a parent, or nothing at all.

Paths may differ in length. A product's *leaf* is the node that its whole path names, even where other paths go deeper.
The root above the first names does not count as an ancestor: two products whose first names differ are *unrelated*.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.cells.category_paths import name_key

NO_LEAF = -1
"""Leaf of a product without a category path. Such a product takes part in no contrastive pair."""

SAME_LEAF, SIBLING_LEAF, RELATED, UNRELATED, UNKNOWN = 3, 2, 1, 0, -1
"""How two products are related. RELATED: they share an ancestor, but not the parent. UNKNOWN: one of them has no path."""

_JOINT = "\x1f"


@dataclass(frozen=True)
class Taxonomy:
    """Leaves of N products, and the tree of at most D levels above the P leaves.

    Attributes:
        leaf_of_N: int32, the leaf of each product; NO_LEAF where it has no path.
        paths: the category path of each leaf, root first.
        ancestors_PD: int32, the node at each depth of each leaf's path, the leaf included; -1 beyond its end.
            Node numbers are unique across depths, so equal entries in one column mean equal paths down to that depth.
        parent_P: int32, the node above each leaf; -1 for a leaf at the top.
    """

    leaf_of_N: NDArray[np.int32]
    paths: tuple[tuple[str, ...], ...]
    ancestors_PD: NDArray[np.int32]
    parent_P: NDArray[np.int32]

    @property
    def depth(self) -> int:
        """Number of names in the longest path."""
        return int(self.ancestors_PD.shape[1])

    def of(self, positions_M: NDArray[np.integer]) -> "Taxonomy":
        """The same tree with some of the products."""
        return replace(self, leaf_of_N=self.leaf_of_N[positions_M])

    def without_leaves(self, names: Collection[str]) -> "Taxonomy":
        """The same tree, in which a path that ends in one of `names`, as names are compared, says nothing about a product."""
        ignored = set(map(name_key, names))
        says_P = np.array([name_key(path[-1]) not in ignored for path in self.paths])
        kept_N = (self.leaf_of_N != NO_LEAF) & says_P[self.leaf_of_N]
        return replace(self, leaf_of_N=np.where(kept_N, self.leaf_of_N, NO_LEAF).astype(np.int32))

    def lca_depth(self, leaf_a: NDArray[np.integer], leaf_b: NDArray[np.integer]) -> NDArray[np.int64]:
        """Depth of the lowest common ancestor of leaves, elementwise and broadcasting; 0 where there is none, or a leaf is NO_LEAF."""
        a, b = self.ancestors_PD[leaf_a], self.ancestors_PD[leaf_b]
        known = (np.asarray(leaf_a) != NO_LEAF) & (np.asarray(leaf_b) != NO_LEAF)
        return ((a == b) & (a >= 0)).sum(axis=-1) * known

    def relation(self, leaf_a: NDArray[np.integer], leaf_b: NDArray[np.integer]) -> NDArray[np.int8]:
        """SAME_LEAF, SIBLING_LEAF, RELATED, UNRELATED or UNKNOWN of leaves, elementwise and broadcasting."""
        leaf_a, leaf_b = np.asarray(leaf_a), np.asarray(leaf_b)
        parent_a, parent_b = self.parent_P[leaf_a], self.parent_P[leaf_b]
        sibling = (parent_a == parent_b) & (parent_a >= 0)
        related = self.ancestors_PD[leaf_a, 0] == self.ancestors_PD[leaf_b, 0]
        unknown = (leaf_a == NO_LEAF) | (leaf_b == NO_LEAF)
        relation = np.select([unknown, leaf_a == leaf_b, sibling, related], [UNKNOWN, SAME_LEAF, SIBLING_LEAF, RELATED], UNRELATED)
        return relation.astype(np.int8)

    def labels_at(self, depth: int) -> NDArray[np.int32]:
        """Node of each product's path at a depth, which counts from 1: int32[N]; -1 where the path is shorter or missing."""
        node_P = self.ancestors_PD[:, depth - 1]
        return np.where(self.leaf_of_N == NO_LEAF, -1, node_P[self.leaf_of_N]).astype(np.int32)


def build_taxonomy(leaf_of_N: NDArray[np.integer], paths: Sequence[Sequence[str]]) -> Taxonomy:
    """The tree above leaves that are already numbered.

    A catalog without a single path gives a taxonomy with one nameless leaf that no product has.
    """
    leaf_paths = tuple(tuple(path) for path in paths) or (("",),)
    depth = max(len(path) for path in leaf_paths)
    nodes: dict[tuple[str, ...], int] = {}
    ancestors_PD = np.full((len(leaf_paths), depth), -1, dtype=np.int32)
    for leaf, path in enumerate(leaf_paths):
        for length in range(1, len(path) + 1):
            ancestors_PD[leaf, length - 1] = nodes.setdefault(path[:length], len(nodes))
    parent_P = np.array([nodes[path[:-1]] if len(path) > 1 else -1 for path in leaf_paths], dtype=np.int32)
    return Taxonomy(np.asarray(leaf_of_N, dtype=np.int32), leaf_paths, ancestors_PD, parent_P)


def taxonomy_from_batches(category_paths: Iterable[pa.ListArray]) -> Taxonomy:
    """The taxonomy of a catalog that streams by in batches of category paths; null or empty means no path.

    Names that differ only in case, white space or unseen characters are one category, shown as most products spell it.
    Holds only the distinct paths and one int32 per product.
    """
    number_of: dict[str, int] = {}
    leaves: list[NDArray[np.int32]] = []
    for batch in category_paths:
        joined = pc.binary_join(batch, _JOINT).dictionary_encode()
        numbers = [number_of.setdefault(path, len(number_of)) if path else NO_LEAF for path in joined.dictionary.to_pylist()]
        index = joined.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        leaves.append(np.array([*numbers, NO_LEAF], dtype=np.int32)[index])
    spelling_of_N = np.concatenate(leaves) if leaves else np.empty(0, dtype=np.int32)
    products_S = np.bincount(spelling_of_N[spelling_of_N != NO_LEAF], minlength=len(number_of))
    leaf_of_S, paths = _one_spelling([path.split(_JOINT) for path in number_of], products_S)
    return build_taxonomy(np.append(leaf_of_S, np.int32(NO_LEAF))[spelling_of_N], paths)


def _one_spelling(paths: Sequence[Sequence[str]], products_S: NDArray[np.integer]) -> tuple[NDArray[np.int32], list[tuple[str, ...]]]:
    """Paths without those that are only spelled otherwise: the place of each among the remaining ones, and these.

    A category is spelled as most of the products in it and below it do; of equally frequent spellings the first in the alphabet counts.
    """
    spelled: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    keys = []
    for path, products in zip(paths, products_S.tolist(), strict=True):
        key = tuple(map(name_key, path))
        keys.append(key)
        for depth, name in enumerate(path, start=1):
            spelled[key[:depth]][name] += products
    shown = {key: min(names, key=lambda name: (-names[name], name)) for key, names in spelled.items()}
    leaf_of = {key: leaf for leaf, key in enumerate(dict.fromkeys(keys))}
    merged = [tuple(shown[key[:depth]] for depth in range(1, len(key) + 1)) for key in leaf_of]
    return np.array([leaf_of[key] for key in keys], dtype=np.int32), merged


def taxonomy_from_paths(paths: Sequence[Sequence[str] | None]) -> Taxonomy:
    """The same for paths in one list."""
    return taxonomy_from_batches([pa.array(paths, type=pa.list_(pa.string()))])
