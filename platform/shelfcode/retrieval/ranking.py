"""The last stage of both retrievers: their best candidates ranked anew by what is known without them.

A model's score says how well a product goes with a request. How often the user had it, how it sold at the retailer and lately, and how near
it is to the cart is known exactly, and a model that learns all of that from tokens blurs it. A small network learns what to add to each
score. It is fitted on the cases that training kept apart to know when to stop, so that it sees scores as honest as they will be. How long
it is fitted is decided by halves: each is asked how it fares with what was learnt from the other. Of few cases little is learnt, or
nothing, and the order stays that of the model.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, C candidates, F features, D width, L levels.

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shelfcode.optimisation import descend
from shelfcode.retrieval.contexts import Contexts, own_products
from shelfcode.retrieval.cooccurrence import Cooccurrence
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.product_vectors import ProductVectors
from shelfcode.retrieval.sharing import Sales, features

POOL = 300
"""Candidates that are ranked."""

FEATURES = (
    "score", "score below the best", "rank", "sales", "never sold", "sales of late", "sales at the retailer", "never sold at the retailer",
    "own count", "own", "own age", "share of the history", "trend", "agreement with the cart", "likeness to the cart",
    "likeness to the nearest", "size of the cart", "size of the history", "bought with the cart",
    "bought with one of the cart",
)  # fmt: skip
HIDDEN, STEPS, LEARNING_RATE, DECAY = 24, 300, 0.01, 0.01
WATCHED_EVERY = 10
"""Steps between two looks at the other half."""

FAINT = 1e-3
"""A cosine that counts as next to nothing."""

LEAST_CASES = 50
"""Of fewer cases nothing is learnt, and the order of the model stays."""


@dataclass(frozen=True)
class Known:
    """What is known of N products besides a model's score.

    Attributes:
        vectors: by which products are alike.
        together: what is bought with what.
    """

    sales: Sales
    codes_NL: NDArray[np.integer]
    vectors: ProductVectors
    together: Cooccurrence


def candidate_features(
    contexts: Contexts, row: int, product_C: NDArray[np.int32], score_C: NDArray[np.float32], known: Known
) -> NDArray[np.float32]:
    """What is known of the candidates of one request, best first: float32[C, F]."""
    own, cart, retailer = own_products(contexts.history(row)), contexts.cart(row), int(contexts.retailer_R[row])
    counted_CF = features(product_C, known.sales, retailer, own)
    history = max(1, int(own.count_O.sum()))
    trend_C = np.log1p(known.sales.late_N[product_C]) - np.log1p(known.sales.all_N[product_C])
    agreement_C, mean_C, nearest_C = _likeness(product_C, cart, known)
    together_C, with_one_C = known.together.with_cart(product_C, cart)
    columns = [
        score_C, score_C - score_C.max(initial=-np.inf), np.log1p(np.arange(len(product_C))), *counted_CF.T,
        np.expm1(counted_CF[:, 5]) / history, trend_C, agreement_C, mean_C, nearest_C,
        np.full(len(product_C), np.log1p(len(cart))), np.full(len(product_C), np.log1p(history)),
        np.log(together_C + FAINT), np.log(with_one_C + FAINT),
    ]  # fmt: skip
    return np.stack([column.astype(np.float32) for column in columns], axis=1)


def _likeness(
    product_C: NDArray[np.int32], cart: NDArray[np.int32], known: Known
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """The levels that each candidate shares with its nearest product of the cart, its mean likeness to the cart and the largest."""
    if not len(cart):
        return tuple(np.zeros(len(product_C)) for _ in range(3))  # type: ignore[return-value]
    same_CXL = known.codes_NL[product_C][:, None] == known.codes_NL[cart][None]
    agreement_C = np.minimum.accumulate(same_CXL, axis=2).sum(2).max(1)
    likeness_CX = known.vectors.of(product_C) @ known.vectors.of(cart).T
    return agreement_C, likeness_CX.mean(1), likeness_CX.max(1)


class Ranker(nn.Module):
    """What is added to a candidate's score, or its logit where it has none, from its features. Before training, nothing."""

    mean_F: Tensor
    scale_F: Tensor

    def __init__(self, features: int = len(FEATURES)) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("scale_F", torch.ones(features))
        layers = (nn.Linear(features, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        self.layers = nn.Sequential(*layers)
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)

    def standardize(self, x_CF: Tensor) -> None:
        """Take over the mean and the spread of features."""
        self.mean_F.copy_(x_CF.mean(0))
        self.scale_F.copy_(x_CF.std(0).clamp(min=1e-3))

    def forward(self, x_CF: Tensor) -> Tensor:
        """For each candidate: [C]."""
        added_C1: Tensor = self.layers(((x_CF - self.mean_F) / self.scale_F).clamp(-5, 5))
        return added_C1[:, 0]


def rank(ranker: Ranker, lists: Lists, contexts: Contexts, known: Known) -> Lists:
    """The same candidates by their scores and what the ranker adds to them."""
    products_RK, scores_RK = lists.products_RK.copy(), lists.scores_RK.copy()
    for row in range(len(lists)):
        count = int((products_RK[row] >= 0).sum())
        if not count:
            continue
        product_C = products_RK[row, :count]
        x_CF = candidate_features(contexts, row, product_C, scores_RK[row, :count], known)
        with torch.inference_mode():
            logit_C = scores_RK[row, :count] + ranker(torch.from_numpy(x_CF)).numpy()
        order = np.argsort(-logit_C, kind="stable")
        products_RK[row, :count], scores_RK[row, :count] = product_C[order], logit_C[order]
    return Lists(products_RK, scores_RK)


@dataclass(frozen=True)
class _Taken:
    """The candidates of some requests, one after the other.

    Attributes:
        x_CF: features.
        of_C: int64, the request of each, 0 to requests - 1.
        taken_C: bool.
    """

    x_CF: Tensor
    of_C: Tensor
    taken_C: Tensor
    requests: int

    def some(self, chosen_R: Tensor) -> "_Taken":
        """Those of some requests."""
        kept_C, place_R = chosen_R[self.of_C], chosen_R.cumsum(0) - 1
        return _Taken(self.x_CF[kept_C], place_R[self.of_C[kept_C]], self.taken_C[kept_C], int(chosen_R.sum()))

    def loss(self, ranker: Ranker) -> Tensor:
        """A softmax over the candidates of each request, all that were taken alike (Cao et al. 2007)."""
        logit_C = self.x_CF[:, 0] + ranker(self.x_CF)
        top_R = torch.full((self.requests,), -torch.inf).scatter_reduce(0, self.of_C, logit_C.detach(), "amax")
        total_R = torch.zeros(self.requests).index_add(0, self.of_C, (logit_C - top_R[self.of_C]).exp())
        return ((total_R.log() + top_R)[self.of_C] - logit_C)[self.taken_C].mean()


def fit_ranker(
    lists: Lists, contexts: Contexts, target_first_R: NDArray[np.int64], target_T: NDArray[np.int32], known: Known, seed: int
) -> Ranker | None:
    """Learn which candidates were taken. None where fewer than LEAST_CASES requests found anything, or nothing better was learnt.

    Args:
        lists: of the model alone.
        target_first_R, target_T: what was taken at each request.
    """
    rows: list[NDArray[np.float32]] = []
    taken: list[NDArray[np.bool_]] = []
    for row in range(len(lists)):
        product_C = lists.products_RK[row][lists.products_RK[row] >= 0]
        taken_C = np.isin(product_C, target_T[target_first_R[row] : target_first_R[row + 1]])
        if taken_C.any():
            rows.append(candidate_features(contexts, row, product_C, lists.scores_RK[row, : len(product_C)], known))
            taken.append(taken_C)
    if len(rows) < LEAST_CASES:
        return None
    of_C = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    everything = _Taken(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(of_C), torch.from_numpy(np.concatenate(taken)), len(rows))
    half_R = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)) % 2 == 0)
    halves = everything.some(half_R), everything.some(~half_R)
    watched = [[loss for _, loss in _fitting(one, other, STEPS, seed)] for one, other in (halves, halves[::-1])]
    steps = WATCHED_EVERY * int(np.argmin(np.sum(watched, axis=0)))
    if not steps:
        return None
    *_, (ranker, _) = _fitting(everything, everything, steps, seed)
    return ranker.eval()


def _fitting(learnt: _Taken, watched: _Taken, until: int, seed: int) -> Iterator[tuple[Ranker, float]]:
    """The ranker and its loss on what is watched, before the first step and after every WATCHED_EVERY."""
    torch.manual_seed(seed)
    ranker = Ranker()
    ranker.standardize(learnt.x_CF)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    for step in range(until + 1):
        if step % WATCHED_EVERY == 0:
            with torch.no_grad():
                yield ranker, float(watched.loss(ranker))
        descend(optimizer, learnt.loss(ranker), LEARNING_RATE * (1 - step / (STEPS + 1)))
