"""How many products of each label have each key: a prefix of their codes, or a text. Arrays, so that millions are found by bisection."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.semantic_id import format_codes, pack


@dataclass(frozen=True)
class LabelCounts:
    """Labelled products by key and label.

    Attributes:
        key_K: int64, sorted.
        begin_K: K + 1 places: the labels of key k are those from begin_K[k] to begin_K[k + 1].
        leaf_M, count_M: the labels of each key, and how many products have them.
    """

    key_K: NDArray[np.int64]
    begin_K: NDArray[np.int64]
    leaf_M: NDArray[np.int32]
    count_M: NDArray[np.int64]

    def get(self, key: int) -> dict[int, int] | None:
        """Leaf -> products with this key; None for a key that is not kept."""
        place = int(np.searchsorted(self.key_K, key))
        if place == len(self.key_K) or self.key_K[place] != key:
            return None
        pairs = slice(int(self.begin_K[place]), int(self.begin_K[place + 1]))
        return dict(zip(self.leaf_M[pairs].tolist(), self.count_M[pairs].tolist(), strict=True))


def count_labels(key_N: NDArray[np.int64], label_N: NDArray[np.int32], products_min: int = 1, labels_min: int = 1) -> LabelCounts:
    """Count the products that have a label.

    Args:
        products_min, labels_min: keys with fewer products, or fewer different labels, are left out.
    """
    labelled_N = label_N != NO_LEAF
    key_K, owner_M = np.unique(key_N[labelled_N], return_inverse=True)
    leaves = int(label_N.max(initial=0)) + 1
    pair_P, count_P = np.unique(owner_M * leaves + label_N[labelled_N], return_counts=True)
    owner_P, leaf_P = np.divmod(pair_P, leaves)
    products_K = np.bincount(owner_P, count_P, len(key_K))
    kept_K = (products_K >= products_min) & (np.bincount(owner_P, minlength=len(key_K)) >= labels_min)
    kept_P = kept_K[owner_P] if len(owner_P) else np.zeros(0, bool)
    begin_K = np.concatenate([[0], np.cumsum(np.bincount(owner_P, minlength=len(key_K))[kept_K])]).astype(np.int64)
    return LabelCounts(key_K[kept_K], begin_K, leaf_P[kept_P].astype(np.int32), count_P[kept_P].astype(np.int64))


@dataclass(frozen=True)
class Census:
    """Labels under the prefixes of each depth that hold enough products, from the longest prefixes to none at all."""

    codebook_sizes: tuple[int, ...]
    depths: tuple[LabelCounts, ...]


@dataclass(frozen=True)
class PrefixLabels:
    """What lies under a product's prefix beside itself: products by leaf, most first; the prefix is "" where it is the whole catalog."""

    prefix: str
    depth: int
    products: int
    labels: tuple[tuple[int, int], ...]

    def of(self, leaf: int) -> int:
        return dict(self.labels).get(leaf, 0)


def take_census(codes_NL: NDArray[np.uint16], codebook_sizes: Sequence[int], label_N: NDArray[np.int32], products_min: int) -> Census:
    """Count the labels under all prefixes with at least so many labelled products, of as many levels as fit into one integer."""
    sizes = list(codebook_sizes)
    while float(np.prod(np.array(sizes, float))) >= 2.0**63:
        sizes.pop()
    depths = [count_labels(pack(codes_NL[:, :depth], sizes[:depth]), label_N, products_min) for depth in range(len(sizes), 0, -1)]
    return Census(tuple(sizes), (*depths, count_labels(np.zeros(len(label_N), np.int64), label_N)))


def labels_around(census: Census, codes_L: NDArray[np.uint16], label: int) -> PrefixLabels:
    """The labels under the longest prefix of a product that is counted, itself left out.

    Args:
        label: of the product; NO_LEAF where it has none, and so was not counted.
    """
    for depth, counted in zip(range(len(census.codebook_sizes), -1, -1), census.depths, strict=True):
        key = int(pack(codes_L[None, :depth], census.codebook_sizes[:depth])[0]) if depth else 0
        if (counts := counted.get(key)) is not None:
            break
    else:
        return PrefixLabels("", 0, 0, ())
    if label != NO_LEAF:
        counts[label] -= 1
    labels = sorted(((leaf, count) for leaf, count in counts.items() if count), key=lambda pair: (-pair[1], pair[0]))
    return PrefixLabels(format_codes(codes_L[:depth].tolist()), depth, sum(counts.values()), tuple(labels))
