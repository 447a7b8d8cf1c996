"""Which products may be returned: for a retailer, a diet, a brand tier, what is in stock, and less what a request has in its cart.

A set counts its products below every node of the trie, and a node may be taken while the count is above 0. A product that comes or goes
changes one count a level and nothing else. Counts of an intersection do not follow from the counts of its sets (a node may hold products
of both, and none that is in both), so sets are intersected product by product and counted again.

The sets that a server knows stand side by side as flags on a device, so that requests of different retailers share a batch. What a single
request excludes is not one more set: it can only close nodes above its excluded products, and those are listed.
"""
# Tensor suffixes: N products, L levels, V nodes of a level, S sets, R requests, X excluded products, U pairs of a request and a product

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.retrieval.decoder.trie import CodeTrie


@dataclass(frozen=True)
class AllowedSet:
    """Some products of a trie: a byte a product and four a node.

    Attributes:
        holds_N: whether a product is in the set.
        live_LV: int32, products of the set below each node of each level.
    """

    trie: CodeTrie
    holds_N: NDArray[np.bool_]
    live_LV: tuple[NDArray[np.int32], ...]

    def __len__(self) -> int:
        """The products of the set."""
        return int(self.live_LV[0].sum())

    def node_mask(self, level: int) -> NDArray[np.bool_]:
        """Whether each node of a level may be taken."""
        return self.live_LV[level] > 0

    def add(self, product: int) -> bool:
        """Put a product into the set: one count a level. Returns whether it was not in there.

        Raises:
            IndexError: the trie has no such product.
        """
        return self._put(product, True)

    def remove(self, product: int) -> bool:
        """Take a product out of the set: one count a level. Returns whether it was in there.

        Raises:
            IndexError: the trie has no such product.
        """
        return self._put(product, False)

    def _put(self, product: int, held: bool) -> bool:
        _check_products(np.array([product]), self.trie)
        if self.holds_N[product] == held:
            return False
        self.holds_N[product] = held
        for live_V, node in zip(self.live_LV, self.trie.path_IL[self.trie.leaf_N[product]], strict=True):
            live_V[node] += 1 if held else -1
        return True


def allowed_set(trie: CodeTrie, product_M: NDArray[np.integer]) -> AllowedSet:
    """The set of some products, in any order; what is named twice is in there once.

    Raises:
        IndexError: the trie has no such product.
    """
    _check_products(product_M, trie)
    holds_N = np.zeros(len(trie.leaf_N), np.bool_)
    holds_N[product_M.astype(np.int64)] = True
    return _counted(trie, holds_N)


def allowed_where(trie: CodeTrie, holds_N: NDArray[np.bool_]) -> AllowedSet:
    """The set of the products that are marked; later changes of the array are none of the set."""
    return _counted(trie, holds_N.copy())


def _counted(trie: CodeTrie, holds_N: NDArray[np.bool_]) -> AllowedSet:
    """Count up from the products. Takes time with the products in the set, not with those of the trie."""
    leaf_M = np.sort(trie.leaf_N[np.flatnonzero(holds_N)])
    live_LV = []
    for depth, level in enumerate(trie.levels):
        node_M = trie.path_IL[leaf_M, depth]  # ascending, for leaves are
        start_U = np.flatnonzero(np.diff(node_M, prepend=-1))
        live_V = np.zeros(level.nodes, np.int32)
        live_V[node_M[start_U]] = np.diff(start_U, append=len(node_M))
        live_LV.append(live_V)
    return AllowedSet(trie, holds_N, tuple(live_LV))


def intersection(sets: Sequence[AllowedSet]) -> AllowedSet:
    """The products that are in each of some sets of one trie."""
    return _counted(sets[0].trie, np.logical_and.reduce([one.holds_N for one in sets]))


