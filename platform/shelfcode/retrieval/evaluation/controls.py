"""Retrievers that learn nothing, or only count: what a trained one has to beat.

Each answers requests with products that are allowed at the retailer and not in the cart. Equal scores are settled by sales: at the
retailer, then in all, then the first product. So a list goes on with what sells best where a control has nothing more to say.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, B requests of a batch, C candidates, U distinct products of carts.

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shelfcode.retrieval.best import best_of
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.cooccurrence import LEAST_SALES
from shelfcode.retrieval.evaluation.cases import rows_of
from shelfcode.retrieval.evaluation.retailer_products import RetailerProducts
from shelfcode.retrieval.evaluation.training_counts import TrainingCounts
from shelfcode.retrieval.lists import Lists

SCORES_AT_ONCE = 1 << 23
"""Requests times products whose scores are held in memory: 32 MB, and some times that while they are sorted."""

REQUESTS_AT_ONCE = 4_096
"""Requests that are prepared together: which products are bought with any of their carts is counted once."""

VECTORS_AT_ONCE = 65_536

LARGEST_SESSION = 500
"""Sessions of more products say nothing of which two belong together, and their pairs would fill the memory."""

OWN_WEIGHT = 5

Scorer = Callable[[NDArray[np.int64], NDArray[np.int32]], NDArray[np.float32]]
"""Requests int64[B] and candidates int32[C] -> scores float32[B, C]."""

Prepare = Callable[[int, int], Scorer]
"""The scorer of a range of requests."""


def popularity(contexts: Contexts, sales: TrainingCounts, allowed: RetailerProducts, number: int) -> Lists:
    """What the retailer sells most; what sells most in all where the retailer is not known.

    Args:
        number: K, products a list.
    """

    def score(rows_B: NDArray[np.int64], candidates_C: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.zeros((len(rows_B), len(candidates_C)), np.float32)

    return _answers(contexts, sales, allowed, number, lambda *_: score)


def own_frequency(
    contexts: Contexts, sales: TrainingCounts, allowed: RetailerProducts, number: int, own_RN: csr_array | None = None
) -> Lists:
    """What the user had most often.

    Args:
        own_RN: float32, how often each request's user had each product; counted from the histories of the requests when left out.
    """
    own = history_counts(contexts, sales.products) if own_RN is None else own_RN
    return _answers(contexts, sales, allowed, number, lambda *_: lambda rows_B, candidates_C: _block(own[rows_B], candidates_C))


def item_cosine(contexts: Contexts, sales: TrainingCounts, allowed: RetailerProducts, number: int) -> Lists:
    """What is bought with the cart: the sum over its products i of s_ij / sqrt(s_i max(s_j, LEAST_SALES)), s sessions with i, j, or both.

    Item-to-item collaborative filtering by cosine (Sarwar et al., 2001), exact.
    """
    return _answers(contexts, sales, allowed, number, _cosine(contexts, sales))


def item_cosine_and_own(
    contexts: Contexts, sales: TrainingCounts, allowed: RetailerProducts, number: int, own_RN: csr_array | None = None
) -> Lists:
    """The score of `item_cosine` times 1 + OWN_WEIGHT x how often the user had the product.

    Args:
        own_RN: as in `own_frequency`.
    """
    own = history_counts(contexts, sales.products) if own_RN is None else own_RN
    prepare_cosine = _cosine(contexts, sales)

    def prepare(low: int, high: int) -> Scorer:
        cosine = prepare_cosine(low, high)
        return lambda rows_B, candidates_C: cosine(rows_B, candidates_C) * (1 + OWN_WEIGHT * _block(own[rows_B], candidates_C))

    return _answers(contexts, sales, allowed, number, prepare)


def text_neighbours(
    contexts: Contexts,
    x_ND: NDArray[np.float32],
    sales: TrainingCounts,
    allowed: RetailerProducts,
    number: int,
    of: Literal["mean", "nearest"] = "nearest",
) -> Lists:
    """Products whose text is like the cart's: by cosine to the nearest one of its vectors, or to their mean.

    On The Complete Journey the nearest finds more than the mean: Recall@20 .041 against .026, and of products never sold .033 against .018.

    Args:
        x_ND: of unit norm, in memory or memory-mapped.
    """
    cart_RN = cart_counts(contexts, sales.products)

    def mean(rows_B: NDArray[np.int64], candidates_C: NDArray[np.int32]) -> NDArray[np.float32]:
        used_U, cart_BU = _used(cart_RN[rows_B])
        return _cosines(np.asarray(cart_BU @ _vectors(x_ND, used_U), np.float32), x_ND, candidates_C)

    def nearest(rows_B: NDArray[np.int64], candidates_C: NDArray[np.int32]) -> NDArray[np.float32]:
        used_U, cart_BU = _used(cart_RN[rows_B])
        cosine_UC = _cosines(_vectors(x_ND, used_U), x_ND, candidates_C)
        carts = np.split(cart_BU.indices, cart_BU.indptr[1:-1])
        return np.stack([cosine_UC[cart].max(axis=0, initial=-1) for cart in carts])

    return _answers(contexts, sales, allowed, number, lambda *_: mean if of == "mean" else nearest)


def cart_counts(contexts: Contexts, products: int) -> csr_array:
    """1 for each product of each request's cart: float32[R, N]."""
    return _ones(contexts.cart_first_R, contexts.cart_C, products, counted=False)


