"""Batches that a relevance encoder learns from: some queries, and for each some of its judged products and hard negatives.

Batch `step` depends on the seed and the step alone: not on how many workers share it, nor on whether the run was broken off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.relevance.training_set import RelevanceSet
from shelfcode.interactions.columns import EXACT
from shelfcode.optimisation import Worker

UNJUDGED = -1
"""In place of the label of a hard negative."""


@dataclass(frozen=True)
class Batch:
    """Queries of one step and B products drawn for them.

    Attributes:
        query_A: int64[A], positions of the queries.
        product_B: int64[B], positions of the products.
        owner_B: int64[B], place in query_A of the query that a product was drawn for.
        label_B: int8[B], its label for that query; UNJUDGED for a hard negative.
        negative_AB: bool[A, B], whether a product is no match of a query as far as anybody knows: not judged for it, and not
            in the leaf of one of its Exacts.
    """

    query_A: NDArray[np.int64]
    product_B: NDArray[np.int64]
    owner_B: NDArray[np.int64]
    label_B: NDArray[np.int8]
    negative_AB: NDArray[np.bool_]


class BatchSampler:
    """Draws batches. Every query comes up once per epoch; the last batch of an epoch is filled with queries of the next."""

    def __init__(self, relevance: RelevanceSet, seed: int, queries: int, products: int, hard: int) -> None:
        """`queries` per batch; at most `products` judged ones and `hard` negatives for each."""
        self.relevance, self.seed = relevance, seed
        self.queries, self.products, self.hard = min(queries, len(relevance.queries)), products, hard
        edges = np.arange(len(relevance.queries) + 1)
        self.judged_from = np.searchsorted(relevance.query_R, edges)
        self.hard_from = np.searchsorted(relevance.hard_query_H, edges)
        self.judged_keys = np.sort(_pair_keys(relevance.query_R, relevance.product_R, len(relevance.texts)))
        exact_R = relevance.label_R == EXACT
        leaf_R = relevance.leaf_P[relevance.product_R]
        known_R = exact_R & (leaf_R != NO_LEAF)
        self.leaves = int(relevance.leaf_P.max(initial=0)) + 1
        self.leaf_keys = np.unique(_pair_keys(relevance.query_R[known_R], leaf_R[known_R], self.leaves))
        self.orders: list[NDArray[np.int64]] = []

    def steps(self, epochs: int) -> int:
        """Batches until every query came up so many times; the last one is filled up."""
        return -(-epochs * len(self.relevance.queries) // self.queries)

    def batch(self, step: int) -> Batch:
        """The batch of a step, for all workers together."""
        rng = np.random.default_rng([self.seed, 1, step])
        query_A = self._queries_of(step)
        drawn = [self._draw(int(query), rng) for query in query_A]
        owner_B = np.repeat(np.arange(len(drawn)), [len(products) for products, _ in drawn])
        product_B = np.concatenate([products for products, _ in drawn])
        label_B = np.concatenate([labels for _, labels in drawn])
        return Batch(query_A, product_B, owner_B, label_B, self._negatives(query_A, product_B))

    def share(self, batch: Batch, worker: Worker) -> Batch:
        """A worker's part of a batch: some of its queries, and what was drawn for them."""
        mine = worker.share(len(batch.query_A))
        mine_B = (batch.owner_B >= mine.start) & (batch.owner_B < mine.stop)
        return Batch(
            batch.query_A[mine], batch.product_B[mine_B], batch.owner_B[mine_B] - mine.start, batch.label_B[mine_B],
            batch.negative_AB[mine][:, mine_B],
        )  # fmt: skip

    def _queries_of(self, step: int) -> NDArray[np.int64]:
        epoch, first = divmod(step * self.queries, len(self.relevance.queries))
        query_A = self._order(epoch)[first : first + self.queries]
        if left := self.queries - len(query_A):
            query_A = np.concatenate([query_A, self._order(epoch + 1)[:left]])
        return np.sort(query_A)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """All queries in the order that an epoch takes them: it begins with none that its first batch already has from the epoch before."""
        while len(self.orders) <= epoch:
            order = np.random.default_rng([self.seed, 0, len(self.orders)]).permutation(len(self.relevance.queries))
            if begun := len(self.orders) * len(order) % self.queries:
                first = np.flatnonzero(~np.isin(order, self.orders[-1][-begun:]))[: self.queries - begun]
                order = np.concatenate([order[first], np.delete(order, first)])
            self.orders.append(order)
        return self.orders[epoch]

    def _draw(self, query: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Judged products of a query, at least one Exact among them, then hard negatives."""
        rows = self.judged_from[query] + rng.permutation(self.judged_from[query + 1] - self.judged_from[query])
        labels = self.relevance.label_R[rows]
        first_exact = int(np.flatnonzero(labels == EXACT)[0])
        if first_exact >= self.products:
            rows[[0, first_exact]] = rows[[first_exact, 0]]
        rows = rows[: self.products]
        mined = self.hard_from[query] + rng.permutation(self.hard_from[query + 1] - self.hard_from[query])[: self.hard]
        products = np.concatenate([self.relevance.product_R[rows], self.relevance.hard_product_H[mined]])
        return products, np.concatenate([self.relevance.label_R[rows], np.full(len(mined), UNJUDGED, np.int8)])

    def _negatives(self, query_A: NDArray[np.int64], product_B: NDArray[np.int64]) -> NDArray[np.bool_]:
        judged_AB = _among(_pair_keys(query_A[:, None], product_B, len(self.relevance.texts)), self.judged_keys)
        leaf_B = self.relevance.leaf_P[product_B]
        same_leaf_AB = _among(_pair_keys(query_A[:, None], leaf_B, self.leaves), self.leaf_keys) & (leaf_B != NO_LEAF)
        return ~judged_AB & ~same_leaf_AB


def _pair_keys(left: NDArray[np.integer], right: NDArray[np.integer], rights: int) -> NDArray[np.int64]:
    """One number per pair."""
    return np.asarray(left, dtype=np.int64) * rights + np.asarray(right, dtype=np.int64)


def _among(keys: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys are known; `known` is sorted, and larger by far than `keys`, so that np.isin would sort it anew at every step."""
    if not len(known):
        return np.zeros(keys.shape, dtype=bool)
    return known[np.searchsorted(known, keys).clip(max=len(known) - 1)] == keys
