"""What training sees: a sample of a large catalog, and the batch of each step.

A hierarchical batch is drawn so that the contrastive term has something to learn from: about half of it hangs below one parent category,
the rest lies elsewhere. In a uniform one all products are equally likely.

A batch is a pure function of (seed, step): it does not depend on the number of workers that share it, and a training
that resumes at a step sees the batches that it would have seen. Products of a leaf are drawn several at a time (a *slot*).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.keys import Keys

SETUP, SAMPLE, PAIRS, NOISE, KINDS = 1, 2, 3, 4, 5
"""Purposes of random numbers: each has a stream of its own under the seed, the same on every worker."""

OVERDRAW = 2
"""Products outside the parent's top category may take up to this many times their share of the catalog in the rest of a batch. Where one
top category has nearly all products, the few others would otherwise fill half of every batch."""


@dataclass(frozen=True)
class HierarchicalSampler:
    """Products sorted by leaf, and what is needed to draw a leaf in proportion to its products.

    Memory: one int32 per product, plus a few numbers per leaf.

    Attributes:
        order_N: int32, products sorted by leaf, those without a path first.
        leaf_end_P: int64, where each leaf ends in `order_N`, leaves sorted so that those of one parent, and of one top
            category, lie side by side; `start` is where the first begins.
        parent_first_Q, parent_last_Q: int64, first leaf of each parent and the one after its last.
        parent_end_Q: int64, cumulative number of products under the parents.
        top_span_Q2: int64, where the top category of each parent begins and ends in `order_N`.
    """

    order_N: NDArray[np.int32]
    start: int
    leaf_end_P: NDArray[np.int64]
    parent_first_Q: NDArray[np.int64]
    parent_last_Q: NDArray[np.int64]
    parent_end_Q: NDArray[np.int64]
    top_span_Q2: NDArray[np.int64]
    seed: int
    batch_size: int
    parent_share: float
    products_per_slot: int

    def batch(self, step: int) -> NDArray[np.int64]:
        """Positions of the products of a batch: int64[batch_size]."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, step]))
        parent = int(np.searchsorted(self.parent_end_Q, rng.integers(self.parent_end_Q[-1]), side="right"))
        first, last = self._leaf_start(int(self.parent_first_Q[parent])), int(self.leaf_end_P[self.parent_last_Q[parent] - 1])
        top_first, top_last = (int(end) for end in self.top_span_Q2[parent])
        products = len(self.order_N)
        # Products without a path keep their share of the parent's half: no parent would ever draw them.
        half = round(self.batch_size * self.parent_share)
        pathless = round(half * self.start / products)
        rest = self.batch_size - half
        elsewhere = products - (top_last - top_first)
        unrelated = min(rest, rest * elsewhere * OVERDRAW // products)
        drawn = [
            self._slots(rng, half - pathless, first, last),
            self._slots(rng, pathless, 0, self.start),
            self._slots_around(rng, unrelated, top_first, top_last),
            self._slots(rng, rest - unrelated, 0, products),
        ]
        return self.order_N[np.concatenate(drawn)].astype(np.int64)

    def _slots(self, rng: np.random.Generator, products: int, first: int, last: int) -> NDArray[np.int64]:
        return self._fill(rng, rng.integers(first, last, size=self._slot_count(products)), products)

    def _slots_around(self, rng: np.random.Generator, products: int, first: int, last: int) -> NDArray[np.int64]:
        """Slots from anywhere outside a span, in proportion to products."""
        anchor_S = rng.integers(len(self.order_N) - (last - first), size=self._slot_count(products))
        return self._fill(rng, anchor_S + (anchor_S >= first) * (last - first), products)

    def _fill(self, rng: np.random.Generator, anchor_S: NDArray[np.int64], products: int) -> NDArray[np.int64]:
        """Several products from the leaf of each anchor. Products without a path count as one leaf here."""
        leaf_S = np.searchsorted(self.leaf_end_P, anchor_S, side="right")
        begin_S = np.where(leaf_S == 0, self.start, self.leaf_end_P[leaf_S - 1])
        end_S = self.leaf_end_P[np.minimum(leaf_S, len(self.leaf_end_P) - 1)]
        pathless_S = anchor_S < self.start
        begin_S, end_S = np.where(pathless_S, 0, begin_S), np.where(pathless_S, self.start, end_S)
        drawn = begin_S + (rng.random((self.products_per_slot, len(anchor_S))) * (end_S - begin_S)).astype(np.int64)
        drawn[0] = anchor_S
        return drawn.T.reshape(-1)[:products]

    def _slot_count(self, products: int) -> int:
        return -(-products // self.products_per_slot)

    def _leaf_start(self, leaf: int) -> int:
        return self.start if leaf == 0 else int(self.leaf_end_P[leaf - 1])


@dataclass(frozen=True)
class UniformSampler:
    """Batches in which all products are equally likely: for targets, and for a catalog whose taxonomy tells no products apart."""

    products: int
    seed: int
    batch_size: int

    def batch(self, step: int) -> NDArray[np.int64]:
        """Positions of the products of a batch: int64[batch_size]."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, step]))
        return rng.integers(self.products, size=self.batch_size)


def build_sampler(
    taxonomy: Taxonomy, seed: int, batch_size: int, parent_share: float, products_per_slot: int
) -> HierarchicalSampler | UniformSampler:
    """The sampler of a catalog: hierarchical, or uniform where fewer than two leaves have products."""
    leaf_of_N = taxonomy.leaf_of_N
    used = np.unique(leaf_of_N[leaf_of_N != NO_LEAF])
    if len(used) < 2:
        return UniformSampler(len(leaf_of_N), seed, batch_size)
    # A leaf at the top is its own parent here. Sorted by top category, then by parent, so that both are unbroken spans.
    parent_U = np.where(taxonomy.parent_P[used] >= 0, taxonomy.parent_P[used], taxonomy.ancestors_PD[used, 0])
    top_U = taxonomy.ancestors_PD[used, 0]
    by_place = np.lexsort((used, parent_U, top_U))
    used, parent_U, top_U = used[by_place], parent_U[by_place], top_U[by_place]
    rank_of_leaf = np.zeros(len(taxonomy.parent_P) + 1, dtype=np.int32)  # the last entry is NO_LEAF's
    rank_of_leaf[used] = np.arange(1, len(used) + 1)
    rank_N = rank_of_leaf[leaf_of_N]
    order_N = np.argsort(rank_N, kind="stable").astype(np.int32)
    count = np.bincount(rank_N, minlength=len(used) + 1)
    leaf_end_P = np.cumsum(count)[1:]
    leaf_start_P = leaf_end_P - count[1:]
    parent_first_Q = np.flatnonzero(np.r_[True, parent_U[1:] != parent_U[:-1]])
    parent_last_Q = np.r_[parent_first_Q[1:], len(used)]
    products_Q = leaf_end_P[parent_last_Q - 1] - leaf_start_P[parent_first_Q]
    top_first = np.searchsorted(top_U, top_U[parent_first_Q], side="left")
    top_last = np.searchsorted(top_U, top_U[parent_first_Q], side="right")
    return HierarchicalSampler(
        order_N=order_N, start=int(count[0]), leaf_end_P=leaf_end_P,
        parent_first_Q=parent_first_Q, parent_last_Q=parent_last_Q, parent_end_Q=np.cumsum(products_Q),
        top_span_Q2=np.stack([leaf_start_P[top_first], leaf_end_P[top_last - 1]], axis=1),
        seed=seed, batch_size=batch_size, parent_share=parent_share, products_per_slot=products_per_slot,
    )  # fmt: skip


def sample_rows(rows: int, at_most: int, seed: int) -> NDArray[np.int64]:
    """All rows, or a random sample of them, in rising order: int64[M]."""
    if rows <= at_most:
        return np.arange(rows)
    return np.sort(numpy_stream(seed, SAMPLE).choice(rows, at_most, replace=False))


def sample_keys(keys_N: Keys, at_most: int, seed: int) -> NDArray[np.int64]:
    """All rows, or those whose keys come first under a hash, in rising order: int64[M].

    The sample does not depend on the order of the rows, and a catalog that has grown keeps most of it.
    """
    if len(keys_N) <= at_most:
        return np.arange(len(keys_N))
    # Steele, Lea and Flood 2014, the finaliser of SplitMix64: neighbouring seeds give samples that have nothing to do with each other.
    mixed_N = keys_N ^ np.uint64(number_of(seed, SAMPLE))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(shift))) * np.uint64(factor)
    return np.sort(np.argpartition(mixed_N, at_most)[:at_most])


def numpy_stream(seed: int, *purpose: int) -> np.random.Generator:
    """Random numbers for one purpose: streams of different purposes or seeds share no numbers."""
    return np.random.Generator(np.random.Philox(key=number_of(seed, *purpose)))


def torch_stream(seed: int, *purpose: int) -> torch.Generator:
    """`numpy_stream` for torch, on the CPU."""
    return torch.Generator().manual_seed(number_of(seed, *purpose))


def number_of(*numbers: int) -> int:
    """One seed from several numbers, well apart for neighbouring ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
