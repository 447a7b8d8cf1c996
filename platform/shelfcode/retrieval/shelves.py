"""What requests may be answered with: what the retailer has, and less what the request has in its cart.

In bulk, few retailers are asked of again and again, and their sets stand side by side (`RetailerShelves`). Online, each request has filters
of its own and stock changes between any two, so each brings its own products (`RequestShelves`), which are laid over the trie when it is
answered: a millisecond for 30,000 products, and no memory for retailers that nobody asks of.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, N products, M products of one set.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.decoder.allowed import Allowed, AllowedSets, allowed_set, allowed_where, lay_over, stack_sets
from shelfcode.retrieval.decoder.trie import CodeTrie, TrieTensors
from shelfcode.retrieval.sharing import Sales


class Shelves(Protocol):
    """Where answers come from. The requests that it is asked of are those of the contexts, in their order."""

    @property
    def trie(self) -> CodeTrie: ...

    @property
    def tensors(self) -> TrieTensors: ...

    def allowed(self, contexts: Contexts) -> Allowed:
        """The nodes of the trie that each request may take."""
        ...

    def open_to(self, contexts: Contexts) -> Iterator[NDArray[np.bool_]]:
        """For each request bool[N], the products that it may be answered with."""
        ...

    def rows(self, low: int, high: int) -> "Shelves":
        """Those of a range of the requests."""
        ...


@dataclass(frozen=True)
class RetailerShelves:
    """One set of products a retailer, and behind them one for retailers that nobody knows, which is everything.

    Attributes:
        available: products of each retailer; None: what it sold, and what nobody ever sold.
    """

    trie: CodeTrie
    tensors: TrieTensors
    sales: Sales
    available: Sequence[NDArray[np.integer]] | None

    @cached_property
    def sets(self) -> AllowedSets:
        """The set of each retailer, and of all; made when they are first asked of, since they take much memory."""
        listed = self.available if self.available is not None else self.sales.sold_or_new_everywhere()
        everything = allowed_where(self.trie, np.ones(len(self.trie.leaf_N), bool))
        return stack_sets([*(allowed_set(self.trie, product_M) for product_M in listed), everything], self.tensors.device)

    def set_of(self, retailer_R: NDArray[np.integer]) -> NDArray[np.int64]:
        """The set of each request."""
        last = len(self.sets.sets) - 1
        return np.where((retailer_R >= 0) & (retailer_R < last), retailer_R, last).astype(np.int64)

    def to(self, device: torch.device) -> "RetailerShelves":
        """The same on another device."""
        return replace(self, tensors=self.trie.to(device))

    def allowed(self, contexts: Contexts) -> Allowed:
        return self.sets.requests(self.set_of(contexts.retailer_R), _carts(contexts))

    def open_to(self, contexts: Contexts) -> Iterator[NDArray[np.bool_]]:
        for row, number in enumerate(self.set_of(contexts.retailer_R).tolist()):
            may_N = self.sets.sets[number].holds_N.copy()
            may_N[contexts.cart(row)] = False
            yield may_N

    def rows(self, low: int, high: int) -> "RetailerShelves":  # noqa: ARG002
        """The same: these shelves are of retailers, and not of requests."""
        return self


@dataclass(frozen=True)
class RequestShelves:
    """The products of each of R requests, all that is filtered taken out before.

    Attributes:
        product_RM: of each request, without repetitions.
    """

    trie: CodeTrie
    tensors: TrieTensors
    product_RM: Sequence[NDArray[np.integer]]

    def allowed(self, contexts: Contexts) -> Allowed:  # noqa: ARG002
        return lay_over(self.trie, self.product_RM, self.tensors.device)

    def open_to(self, contexts: Contexts) -> Iterator[NDArray[np.bool_]]:  # noqa: ARG002
        for product_M in self.product_RM:
            may_N = np.zeros(len(self.trie.leaf_N), np.bool_)
            may_N[product_M] = True
            yield may_N

    def rows(self, low: int, high: int) -> "RequestShelves":
        return RequestShelves(self.trie, self.tensors, self.product_RM[low:high])


def open_shelves(trie: CodeTrie, sales: Sales, available: Sequence[NDArray[np.integer]] | None, device: torch.device) -> RetailerShelves:
    """Shelves on a device.

    Args:
        available: products of each retailer; None: what it sold, and what nobody ever sold.
    """
    return RetailerShelves(trie, trie.to(device), sales, available)


def _carts(contexts: Contexts) -> NDArray[np.int32]:
    """The carts as a matrix, padded with -1."""
    length_R = np.diff(contexts.cart_first_R)
    cart_RX = np.full((len(contexts), max(1, int(length_R.max(initial=0)))), -1, np.int32)
    row_C = np.repeat(np.arange(len(contexts)), length_R)
    cart_RX[row_C, np.arange(len(row_C)) - contexts.cart_first_R[row_C]] = contexts.cart_C
    return cart_RX
