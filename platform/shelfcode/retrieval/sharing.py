"""Products that share a semantic ID, told apart: a small model of which of them is meant.

The generator writes an ID; a shop may have thirty products under it. Which of them a user takes is a choice among those, and what
decides it is known without any learning of products: how often each was sold, at this retailer, lately, and whether the user had it
before. So the choice is a conditional logit (McFadden 1974) over a handful of features, fitted on the latest sessions with the sales of
those before them: products that nobody bought until then are among the choices, as they will be.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, C candidates, F features, J choices.

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from shelfcode.interactions.session_log import NO_TIME, SessionLog
from shelfcode.retrieval.contexts import OwnProducts, before_session, own_products

FEATURES = ("sales", "never sold", "sales of late", "sales at the retailer", "never sold at the retailer", "own count", "own", "own age")
LATE_SECONDS = 28 * 24 * 3600
"""What counts as of late."""

CHOICES_MAX, SIBLINGS_MAX = 30_000, 200

BY_SALES = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.float32)
"""Weights where no choice was ever seen."""


SELDOM_SOLD = 0.8
"""Share of the products that were sold that count as seldom sold."""


@dataclass(frozen=True)
class Sales:
    """How often products were sold.

    Attributes:
        all_N, late_N: float32, in the whole log, and in its last four weeks.
        at_retailer: [retailers, N], sparse.
    """

    all_N: NDArray[np.float32]
    late_N: NDArray[np.float32]
    at_retailer: sparse.csr_array

    def at(self, retailer: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The products that a retailer sold, in their order, and how often; none where training did not know it."""
        if not 0 <= retailer < self.at_retailer.shape[0]:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        first, end = self.at_retailer.indptr[retailer : retailer + 2]
        return self.at_retailer.indices[first:end], self.at_retailer.data[first:end]

    @cached_property
    def seldom(self) -> float:
        """A product that was sold so often, or less, is one of those that are seldom sold; 0 where nothing was sold."""
        sold_N = self.all_N[self.all_N > 0]
        return float(np.quantile(sold_N, SELDOM_SOLD)) if len(sold_N) else 0.0

    def sold_or_new(self, retailer: int) -> NDArray[np.int32]:
        """What a retailer sold, and what nobody ever sold, ascending."""
        return np.union1d(self.at(retailer)[0], np.flatnonzero(self.all_N == 0)).astype(np.int32)

    def sold_or_new_everywhere(self) -> list[NDArray[np.int32]]:
        """`sold_or_new` of each retailer."""
        return [self.sold_or_new(retailer) for retailer in range(self.at_retailer.shape[0])]

    def of_retailer(self, retailer: int, product_C: NDArray[np.integer]) -> NDArray[np.float32]:
        """How often a retailer sold some products."""
        sold, count = self.at(retailer)
        if not len(sold):
            return np.zeros(len(product_C), np.float32)
        slot_C = np.searchsorted(sold, product_C).clip(max=len(sold) - 1)
        return np.where(sold[slot_C] == product_C, count[slot_C], np.float32(0))


def count_sales(log: SessionLog, products: int, session_S: NDArray[np.bool_]) -> Sales:
    """Sales in some sessions of a log."""
    chosen_S = session_S
    event_E = np.repeat(chosen_S, np.diff(log.first_S))
    product_E = np.asarray(log.product_E)[event_E]
    at_S = np.asarray(log.at_S)
    timed = chosen_S & (at_S != NO_TIME)
    late_S = chosen_S & (at_S >= (at_S[timed].max() if timed.any() else 0) - LATE_SECONDS) & timed
    late_E = np.repeat(late_S, np.diff(log.first_S))
    retailer_E = np.repeat(np.asarray(log.retailer_S), np.diff(log.first_S))[event_E]
    known_E = retailer_E >= 0
    ones = np.ones(int(known_E.sum()), np.float32)
    shape = (max(1, len(log.retailers)), products)
    at_retailer = sparse.csr_array(sparse.coo_array((ones, (retailer_E[known_E], product_E[known_E])), shape=shape))
    at_retailer.sum_duplicates()
    at_retailer.sort_indices()
    return Sales(
        np.bincount(product_E, minlength=products).astype(np.float32),
        np.bincount(np.asarray(log.product_E)[late_E], minlength=products).astype(np.float32),
        at_retailer,
    )


@dataclass(frozen=True)
class SharingModel:
    """The choice among products of one ID.

    Attributes:
        weight_F: of FEATURES.
        sales: of the log that was learnt from.
    """

    weight_F: NDArray[np.float32]
    sales: Sales

    def scores(self, product_C: NDArray[np.integer], retailer: int, own: OwnProducts) -> NDArray[np.float32]:
        """Logits of some products for one request."""
        return features(product_C, self.sales, retailer, own) @ self.weight_F


