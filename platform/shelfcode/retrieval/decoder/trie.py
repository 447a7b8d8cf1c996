"""The semantic IDs that exist as a trie in plain arrays, laid out so that a beam search can gather the children of many nodes at once.

A level's nodes are the prefixes that end there, in the order of their packed prefix (`shelfcode.semantic_id.pack`). The nodes of the last
level are the leaves: the distinct semantic IDs. So the children of a node lie side by side, and so do the leaves and products below it.

A level is laid out in one of two ways. Sparse (CSR): the nodes are the prefixes that exist; `first_P` says where the children of each
parent begin, and `code_V` which codeword each node adds. Dense: every codeword below every parent is a node, number `parent * size + code`,
whether it exists or not, so that children need no look-up; the set of what is allowed (allowed.py) knows which exist. The sparse layout
gives a search `branching` candidates a beam and the dense one `size`, so dense pays only where most codewords occur below some parent.
"""
# Tensor suffixes: N products, L levels, I semantic IDs (leaves), V nodes of a level, P their parents (and at the end, where they end)

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.semantic_id import pack, unpack

DENSE_NODES = 1 << 16
"""A level with more nodes than this in the dense layout is sparse: every set of allowed products has a flag and a count a node."""
DENSE_SHARE = 0.5
"""A level is dense where a parent has at least this share of the codewords as children (constraint_cost.py measures both layouts)."""


@dataclass(frozen=True)
class TrieLevel:
    """The nodes of one level.

    Attributes:
        size: codewords of the level.
        nodes: V; in the dense layout with those that do not exist.
        branching: candidates below each parent: the most children that a parent has, or in the dense layout `size`.
        first_P: int32[parents + 1], first child of each parent; None in the dense layout.
        code_V: int32[V], codeword of each node; None in the dense layout.
    """

    size: int
    nodes: int
    branching: int
    first_P: NDArray[np.int32] | None
    code_V: NDArray[np.int32] | None


@dataclass(frozen=True)
class LevelTensors:
    """A `TrieLevel` on a device. Behind the last node stands one more, without children or codeword: where a beam is that is at no node.

    Attributes:
        parents, nodes, branching: as there.
        range_P2: int64[parents + 1, 2], first child of each parent and where its children end; None in the dense layout.
        code_V: int32[V + branching], codeword of each node, then zeros; None in the dense layout.
        slot_C: int64, 0 ... branching - 1.
    """

    parents: int
    nodes: int
    branching: int
    range_P2: Tensor | None
    code_V: Tensor | None
    slot_C: Tensor


@dataclass(frozen=True)
class TrieTensors:
    """What a beam search needs of a `CodeTrie`, on a device."""

    levels: tuple[LevelTensors, ...]

    @property
    def device(self) -> torch.device:
        return self.levels[0].slot_C.device


