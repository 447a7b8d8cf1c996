"""Products that nobody bought yet, ranked by where their codes put them.

No model learns a product that is in no session, and among a third of a catalog the generator's own probabilities hardly tell one such
product from another. What is known is its neighbourhood: how its prefixes sell, of late and at this retailer, how many of their products
wait for a first sale and how many had it lately, and how often the cart and the user's history are there. A small network learns from past
first sales which neighbourhoods they fall into. Only products that share two codewords with something in the cart or the history are
looked at: the codes are the index.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels, V nodes of a level, C candidates, F features, J choices.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from shelfcode.interactions.session_log import NO_TIME, SessionLog
from shelfcode.optimisation import descend
from shelfcode.retrieval.contexts import Contexts, before_session
from shelfcode.retrieval.decoder.trie import CodeTrie
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.product_vectors import ProductVectors
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.sharing import Sales, count_sales

NEAR_LEVEL = 1
"""Candidates share the codewords up to this level, counted from 0, with a product of the cart or the history."""

OF_A_PREFIX = 5
"""Features of a prefix: sales of late, products never sold, products first sold of late, the ratio of these two, products sold."""

WINDOWS = (0.4, 0.7, 0.9)
"""Where the windows whose first sales are learnt from begin, as shares of the sessions in time; each ends where the next one begins."""

CHOICES_OF_A_WINDOW, CHOICES_OF_A_SESSION, OTHERS = 4000, 4, 150
LEAST_CHOICES = 200
"""Of fewer first sales nothing is learnt."""

SOLD_BYTES = 64 * 2**20
"""Of the sales of retailers below prefixes that are kept."""

STEPS, CHOICES_AT_ONCE, LEARNING_RATE, DECAY = 200, 256, 0.01, 0.05


@dataclass(frozen=True)
class Neighbourhoods:
    """What is known of the prefixes of N products.

    Attributes:
        prefix_LVF: float32[V, OF_A_PREFIX] of each level.
        waiting_U: int32, the products never sold, in the order of their leaves, and so of their nodes on NEAR_LEVEL.
        first_V: int64[V + 1], where those of each such node begin.
        vectors: by which products are alike.
        sold: retailer -> log(1 + its sales) below each node of each level; of those that were asked of last.
    """

    trie: CodeTrie
    sales: Sales
    prefix_LVF: tuple[NDArray[np.float32], ...]
    waiting_U: NDArray[np.int32]
    first_V: NDArray[np.int64]
    vectors: ProductVectors
    sold: "LRUCache[int, list[NDArray[np.float32]]]" = field(default_factory=lambda: LRUCache(SOLD_BYTES, _bytes))

    def nodes(self, product_C: NDArray[np.integer]) -> NDArray[np.int32]:
        """The nodes above some products: int32[C, L]."""
        return self.trie.path_IL[self.trie.leaf_N[product_C]]

    def sold_at(self, retailer: int) -> list[NDArray[np.float32]]:
        """log(1 + sales of a retailer) below each node of each level: float32[V] each."""
        if (known := self.sold.get(retailer)) is not None:
            return known
        product_M, count_M = self.sales.at(retailer)
        node_ML = self.nodes(product_M)
        counted = [np.bincount(node_ML[:, level], count_M, size.nodes) for level, size in enumerate(self.trie.levels)]
        found = [np.log1p(count_V).astype(np.float32) for count_V in counted]
        if _bytes(found) <= SOLD_BYTES:
            self.sold[retailer] = found
        return found

    def told_apart(self, product_C: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Candidates that differ in what is known of them: those of one ID are one, where vectors follow from codes.

        Args:
            product_C: in the order of `near`.

        Returns:
            The places of one of each, and of each candidate which of these it is.
        """
        if not self.vectors.by_codes:
            return np.arange(len(product_C)), np.arange(len(product_C))
        begins_C = np.diff(self.trie.leaf_N[product_C], prepend=-1) != 0
        return np.flatnonzero(begins_C), np.cumsum(begins_C) - 1

    def near(self, cart: NDArray[np.int32], history: NDArray[np.int32]) -> NDArray[np.int32]:
        """The products never sold that share their first codewords with one of the cart or the history."""
        around = np.unique(np.concatenate([cart, history]))
        node_M = np.unique(self.nodes(around)[:, _near_level(self.trie)])
        return np.concatenate([np.empty(0, np.int32), *(self.waiting_U[self.first_V[node] : self.first_V[node + 1]] for node in node_M)])


def _bytes(arrays: Sequence[NDArray[np.float32]]) -> int:
    return sum(array.nbytes for array in arrays)