def features(product_C: NDArray[np.integer], sales: Sales, retailer: int, own: OwnProducts) -> NDArray[np.float32]:
    """What is known of candidates: float32[C, F], in the order of FEATURES.

    Args:
        retailer: -1 where it is not known.
    """
    all_C, late_C = sales.all_N[product_C], sales.late_N[product_C]
    if retailer >= sales.at_retailer.shape[0]:  # one that training did not know
        retailer = -1
    here_C = sales.of_retailer(retailer, product_C)
    own_count_C, own_age_C = _own(product_C, own)
    columns = [
        np.log1p(all_C), all_C == 0, np.log1p(late_C), np.log1p(here_C), (here_C == 0) & (retailer >= 0), np.log1p(own_count_C),
        own_count_C > 0, np.where(own_count_C > 0, np.log1p(own_age_C), 0),
    ]  # fmt: skip
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


def _own(product_C: NDArray[np.integer], own: OwnProducts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each candidate was had, and how long ago."""
    if not len(own.product_O):
        return np.zeros(len(product_C), np.int64), np.zeros(len(product_C), np.int64)
    order_O = np.argsort(own.product_O)
    sorted_O = own.product_O[order_O]
    slot_C = np.searchsorted(sorted_O, product_C).clip(max=len(sorted_O) - 1)
    had_C = sorted_O[slot_C] == product_C
    at_C = order_O[slot_C]
    return np.where(had_C, own.count_O[at_C], 0), np.where(had_C, own.age_O[at_C], 0)


def fit_sharing(log: SessionLog, train_S: NDArray[np.bool_], leaf_N: NDArray[np.integer], seed: int) -> SharingModel:
    """Learn from the latest sessions how users choose among products that share an ID.

    Args:
        train_S: the sessions to learn from.
        leaf_N: which ID each product has, by number.
    """
    products, random = len(leaf_N), np.random.default_rng(seed)
    later_S = latest_sessions(log, train_S)
    sales = count_sales(log, products, train_S)
    siblings = _Siblings.of(leaf_N)
    event_E = np.flatnonzero(np.repeat(later_S, np.diff(log.first_S)))
    event_E = event_E[siblings.count(leaf_N[np.asarray(log.product_E)[event_E]]) > 1]  # where there is a choice
    event_E = np.sort(random.choice(event_E, min(CHOICES_MAX, len(event_E)), replace=False))
    if not len(event_E):
        return SharingModel(BY_SALES, sales)
    before = count_sales(log, products, train_S & ~later_S)
    rows, choice_C, chosen_J = [], [], []
    session_E = np.searchsorted(log.first_S, event_E, side="right") - 1
    for choice, (event, session) in enumerate(zip(event_E.tolist(), session_E.tolist(), strict=True)):
        product = int(log.product_E[event])
        candidates = siblings.of_leaf(int(leaf_N[product]))
        if len(candidates) > SIBLINGS_MAX:
            others = random.choice(candidates[candidates != product], SIBLINGS_MAX - 1, replace=False)
            candidates = np.append(others, product)
        chosen_J.append(int(np.flatnonzero(candidates == product)[0]))
        rows.append(features(candidates, before, int(log.retailer_S[session]), own_products(before_session(log, session))))
        choice_C.append(np.full(len(candidates), choice))
    return SharingModel(_conditional_logit(np.concatenate(rows), np.concatenate(choice_C), np.array(chosen_J)), sales)


@dataclass(frozen=True)
class _Siblings:
    """The products of each ID."""

    product_N: NDArray[np.int64]
    first_I: NDArray[np.int64]

    @classmethod
    def of(cls, leaf_N: NDArray[np.integer]) -> "_Siblings":
        order_N = np.argsort(leaf_N, kind="stable")
        return cls(order_N, np.searchsorted(leaf_N[order_N], np.arange(int(leaf_N.max()) + 2)))

    def count(self, leaf_E: NDArray[np.integer]) -> NDArray[np.int64]:
        return self.first_I[leaf_E + 1] - self.first_I[leaf_E]

    def of_leaf(self, leaf: int) -> NDArray[np.int64]:
        return self.product_N[self.first_I[leaf] : self.first_I[leaf + 1]]


def latest_sessions(log: SessionLog, train_S: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The last tenth of the time that some sessions cover; without times, every tenth session."""
    at_S = np.where(train_S, np.asarray(log.at_S), NO_TIME)
    known = at_S[train_S]
    if len(known) and (known != NO_TIME).all():
        later_S = train_S & (at_S > known.max() - max(1, (int(known.max()) - int(known.min())) // 10))
        if later_S.any() and (train_S & ~later_S).any():
            return later_S
    later_S = np.zeros(len(train_S), bool)
    later_S[np.flatnonzero(train_S)[9::10]] = True
    return later_S


def _conditional_logit(x_CF: NDArray[np.float32], choice_C: NDArray[np.int64], chosen_J: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights that make the choices most probable, with a little shrinkage."""
    x, choice = torch.from_numpy(x_CF), torch.from_numpy(choice_C)
    chosen = torch.from_numpy(np.searchsorted(choice_C, np.arange(len(chosen_J))) + chosen_J)
    weight_F = torch.zeros(x.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_F], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logit_C = x @ weight_F
        top_J = torch.full((len(chosen),), -torch.inf).scatter_reduce(0, choice, logit_C, "amax")
        total_J = torch.zeros(len(chosen)).index_add(0, choice, (logit_C - top_J[choice]).exp())
        value = (total_J.log() + top_J - logit_C[chosen]).mean() + 1e-4 * weight_F.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight_F.detach().numpy()