@dataclass(frozen=True)
class CodeTrie:
    """The codes of N products.

    Attributes:
        sizes: codewords per level.
        levels: how the nodes of each level are laid out.
        codes_IL: uint16, the semantic ID of each leaf.
        path_IL: int32, the node on each level above each leaf; on the last level the leaf itself.
        leaf_N: int32, leaf of each product.
        first_I: int64[leaves + 1], where the products of each leaf begin in `product_N`.
        product_N: int32, the products in the order of their leaves, and within a leaf in their own.
    """

    sizes: tuple[int, ...]
    levels: tuple[TrieLevel, ...]
    codes_IL: NDArray[np.uint16]
    path_IL: NDArray[np.int32]
    leaf_N: NDArray[np.int32]
    first_I: NDArray[np.int64]
    product_N: NDArray[np.int32]

    @property
    def leaves(self) -> int:
        return len(self.codes_IL)

    @property
    def bytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        arrays: list[NDArray[Any]] = [self.codes_IL, self.path_IL, self.leaf_N, self.first_I, self.product_N]
        arrays += [array for level in self.levels for array in (level.first_P, level.code_V) if array is not None]
        return sum(array.nbytes for array in arrays)

    def products(self, leaf_M: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The products of some leaves, in the order of the leaves given.

        Args:
            leaf_M: leaves; -1 is a leaf without products.

        Returns:
            The products, and for each the place in `leaf_M` of the leaf that it is of.
        """
        some_M = np.maximum(leaf_M, 0)
        first_M = self.first_I[some_M]
        count_M = np.where(leaf_M < 0, 0, self.first_I[some_M + 1] - first_M)
        of_P = np.repeat(np.arange(len(leaf_M)), count_M)
        start_M = np.cumsum(count_M) - count_M
        return self.product_N[np.arange(len(of_P)) - start_M[of_P] + first_M[of_P]], of_P

    def to(self, device: torch.device | str) -> TrieTensors:
        """What a beam search needs, as tensors on a device."""
        return TrieTensors(tuple(_level_to(level, torch.device(device)) for level in self.levels))


def build_trie(
    codes_NL: NDArray[np.integer], sizes: Sequence[int], dense_nodes: int = DENSE_NODES, dense_share: float = DENSE_SHARE
) -> CodeTrie:
    """Lay out the codes of products. Ten million products take a few seconds.

    Args:
        sizes: codewords per level.
        dense_nodes, dense_share: when a level is dense: `DENSE_NODES` and `DENSE_SHARE`. The last level never is.

    Raises:
        ValueError: there are no products, a code is outside its codebook, or the codebooks together need more than 63 bits.
    """
    if not len(codes_NL):
        raise ValueError("a trie needs the codes of at least one product")
    sizes = tuple(int(size) for size in sizes)
    packed_N = pack(codes_NL, sizes)
    product_N = np.argsort(packed_N, kind="stable").astype(np.int32)
    packed_N = packed_N[product_N]
    start_I = _starts(packed_N)
    packed_I = packed_N[start_I]
    first_I = np.append(start_I, len(packed_N))
    leaf_N = np.empty(len(packed_N), np.int32)
    leaf_N[product_N] = np.repeat(np.arange(len(packed_I), dtype=np.int32), np.diff(first_I))
    path_IL = np.empty((len(packed_I), len(sizes)), np.int32)
    levels, parents, parent_I = [], 1, np.zeros(len(packed_I), np.int32)
    for depth, size in enumerate(sizes):
        prefix_I = packed_I // prod(sizes[depth + 1 :])
        last = depth == len(sizes) - 1
        level, path_IL[:, depth] = _lay_out(prefix_I, parent_I, parents, size, 0 if last else dense_nodes, dense_share)
        levels.append(level)
        parents, parent_I = level.nodes, path_IL[:, depth]
    return CodeTrie(sizes, tuple(levels), unpack(packed_I, sizes), path_IL, leaf_N, first_I, product_N)


def _lay_out(
    prefix_I: NDArray[np.int64], parent_I: NDArray[np.int32], parents: int, size: int, dense_nodes: int, dense_share: float
) -> tuple[TrieLevel, NDArray[np.int32]]:
    """A level and the node of each leaf on it.

    Args:
        prefix_I: packed prefix of each leaf down to this level, ascending.
        parent_I, parents: the node of each leaf on the level above, and how many nodes that has.
    """
    start_V = _starts(prefix_I)
    parent_V, code_V = parent_I[start_V], (prefix_I[start_V] % size).astype(np.int32)
    first_P = np.searchsorted(parent_V, np.arange(parents + 1, dtype=np.int32)).astype(np.int32)
    branching = int(np.diff(first_P).max())
    if parents * size <= dense_nodes and branching >= dense_share * size:
        return TrieLevel(size, parents * size, size, None, None), parent_I * np.int32(size) + (prefix_I % size).astype(np.int32)
    node_I = np.repeat(np.arange(len(start_V), dtype=np.int32), np.diff(np.append(start_V, len(prefix_I))))
    return TrieLevel(size, len(start_V), branching, first_P, code_V), node_I


def _starts(ascending_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.append(True, ascending_N[1:] != ascending_N[:-1]))


def _level_to(level: TrieLevel, device: torch.device) -> LevelTensors:
    slot_C = torch.arange(level.branching, device=device)
    if level.first_P is None or level.code_V is None:
        return LevelTensors(level.nodes // level.size, level.nodes, level.branching, None, None, slot_C)
    end_P = np.append(level.first_P[1:], np.int32(level.nodes))
    range_P2 = torch.from_numpy(np.stack([level.first_P, end_P], axis=1).astype(np.int64)).to(device)
    code_V = torch.from_numpy(np.pad(level.code_V, (0, level.branching))).to(device)
    return LevelTensors(len(end_P) - 1, level.nodes, level.branching, range_P2, code_V, slot_C)
