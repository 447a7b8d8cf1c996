"""Contexts in, lists of products out, by either model: of what each request's retailer has and its cart does not hold."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, W beams, C candidates, K products of a list, N products.

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.contexts import Contexts, OwnProducts, own_products
from shelfcode.retrieval.decoder.allowed import AllowedSets
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.decoder.trie import CodeTrie, TrieTensors
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import SharingModel

NEVER_SOLD_BEAMS = 12
"""Of the search among products that were never sold."""


@dataclass(frozen=True)
class Shelves:
    """What may be answered with: one set of products a retailer, and behind them one for retailers that nobody knows.

    Attributes:
        sets: of each retailer, and of all.
        new: of each, those products that were never sold; one for all where that is the same everywhere.
    """

    trie: CodeTrie
    tensors: TrieTensors
    sets: AllowedSets
    new: AllowedSets

    def set_of(self, retailer_R: NDArray[np.integer]) -> NDArray[np.int64]:
        """The set of each request."""
        last = len(self.sets.sets) - 1
        return np.where((retailer_R >= 0) & (retailer_R < last), retailer_R, last).astype(np.int64)

    def to(self, device: torch.device) -> "Shelves":
        """The same on another device."""
        sets, new = (AllowedSets(each.sets, tuple(may_SV.to(device) for may_SV in each.may_LSV)) for each in (self.sets, self.new))
        return Shelves(self.trie, self.trie.to(device), sets, new)

    def new_set_of(self, set_R: NDArray[np.int64]) -> NDArray[np.int64]:
        """The set of never sold products of each request."""
        return np.minimum(set_R, len(self.new.sets) - 1)


@torch.inference_mode()
def generate(
    model: Generator, sharing: SharingModel, marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts, k: int,
    width: int, temperature: float = 0.0, random: torch.Generator | None = None,
) -> Lists:  # fmt: skip
    """The generator's candidates: the best beams, and of each the products that share it, by the probability of both.

    Where the recipe keeps places for products that were never sold, a second search among those alone gives some.

    Args:
        k: products a request, fewer where the retailer has fewer or the beams hold fewer.
        width: beams a request.
    """
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt), model.codes_NL.device)
    decoding, set_R = model.decoding(tokens), shelves.set_of(contexts.retailer_R)
    cart_RX = _carts(contexts)
    found = [_Search(shelves.sets, set_R, width)]
    if recipe.answers.never_sold_share:
        found.append(_Search(shelves.new, shelves.new_set_of(set_R), NEVER_SOLD_BEAMS))
    beams = [
        _on_host(
            beam_search(decoding, shelves.tensors, search.sets.requests(search.set_R, cart_RX), search.width, temperature, generator=random)
        )
        for search in found
    ]
    lists = empty_lists(len(contexts), k + NEVER_SOLD_BEAMS * (len(found) - 1))
    for row in range(len(contexts)):
        own, cart = own_products(contexts.history(row)), contexts.cart(row)
        held_N = shelves.sets.sets[int(set_R[row])].holds_N
        parts = [
            _candidates(shelves.trie, held_N, search, of_search, row, cart, sharing, int(contexts.retailer_R[row]), own)
            for search, of_search in zip(found, beams, strict=True)
        ]
        _put_best(lists, row, 0, k, *parts[0])
        for product_C, score_C in parts[1:]:
            others_C = ~np.isin(product_C, lists.products_RK[row])
            begin = int((lists.products_RK[row] >= 0).sum())
            _put_best(lists, row, begin, NEVER_SOLD_BEAMS, product_C[others_C], score_C[others_C])
            order_K = np.argsort(-lists.scores_RK[row], kind="stable")
            lists.products_RK[row], lists.scores_RK[row] = lists.products_RK[row, order_K], lists.scores_RK[row, order_K]
    return lists


def _on_host(beams: Beams) -> Beams:
    return Beams(beams.leaf_RW.cpu(), beams.log_probability_RW.cpu())


@dataclass(frozen=True)
class _Search:
    """One beam search among some sets."""

    sets: AllowedSets
    set_R: NDArray[np.int64]
    width: int


def _candidates(
    trie: CodeTrie, held_N: NDArray[np.bool_], search: _Search, beams: Beams, row: int, cart: NDArray[np.int32], sharing: SharingModel,
    retailer: int, own: OwnProducts,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:  # fmt: skip
    """The products below the beams of one request that were searched for, and the logarithm of the probability of each.

    Args:
        held_N: what the retailer has. All of that shares the probability of an ID, whichever of it is searched for.
    """
    product_C, beam_C = trie.products(beams.leaf_RW[row].numpy())
    kept_C = held_N[product_C] & ~np.isin(product_C, cart)
    product_C, beam_C = product_C[kept_C], beam_C[kept_C]
    shares_C = _log_shares(sharing.scores(product_C, retailer, own), beam_C)
    wanted_C = search.sets.sets[int(search.set_R[row])].holds_N[product_C]
    return product_C[wanted_C], (beams.log_probability_RW[row].numpy()[beam_C] + shares_C)[wanted_C]


@torch.inference_mode()
def score(
    model: ScoringModel, sold_N: NDArray[np.bool_], marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts, k: int
) -> Lists:
    """What the scoring model answers: of what the retailer has and training saw, the products with the highest scores."""
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt, model.masked), model.bias.device)
    logits_RN = model.last(tokens).cpu().numpy()
    set_R, lists = shelves.set_of(contexts.retailer_R), empty_lists(len(contexts), k)
    for row in range(len(contexts)):
        may_N = shelves.sets.sets[int(set_R[row])].holds_N & sold_N
        may_N[contexts.cart(row)] = False
        product_C = np.flatnonzero(may_N).astype(np.int32)
        _put_best(lists, row, 0, k, product_C, logits_RN[row][product_C])
    return lists


def empty_lists(rows: int, k: int) -> Lists:
    """Lists without products."""
    return Lists(np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32))


def _put_best(lists: Lists, row: int, begin: int, k: int, product_C: NDArray[np.int32], score_C: NDArray[np.floating]) -> None:
    """Put the best k candidates into a list, from a place on."""
    if len(product_C) > k:
        kept = np.argpartition(-score_C, k - 1)[:k]
        product_C, score_C = product_C[kept], score_C[kept]
    order = np.lexsort((product_C, -score_C))
    places = slice(begin, begin + len(order))
    lists.products_RK[row, places], lists.scores_RK[row, places] = product_C[order], score_C[order]


def _log_shares(logit_C: NDArray[np.floating], beam_C: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of each candidate's share of its beam: a softmax within each."""
    if not len(beam_C):
        return np.empty(0)
    top_W = np.full(int(beam_C.max()) + 1, -np.inf)
    np.maximum.at(top_W, beam_C, logit_C)
    total_W = np.bincount(beam_C, np.exp(logit_C - top_W[beam_C]), minlength=len(top_W))
    return logit_C - top_W[beam_C] - np.log(total_W[beam_C])


def _carts(contexts: Contexts) -> NDArray[np.int32]:
    """The carts as a matrix, padded with -1."""
    length_R = np.diff(contexts.cart_first_R)
    cart_RX = np.full((len(contexts), max(1, int(length_R.max(initial=0)))), -1, np.int32)
    row_C = np.repeat(np.arange(len(contexts)), length_R)
    cart_RX[row_C, np.arange(len(row_C)) - contexts.cart_first_R[row_C]] = contexts.cart_C
    return cart_RX