def neighbourhoods(trie: CodeTrie, sales: Sales, vectors: ProductVectors) -> Neighbourhoods:
    """Count what every prefix has sold and has not."""
    waiting_N = sales.all_N == 0
    fresh_N = (sales.late_N > 0) & (sales.late_N >= sales.all_N)  # all of its sales are late ones
    levels = []
    for level in range(len(trie.sizes)):
        late_V, waiting_V, fresh_V, sold_V = (
            np.log1p(_per_node(trie, level, count_N)) for count_N in (sales.late_N, waiting_N, fresh_N, ~waiting_N)
        )
        levels.append(np.stack([late_V, waiting_V, fresh_V, fresh_V - waiting_V, sold_V], axis=1).astype(np.float32))
    near = _near_level(trie)
    waiting_U = np.flatnonzero(waiting_N).astype(np.int32)
    waiting_U = waiting_U[np.argsort(trie.leaf_N[waiting_U], kind="stable")]
    first_V = np.searchsorted(trie.path_IL[trie.leaf_N[waiting_U], near], np.arange(trie.levels[near].nodes + 1))
    return Neighbourhoods(trie, sales, tuple(levels), waiting_U, first_V, vectors)


def _near_level(trie: CodeTrie) -> int:
    return min(NEAR_LEVEL, len(trie.sizes) - 1)


def _per_node(trie: CodeTrie, level: int, count_N: NDArray[np.generic]) -> NDArray[np.float64]:
    """A count of products as one of the nodes of a level."""
    count_I = np.bincount(trie.leaf_N, count_N, minlength=trie.leaves)
    return np.bincount(trie.path_IL[:, level], count_I, minlength=trie.levels[level].nodes).astype(np.float64)


def feature_count(levels: int) -> int:
    """Features of a candidate, with codes of so many levels."""
    return levels * (OF_A_PREFIX + 3) + 6


def first_sale_features(
    product_C: NDArray[np.int32], cart: NDArray[np.int32], history: NDArray[np.int32], retailer: int, around: Neighbourhoods
) -> NDArray[np.float32]:
    """What speaks for each candidate: float32[C, F].

    Args:
        retailer: -1 where it is not known.
    """
    node_CL, sold_LV = around.nodes(product_C), around.sold_at(retailer)
    given = [around.nodes(of) for of in (cart, history)]
    columns = []
    for level, prefix_VF in enumerate(around.prefix_LVF):
        node_C = node_CL[:, level]
        columns += [prefix_VF[node_C], sold_LV[level][node_C][:, None]]
        columns += [np.log1p(_counts(node_HL[:, level], node_C))[:, None] for node_HL in given]
    vector_CD = around.vectors.of(product_C)
    for of in (cart, np.unique(history)):
        likeness_CX = vector_CD @ around.vectors.of(of).T if len(of) else np.zeros((len(product_C), 1), np.float32)
        columns += [likeness_CX.max(1, keepdims=True), likeness_CX.mean(1, keepdims=True)]
    columns.append(np.full((len(product_C), 2), [np.log1p(len(cart)), np.log1p(len(history))]))
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _counts(node_H: NDArray[np.int32], node_C: NDArray[np.int32]) -> NDArray[np.int64]:
    """How often each of some nodes stands among others."""
    distinct_M, count_M = np.unique(node_H, return_counts=True)
    if not len(distinct_M):
        return np.zeros(len(node_C), np.int64)
    slot_C = np.searchsorted(distinct_M, node_C).clip(max=len(distinct_M) - 1)
    return np.where(distinct_M[slot_C] == node_C, count_M[slot_C], 0)


@dataclass(frozen=True)
class NeverSoldModel:
    """Which of the products never sold is bought first.

    Attributes:
        network: a logit for each candidate from its features.
        log_share: logarithm of how many targets are candidates here, for one that is among the candidates of the retriever itself.
    """

    network: Ranker
    log_share: float


def add_never_sold(
    lists: Lists, contexts: Contexts, open_to: Iterator[NDArray[np.bool_]], model: NeverSoldModel, around: Neighbourhoods,
    number_R: NDArray[np.integer],
) -> Lists:  # fmt: skip
    """Lists with the likeliest products never sold among the others.

    A score is taken for the logarithm of a probability up to a constant of its list. That of a product never sold is its share of all such
    candidates, times the part of targets that are among them, times what the list adds up to.

    Args:
        open_to: for each request bool[N], the products that may be answered.
        number_R: products that are added to each list at the most; a list has no more than it had places.
    """
    products_RK, scores_RK = lists.products_RK.copy(), lists.scores_RK.copy()
    for row, may_N in enumerate(open_to):
        cart, history = contexts.cart(row), contexts.history(row)
        product_C = around.near(cart, history)
        product_C = product_C[may_N[product_C]]
        old_K = products_RK[row] >= 0
        if not len(product_C) or not old_K.any():
            continue
        one_of_M, of_C = around.told_apart(product_C)
        x_MF = first_sale_features(product_C[one_of_M], cart, history, int(contexts.retailer_R[row]), around)
        with torch.inference_mode():
            share_C = model.network(torch.from_numpy(x_MF))[torch.from_numpy(of_C)].log_softmax(0).numpy()
        best = _best(share_C, int(number_R[row]))
        total = np.logaddexp.reduce(scores_RK[row, old_K], dtype=np.float64)
        others = old_K & ~np.isin(products_RK[row], product_C[best])
        product_M = np.concatenate([products_RK[row, others], product_C[best]])
        score_M = np.concatenate([scores_RK[row, others], (total + model.log_share + share_C[best]).astype(np.float32)])
        order = np.argsort(-score_M, kind="stable")[: len(old_K)]
        products_RK[row, : len(order)], scores_RK[row, : len(order)] = product_M[order], score_M[order]
    return Lists(products_RK, scores_RK)