@dataclass(frozen=True)
class Closed:
    """Nodes of one level that single requests may not take, though the set of the request may.

    Attributes:
        parent_R1X: int64[R, 1, X], the node above each; -1 where a request has fewer.
        slot_R1X: int64[R, 1, X], which of the parent's candidates it is.
    """

    parent_R1X: Tensor
    slot_R1X: Tensor


@dataclass(frozen=True)
class Allowed:
    """What each of R requests may be answered with, on a device.

    Attributes:
        may_LSV: bool, `AllowedSets.may_LSV`.
        set_R: int64, the set of each request.
        closed_L: what single requests exclude, level by level; empty where none excludes anything.
    """

    may_LSV: tuple[Tensor, ...]
    set_R: Tensor
    closed_L: tuple[Closed, ...] = ()


@dataclass(frozen=True)
class AllowedSets:
    """Sets of one trie side by side: a byte a node and set on the device. Change them only by these methods.

    Attributes:
        sets: the sets, with their counts.
        may_LSV: bool[sets, nodes + branching], whether each may take each node of each level, and behind the last node nothing; changed
            in place, so that a captured graph sees it.
    """

    sets: list[AllowedSet]
    may_LSV: tuple[Tensor, ...]

    def add(self, number: int, product: int) -> bool:
        """`AllowedSet.add` of one set, on the device too."""
        changed = self.sets[number].add(product)
        return changed and self._show(number, product)

    def remove(self, number: int, product: int) -> bool:
        """`AllowedSet.remove` of one set, on the device too."""
        changed = self.sets[number].remove(product)
        return changed and self._show(number, product)

    def _show(self, number: int, product: int) -> bool:
        """Copy the flags above a product to the device."""
        one = self.sets[number]
        for may_SV, live_V, node in zip(self.may_LSV, one.live_LV, one.trie.path_IL[one.trie.leaf_N[product]].tolist(), strict=True):
            may_SV[number, node] = bool(live_V[node] > 0)
        return True

    def replace(self, number: int, other: AllowedSet) -> None:
        """Put another set of the same trie in the place of one."""
        self.sets[number] = other
        for level, may_SV in enumerate(self.may_LSV):
            may_SV[number] = torch.from_numpy(_flags(other, level))

    def requests(self, set_R: NDArray[np.integer], without_RX: NDArray[np.integer] | None = None) -> Allowed:
        """What R requests may be answered with.

        Args:
            set_R: the set of each request.
            without_RX: products that each request excludes, in any order; -1 where it has fewer. None where no request excludes any.

        Raises:
            IndexError: there is no such set, or the trie has no such product.
        """
        if len(set_R) and not 0 <= int(set_R.min()) <= int(set_R.max()) < len(self.sets):
            raise IndexError(f"sets are numbered from 0 to {len(self.sets) - 1}; asked for {sorted(set(set_R.tolist()))}")
        device = self.may_LSV[0].device
        closed_L = () if without_RX is None else tuple(_close(self.sets, set_R, without_RX, device))
        return Allowed(self.may_LSV, torch.from_numpy(set_R.astype(np.int64)).to(device), closed_L)


def stack_sets(sets: Sequence[AllowedSet], device: torch.device | str = "cpu") -> AllowedSets:
    """Sets of one trie side by side on a device."""
    levels = range(len(sets[0].trie.levels))
    return AllowedSets(list(sets), tuple(torch.from_numpy(np.stack([_flags(one, level) for one in sets])).to(device) for level in levels))


def lay_over(trie: CodeTrie, product_RM: Sequence[NDArray[np.integer]], device: torch.device | str = "cpu") -> Allowed:
    """What R requests may be answered with, where each has products of its own that no other request will ask of.

    Takes time with the products of the requests, some 30 ns each.

    Raises:
        IndexError: the trie has no such product.
    """
    may_LSV = [np.zeros((len(product_RM), level.nodes + level.branching), np.bool_) for level in trie.levels]
    for row, product_M in enumerate(product_RM):
        _check_products(product_M, trie)
        may_LSV[-1][row, trie.leaf_N[product_M]] = True
        path_IL = trie.path_IL[np.flatnonzero(may_LSV[-1][row])]
        for depth, may_SV in enumerate(may_LSV[:-1]):
            may_SV[row, path_IL[:, depth]] = True
    set_R = torch.arange(len(product_RM), device=device)
    return Allowed(tuple(torch.from_numpy(may_SV).to(device) for may_SV in may_LSV), set_R)


