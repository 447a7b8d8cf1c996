"""Hard negatives: products that the encoder takes for matches of a query, though nobody judged them to be.

An unjudged product may still be a match. So these are left out: products judged for the query, whatever their label; those in
the leaf of one of its Exacts; and those that the encoder finds about as near as the Exacts themselves. Of products with one vector
only the first is a candidate: copies would teach the same again, in the place of others.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.neighbours import first_copies, nearest_to
from shelfcode.interactions.columns import EXACT
from shelfcode.interactions.judgments import Judgments

SEARCHED_PER_CANDIDATE = 4


@dataclass(frozen=True)
class HardNegatives:
    """H hard negatives, sorted by query: int32 query_H, and int64 product_H, positions in the catalog."""

    query_H: NDArray[np.int32]
    product_H: NDArray[np.int64]


def mined_rows(products: int, products_max: int, seed: int) -> NDArray[np.int64]:
    """Places of the products that may be hard negatives: all of a catalog, or a random sample of a larger one. In rising order."""
    if products <= products_max:
        return np.arange(products)
    return np.sort(np.random.default_rng([seed, 3]).choice(products, products_max, replace=False))


@dataclass(frozen=True)
class MinedProducts:
    """What mining reads of a catalog.

    Attributes:
        positions_M: of the products whose vectors are read, rising: those that may be hard negatives, and those that are judged.
        judgments: with places among them instead of positions in the catalog.
        rows_M: places of those that may be hard negatives.
    """

    positions_M: NDArray[np.int64]
    judgments: Judgments
    rows_M: NDArray[np.int64]


def products_to_read(judgments: Judgments, products: int, products_max: int, seed: int) -> MinedProducts:
    """The part of a catalog that is read: of a large one a sample, and what is judged, wherever the sample ends."""
    mined_N = mined_rows(products, products_max, seed)
    positions_M = np.union1d(mined_N, judgments.product_R).astype(np.int64)
    placed = replace(judgments, product_R=np.searchsorted(positions_M, judgments.product_R))
    return MinedProducts(positions_M, placed, np.searchsorted(positions_M, mined_N))


def mine_hard_negatives(
    query_QD: NDArray[np.float32], x_ND: NDArray[np.float32], leaf_N: NDArray[np.int32], judgments: Judgments, candidates: int,
    margin: float, rows_M: NDArray[np.integer],
) -> HardNegatives:  # fmt: skip
    """The nearest products of each query that are no match as far as anybody knows, at most `candidates` per query.

    Args:
        query_QD: embeddings of the queries, unit norm.
        x_ND: embeddings of products, unit norm; may be memory-mapped.
        leaf_N: leaf of each of them, NO_LEAF without one.
        judgments: of the queries; products are rows of x_ND. A query without an Exact gets none: nothing says how near is too near.
        margin: a candidate must be this share below the mean similarity of the query's Exacts.
        rows_M: the rows of x_ND that may be hard negatives, in rising order.
    """
    x_MD, leaf_M = x_ND if len(rows_M) == len(x_ND) else x_ND[rows_M], leaf_N[rows_M]
    copy_of_M = first_copies(x_MD)
    edges = np.searchsorted(judgments.query_R, np.arange(len(judgments.queries) + 1))
    mined = [np.empty(0, np.int64)] * len(query_QD)
    left = [query for query in range(len(query_QD)) if (judgments.label_R[edges[query] : edges[query + 1]] == EXACT).any()]
    count = min(SEARCHED_PER_CANDIDATE * candidates, len(rows_M))
    while left:  # products near the query that are excluded may be many: then look further
        near, too_few = nearest_to(query_QD[left], x_MD, count), []
        for query, index_K, cosine_K in zip(left, near.index_NK, near.cosine_NK, strict=True):
            judged = slice(edges[query], edges[query + 1])
            product_J, exact_J = judgments.product_R[judged], judgments.label_R[judged] == EXACT
            mean = float((x_ND[product_J[exact_J]] @ query_QD[query]).mean())
            leaves = np.setdiff1d(leaf_N[product_J[exact_J]], [NO_LEAF])
            allowed_K = (cosine_K <= mean - margin * abs(mean)) & ~np.isin(rows_M[index_K], product_J) & ~np.isin(leaf_M[index_K], leaves)
            found = index_K[allowed_K]
            found = found[np.sort(np.unique(copy_of_M[found], return_index=True)[1])]
            mined[query] = rows_M[found[:candidates]]
            if len(mined[query]) < candidates and count < len(rows_M):
                too_few.append(query)
        left, count = too_few, min(SEARCHED_PER_CANDIDATE * count, len(rows_M))
    counts = [len(products) for products in mined]
    return HardNegatives(np.repeat(np.arange(len(mined)), counts).astype(np.int32), np.concatenate(mined).astype(np.int64))