def _best(share_C: NDArray[np.float32], number: int) -> NDArray[np.int64]:
    """The places of the largest shares, largest first, of equal ones the first."""
    if number < len(share_C):
        least = np.partition(share_C, len(share_C) - number)[len(share_C) - number]
        kept = np.flatnonzero(share_C >= least)
    else:
        kept = np.arange(len(share_C))
    return kept[np.argsort(-share_C[kept], kind="stable")][:number]


def fit_never_sold(log: SessionLog, train_S: NDArray[np.bool_], trie: CodeTrie, vectors: ProductVectors, seed: int) -> Ranker | None:
    """Learn from past first sales, each among what else was never sold then and was near; None of fewer than LEAST_CHOICES."""
    random, choices = np.random.default_rng(seed), []
    for before_S, within_S in _windows(log, train_S):
        around = neighbourhoods(trie, count_sales(log, len(trie.leaf_N), before_S), vectors)
        choices += _choices(log, within_S, around, random)
    if len(choices) < LEAST_CHOICES:
        return None
    x_JCF = torch.from_numpy(np.stack(choices))
    torch.manual_seed(seed)
    network = Ranker(x_JCF.shape[2])
    network.standardize(x_JCF.flatten(0, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    for step in range(STEPS):
        drawn_JCF = x_JCF[torch.randint(len(x_JCF), (CHOICES_AT_ONCE,))]
        logit_JC = network(drawn_JCF.flatten(0, 1)).view(drawn_JCF.shape[:2])
        loss = -logit_JC.log_softmax(1)[:, 0].mean()
        descend(optimizer, loss, LEARNING_RATE * (1 - step / STEPS))
    return network.eval()


def log_share(lists: Lists, cases: Cases, around: Neighbourhoods) -> float:
    """`NeverSoldModel.log_share`, counted on the cases that training kept apart.

    Args:
        lists: of the model alone.
        around: as known without those cases.
    """
    found = waiting = 0
    for row in range(len(cases)):
        target = cases.target_T[cases.target_first_R[row] : cases.target_first_R[row + 1]]
        found += int(np.isin(target, lists.products_RK[row]).sum())
        unsold = target[around.sales.all_N[target] == 0]
        if len(unsold):
            waiting += int(np.isin(unsold, around.near(cases.contexts.cart(row), cases.contexts.history(row))).sum())
    return float(np.log((waiting + 0.5) / (found + 1)))


def _windows(log: SessionLog, train_S: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each window, the sessions before it and those within; without times, the sessions stand for their own order."""
    at_S = np.asarray(log.at_S)
    if not (at_S[train_S] != NO_TIME).all():
        at_S = np.random.default_rng(0).permutation(log.sessions)
    edges = [*np.quantile(at_S[train_S], WINDOWS), np.inf]
    for begin, end in pairwise(edges):
        yield train_S & (at_S < begin), train_S & (at_S >= begin) & (at_S < end)


def _choices(
    log: SessionLog, within_S: NDArray[np.bool_], around: Neighbourhoods, random: np.random.Generator
) -> list[NDArray[np.float32]]:
    """For each of some first sales float32[1 + OTHERS, F]: what was bought, and others that were near."""
    first_S, product_E = np.asarray(log.first_S), np.asarray(log.product_E)
    first_sale_E = np.repeat(within_S, np.diff(first_S)) & (around.sales.all_N[product_E] == 0)
    session_M = np.unique(np.searchsorted(first_S, np.flatnonzero(first_sale_E), side="right") - 1)
    choices: list[NDArray[np.float32]] = []
    for session in random.permutation(session_M):
        cart, wanted = _cart_and_wanted(product_E[first_S[session] : first_S[session + 1]], log.ordered, around, random)
        history = before_session(log, int(session))
        near = around.near(cart, history)
        wanted = wanted[np.isin(wanted, near)][:CHOICES_OF_A_SESSION]
        for product in wanted:
            product_C = np.append(product, random.choice(near, OTHERS)).astype(np.int32)
            choices.append(first_sale_features(product_C, cart, history, int(log.retailer_S[session]), around))
        if len(choices) >= CHOICES_OF_A_WINDOW:
            break
    return choices


def _cart_and_wanted(
    products: NDArray[np.int32], ordered: bool, around: Neighbourhoods, random: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Half of a session, and what was a first sale in the rest; of an ordered one a first sale, and what came before it."""
    if ordered:
        place = int(random.choice(np.flatnonzero(around.sales.all_N[products] == 0)))
        return products[:place], products[place : place + 1]
    products = random.permutation(np.unique(products))
    cart, rest = np.split(products, [len(products) // 2])
    return cart, rest[around.sales.all_N[rest] == 0]