def _flags(one: AllowedSet, level: int) -> NDArray[np.bool_]:
    """Whether each node may be taken, and nothing for the candidates that a search looks at behind the last node."""
    return np.pad(one.node_mask(level), (0, one.trie.levels[level].branching))


def _close(
    sets: Sequence[AllowedSet], set_R: NDArray[np.integer], without_RX: NDArray[np.integer], device: torch.device
) -> list[Closed]:  # fmt: skip
    """The nodes of each level that hold nothing but excluded products of the request's set."""
    trie = sets[0].trie
    request_U, product_U = np.nonzero(without_RX >= 0)[0], without_RX[without_RX >= 0].astype(np.int64)
    _check_products(product_U, trie)
    request_U, product_U = np.divmod(np.unique(request_U * len(trie.leaf_N) + product_U), len(trie.leaf_N))
    held_U = _of_sets([one.holds_N for one in sets], set_R[request_U], product_U)
    request_U, leaf_U = request_U[held_U], trie.leaf_N[product_U[held_U]]
    closed = []
    parent_U = np.zeros(len(leaf_U), np.int64)
    for depth, level in enumerate(trie.levels):
        node_U = trie.path_IL[leaf_U, depth].astype(np.int64)
        _, first_Z, excluded_Z = np.unique(request_U * level.nodes + node_U, return_index=True, return_counts=True)
        live_Z = _of_sets([one.live_LV[depth] for one in sets], set_R[request_U[first_Z]], node_U[first_Z])
        first_Z = first_Z[excluded_Z >= live_Z]
        request_Z, at_Z = request_U[first_Z], parent_U[first_Z]
        slot_Z = node_U[first_Z] - (at_Z * level.size if level.first_P is None else level.first_P[at_Z])
        closed.append(_by_request(request_Z, at_Z, slot_Z, without_RX.shape, device))
        parent_U = node_U
    return closed


def _by_request(
    request_Z: NDArray[np.int64], parent_Z: NDArray[np.int64], slot_Z: NDArray[np.int64], shape: tuple[int, ...], device: torch.device
) -> Closed:
    """A row a request, filled from the left.

    Args:
        request_Z: ascending.
    """
    column_Z = np.arange(len(request_Z)) - np.searchsorted(request_Z, request_Z)
    parent_RX, slot_RX = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    parent_RX[request_Z, column_Z], slot_RX[request_Z, column_Z] = parent_Z, slot_Z
    return Closed(torch.from_numpy(parent_RX[:, None]).to(device), torch.from_numpy(slot_RX[:, None]).to(device))


def _of_sets(arrays: Sequence[NDArray[Any]], set_U: NDArray[np.integer], index_U: NDArray[np.int64]) -> NDArray[Any]:
    """Entries of several sets' arrays: `arrays[set_U[u]][index_U[u]]`."""
    found_U = np.zeros(len(index_U), arrays[0].dtype)
    for number in np.unique(set_U).tolist():
        of_set_U = set_U == number
        found_U[of_set_U] = arrays[number][index_U[of_set_U]]
    return found_U


def _check_products(product_M: NDArray[np.integer], trie: CodeTrie) -> None:
    if len(product_M) and not 0 <= int(product_M.min()) <= int(product_M.max()) < len(trie.leaf_N):
        raise IndexError(f"products are numbered from 0 to {len(trie.leaf_N) - 1}; got {int(product_M.min())} to {int(product_M.max())}")
