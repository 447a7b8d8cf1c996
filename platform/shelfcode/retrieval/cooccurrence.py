"""What is bought with what, counted: of each product the products that stand in sessions with it most often for how often each is sold."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here S sessions, N products, K neighbours, X products of a cart, C candidates.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shelfcode.interactions.session_log import SessionLog

NEIGHBOURS = 40
LEAST_SALES = 5
"""A product sold less often counts as sold so often: one common session proves nothing."""

LARGEST_SESSION = 200
"""Sessions of more products say nothing of which two belong together."""

PAIRS_AT_A_TIME = 20_000_000


@dataclass(frozen=True)
class Cooccurrence:
    """The neighbours of N products.

    Attributes:
        neighbour_NK: int32, -1 where a product has fewer.
        cosine_NK: float32, or float16 as it is published: common sessions over the root of both products' sessions.
    """

    neighbour_NK: NDArray[np.int32]
    cosine_NK: NDArray[np.floating]

    def of(self, place_N: NDArray[np.integer], products: int) -> "Cooccurrence":
        """The same in another numbering.

        Args:
            place_N: the new place of each product; -1 where it has none.
            products: in the new numbering.
        """
        width, kept = self.neighbour_NK.shape[1], place_N >= 0
        renumbered = np.append(place_N, -1)[self.neighbour_NK[kept]]
        neighbour_MK, cosine_MK = np.full((products, width), -1, np.int32), np.zeros((products, width), self.cosine_NK.dtype)
        neighbour_MK[place_N[kept]], cosine_MK[place_N[kept]] = renumbered, self.cosine_NK[kept]
        return Cooccurrence(neighbour_MK, cosine_MK)

    def with_cart(self, product_C: NDArray[np.integer], cart_X: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The sum and the largest of the cosines of candidates with the products of a cart: float32[C] each."""
        sum_C, most_C = np.zeros(len(product_C), np.float32), np.zeros(len(product_C), np.float32)
        order_C = np.argsort(product_C, kind="stable")
        sorted_C = product_C[order_C]
        neighbour_P, cosine_P = self.neighbour_NK[cart_X].reshape(-1), self.cosine_NK[cart_X].reshape(-1).astype(np.float32)
        slot_P = np.searchsorted(sorted_C, neighbour_P).clip(max=max(0, len(sorted_C) - 1))
        found_P = (neighbour_P >= 0) & (sorted_C[slot_P] == neighbour_P) if len(sorted_C) else np.zeros(len(neighbour_P), bool)
        at_P = order_C[slot_P[found_P]] if len(sorted_C) else slot_P[found_P]
        np.add.at(sum_C, at_P, cosine_P[found_P])
        np.maximum.at(most_C, at_P, cosine_P[found_P])
        return sum_C, most_C


def products_of_groups(log: SessionLog, train_S: NDArray[np.bool_], products: int) -> sparse.csr_array:
    """Which products stand in each session, or with each user where the order means something: 1 or nothing, [groups, products]."""
    event_E = np.repeat(train_S, np.diff(log.first_S))
    group_E = np.repeat(np.asarray(log.user_S) if log.ordered else np.arange(log.sessions), np.diff(log.first_S))[event_E]
    product_E = np.asarray(log.product_E)[event_E]
    shape = (int(group_E.max(initial=0)) + 1, products)
    x_GN = sparse.csr_array((np.ones(len(product_E), np.float32), (group_E, product_E)), shape=shape)
    x_GN.sum_duplicates()
    x_GN.data[:] = 1
    return x_GN


def _sales(log: SessionLog, train_S: NDArray[np.bool_], products: int) -> NDArray[np.int64]:
    return np.bincount(np.asarray(log.product_E)[np.repeat(train_S, np.diff(log.first_S))], minlength=products)


def count_cooccurrence(log: SessionLog, train_S: NDArray[np.bool_], products: int, neighbours: int = NEIGHBOURS) -> Cooccurrence:
    """Count the sessions to learn from; those of users, where order means something and a session is one product's step.

    Item-item cosine (Sarwar et al. 2001). The products of a part of the catalog at a time, so that memory stays bounded.
    """
    x_GN = products_of_groups(log, train_S, products)
    length_G = np.diff(x_GN.indptr)
    x_GN = x_GN[(length_G > 1) & (length_G <= LARGEST_SESSION)]
    sold_N = np.maximum(_sales(log, train_S, products), LEAST_SALES).astype(np.float32)
    transposed_NG, lengths_G = sparse.csr_array(x_GN.T), np.diff(x_GN.indptr)
    pairs_N = np.asarray(transposed_NG @ lengths_G.astype(np.float64))  # at the most so many neighbours has each product
    neighbour_NK, cosine_NK = np.full((products, neighbours), -1, np.int32), np.zeros((products, neighbours), np.float32)
    ends = np.searchsorted(np.cumsum(pairs_N), np.arange(PAIRS_AT_A_TIME, pairs_N.sum() + PAIRS_AT_A_TIME, PAIRS_AT_A_TIME))
    for low, high in zip([0, *(ends + 1)], [*(ends + 1), products], strict=True):
        if low >= min(high, products):
            continue
        part = slice(low, min(high, products))
        common = sparse.csr_array(transposed_NG[part] @ x_GN)
        _keep_best(common, part, sold_N, neighbour_NK, cosine_NK)
    return Cooccurrence(neighbour_NK, cosine_NK)


def _keep_best(
    common: sparse.csr_array, part: slice, sold_N: NDArray[np.float32], neighbour_NK: NDArray[np.int32], cosine_NK: NDArray[np.float32]
) -> None:
    """Put the best neighbours of a range of products in their rows."""
    row_P = np.repeat(np.arange(part.start, part.stop), np.diff(common.indptr))
    column_P = common.indices
    cosine_P = common.data / np.sqrt(sold_N[row_P] * sold_N[column_P])
    others = np.flatnonzero(row_P != column_P)
    row_P, column_P, cosine_P = row_P[others], column_P[others], cosine_P[others]
    order = np.lexsort((column_P, -cosine_P, row_P))
    row_P, column_P, cosine_P = row_P[order], column_P[order], cosine_P[order]
    place_P = np.arange(len(row_P)) - np.searchsorted(row_P, row_P)
    kept = place_P < neighbour_NK.shape[1]
    neighbour_NK[row_P[kept], place_P[kept]] = column_P[kept]
    cosine_NK[row_P[kept], place_P[kept]] = cosine_P[kept]


def nothing_counted(products: int) -> Cooccurrence:
    """Where no product has a neighbour."""
    return Cooccurrence(np.empty((products, 0), np.int32), np.empty((products, 0), np.float32))