def history_counts(contexts: Contexts, products: int) -> csr_array:
    """How often each request's history holds each product: float32[R, N]."""
    return _ones(contexts.history_first_R, contexts.history_H, products, counted=True)


def _ones(first_R: NDArray[np.int64], product_C: NDArray[np.int32], products: int, counted: bool) -> csr_array:
    row_C, known_C = rows_of(first_R), product_C >= 0
    shape = (len(first_R) - 1, products)
    counts = csr_array((np.ones(int(known_C.sum()), np.float32), (row_C[known_C], product_C[known_C])), shape=shape)
    counts.sum_duplicates()
    if not counted:
        counts.data[:] = 1
    return counts


def _answers(contexts: Contexts, sales: TrainingCounts, allowed: RetailerProducts, number: int, prepare: Prepare) -> Lists:
    """The best candidates of each request, by what `prepare` gives; requests of one retailer share their candidates."""
    cart_RN = cart_counts(contexts, sales.products)
    product_RK = np.full((len(contexts), number), -1, np.int32)
    score_RK = np.full((len(contexts), number), -np.inf, np.float32)
    for low in range(0, len(contexts), REQUESTS_AT_ONCE):
        high = min(low + REQUESTS_AT_ONCE, len(contexts))
        score = prepare(low, high)
        for retailer in np.unique(contexts.retailer_R[low:high]):
            candidates_C = _best_selling_first(allowed.at(int(retailer)), sales, int(retailer))
            rows = low + np.flatnonzero(contexts.retailer_R[low:high] == retailer)
            for rows_B in _batches(rows, sales.products):
                score_BC = score(rows_B, candidates_C)
                score_BC[_block(cart_RN[rows_B], candidates_C) > 0] = -np.inf
                column_BK, best_BK = best_of(score_BC, number)
                score_RK[rows_B] = best_BK
                product_RK[rows_B] = np.where(column_BK < 0, -1, np.append(candidates_C, -1)[column_BK])
    return Lists(product_RK, score_RK)


def _best_selling_first(candidates_C: NDArray[np.int32], sales: TrainingCounts, retailer: int) -> NDArray[np.int32]:
    """The same candidates; the first of equally good ones is the one that is answered."""
    here_N = np.zeros(sales.products, np.float32)
    if retailer >= 0:
        of_retailer = sales.retailer_MN[[retailer]]
        here_N[of_retailer.indices] = of_retailer.data
    return candidates_C[np.lexsort((candidates_C, -sales.sold_N[candidates_C], -here_N[candidates_C]))]


def _batches(rows: NDArray[np.int64], products: int) -> Iterator[NDArray[np.int64]]:
    step = max(1, SCORES_AT_ONCE // max(products, 1))
    return (rows[first : first + step] for first in range(0, len(rows), step))


def _block(values_BN: csr_array, columns_C: NDArray[np.int32]) -> NDArray[np.float32]:
    """Some columns of sparse rows: float32[B, C]."""
    return np.asarray(values_BN[:, columns_C].toarray(), np.float32)


def _cosine(contexts: Contexts, sales: TrainingCounts) -> Prepare:
    """For each range of requests, count once what was bought with any product of their carts."""
    cart_RN = cart_counts(contexts, sales.products)
    sessions_N = np.bincount(sales.session_SN.indices, minlength=sales.products).astype(np.float32)
    session_SN = sales.session_SN[np.diff(sales.session_SN.indptr) <= LARGEST_SESSION]
    session_NS = session_SN.T.tocsr()
    norm_N = np.sqrt(np.maximum(sessions_N, LEAST_SALES))

    def prepare(low: int, high: int) -> Scorer:
        used_U, cart_BU = _used(cart_RN[low:high])
        together_UN = session_NS[used_U] @ session_SN
        weighted_BU = cart_BU.multiply(1 / np.sqrt(np.maximum(sessions_N[used_U], 1))[None, :]).tocsr()

        def score(rows_B: NDArray[np.int64], candidates_C: NDArray[np.int32]) -> NDArray[np.float32]:
            return _block(weighted_BU[rows_B - low] @ together_UN, candidates_C) / norm_N[candidates_C]

        return score

    return prepare


def _used(cart_BN: csr_array) -> tuple[NDArray[np.int64], csr_array]:
    """The distinct products of some carts, int64[U], and the carts with a column for each of these."""
    used_U, column_C = np.unique(cart_BN.indices, return_inverse=True)
    return used_U.astype(np.int64), csr_array((cart_BN.data, column_C, cart_BN.indptr), shape=(cart_BN.shape[0], len(used_U)))


def _vectors(x_ND: NDArray[np.float32], product_U: NDArray[np.integer]) -> NDArray[np.float32]:
    return np.asarray(x_ND[product_U], np.float32)


def _cosines(query_BD: NDArray[np.float32], x_ND: NDArray[np.float32], candidates_C: NDArray[np.int32]) -> NDArray[np.float32]:
    """Cosines float32[B, C] to each candidate; 0 for a query of zeros."""
    length_B1 = np.linalg.norm(query_BD, axis=1, keepdims=True)
    unit_BD = query_BD / np.maximum(length_B1, np.finfo(np.float32).tiny)
    cosine_BC = np.empty((len(query_BD), len(candidates_C)), np.float32)
    for first in range(0, len(candidates_C), VECTORS_AT_ONCE):
        part = slice(first, first + VECTORS_AT_ONCE)
        np.matmul(unit_BD, _vectors(x_ND, candidates_C[part]).T, out=cosine_BC[:, part])
    return cosine_BC
