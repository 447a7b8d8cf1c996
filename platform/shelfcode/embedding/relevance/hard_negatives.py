"""Hard negatives: products that the encoder takes for matches of a query, and that nobody judged so.

An unjudged product may still be a match. Left out are therefore the products judged for the query, whatever their label; those in
the leaf of one of its Exacts; and those that the encoder finds about as near as the Exacts themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.interactions.judgments import LABELS, Judgments

QUERIES_AT_ONCE = 64


@dataclass(frozen=True)
class HardNegatives:
    """H hard negatives, sorted by query: int32 query_H, and int64 product_H, positions in the catalog."""

    query_H: NDArray[np.int32]
    product_H: NDArray[np.int64]


def mine_hard_negatives(
    query_QD: NDArray[np.float32], x_ND: NDArray[np.float32], leaf_N: NDArray[np.int32], judgments: Judgments, candidates: int,
    margin: float, products_max: int, seed: int,
) -> HardNegatives:  # fmt: skip
    """The nearest products of each query that are no match as far as anybody knows, at most `candidates` a query.

    Args:
        query_QD: embeddings of the queries, unit norm.
        x_ND: embeddings of the catalog, unit norm; may be memory-mapped.
        leaf_N: leaf of each product, NO_LEAF without one.
        judgments: of the queries; products are rows of x_ND. A query without an Exact gets none.
        margin: a candidate must be this share below the mean similarity of the query's Exacts.
        products_max: of a larger catalog, mine in a random sample of this many.
        seed: of that sample.
    """
    rng = np.random.default_rng([seed, 3])
    rows_M = np.sort(rng.choice(len(x_ND), products_max, replace=False)) if len(x_ND) > products_max else np.arange(len(x_ND))
    x_MD, leaf_M = x_ND[rows_M], leaf_N[rows_M]
    edges = np.searchsorted(judgments.query_R, np.arange(len(judgments.queries) + 1))
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(query_QD), QUERIES_AT_ONCE):
        similarity_AM = query_QD[first : first + QUERIES_AT_ONCE] @ x_MD.T
        for query, similarity_M in enumerate(similarity_AM, start=first):
            judged = slice(edges[query], edges[query + 1])
            product_J, exact_J = judgments.product_R[judged], judgments.label_R[judged] == LABELS.index("E")
            if not exact_J.any():  # nothing says how near is too near
                found.append(np.empty(0, np.int64))
                continue
            near = float((x_ND[product_J[exact_J]] @ query_QD[query]).mean())
            allowed_M = (similarity_M <= near - margin * abs(near)) & ~np.isin(rows_M, product_J)
            leaves = np.setdiff1d(leaf_N[product_J[exact_J]], [NO_LEAF])
            allowed_M &= ~np.isin(leaf_M, leaves)
            nearest = np.argsort(np.where(allowed_M, -similarity_M, np.inf), kind="stable")[: min(candidates, int(allowed_M.sum()))]
            found.append(rows_M[nearest])
    counts = [len(products) for products in found]
    return HardNegatives(np.repeat(np.arange(len(found)), counts).astype(np.int32), np.concatenate(found).astype(np.int64))
