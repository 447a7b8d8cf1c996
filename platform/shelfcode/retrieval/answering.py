"""Contexts in, lists of products out, by either model: of what each request's retailer has and its cart does not hold."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, W beams, C candidates, K products of a list, N products.

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.contexts import Contexts, own_products
from shelfcode.retrieval.decoder.allowed import AllowedSets
from shelfcode.retrieval.decoder.beam_search import beam_search
from shelfcode.retrieval.decoder.trie import CodeTrie, TrieTensors
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import SharingModel


@dataclass(frozen=True)
class Shelves:
    """What may be answered with: one set of products a retailer, and behind them one for retailers that nobody knows.

    Attributes:
        sets: of each retailer, and of all.
    """

    trie: CodeTrie
    tensors: TrieTensors
    sets: AllowedSets

    def set_of(self, retailer_R: NDArray[np.integer]) -> NDArray[np.int64]:
        """The set of each request."""
        last = len(self.sets.sets) - 1
        return np.where((retailer_R >= 0) & (retailer_R < last), retailer_R, last).astype(np.int64)

    def to(self, device: torch.device) -> "Shelves":
        """The same on another device."""
        sets = AllowedSets(self.sets.sets, tuple(may_SV.to(device) for may_SV in self.sets.may_LSV))
        return Shelves(self.trie, self.trie.to(device), sets)

    def held_by(self, retailer_R: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
        """For each request bool[N], the products that its retailer has."""
        return (self.sets.sets[int(number)].holds_N for number in self.set_of(retailer_R))


@torch.inference_mode()
def generate(
    model: Generator, sharing: SharingModel, marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts, k: int,
    width: int, temperature: float = 0.0, random: torch.Generator | None = None,
) -> Lists:  # fmt: skip
    """The generator's candidates: the best beams, and of each the products that share it, by the probability of both.

    Args:
        k: products a request, fewer where the retailer has fewer or the beams hold fewer.
        width: beams a request.
    """
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt), model.codes_NL.device)
    decoding, set_R = model.decoding(tokens), shelves.set_of(contexts.retailer_R)
    cart_RX = _carts(contexts)
    requests = shelves.sets.requests(set_R, cart_RX)
    beams = beam_search(decoding, shelves.tensors, requests, width, temperature, generator=random)
    leaf_RW, log_probability_RW = beams.leaf_RW.cpu().numpy(), beams.log_probability_RW.cpu().numpy()
    lists = empty_lists(len(contexts), k)
    for row, holds_N in enumerate(shelves.held_by(contexts.retailer_R)):
        product_C, beam_C = shelves.trie.products(leaf_RW[row])
        kept_C = holds_N[product_C] & ~np.isin(product_C, contexts.cart(row))
        product_C, beam_C = product_C[kept_C], beam_C[kept_C]
        logit_C = sharing.scores(product_C, int(contexts.retailer_R[row]), own_products(contexts.history(row)))
        _put_best(lists, row, k, product_C, log_probability_RW[row][beam_C] + _log_shares(logit_C, beam_C))
    return lists


@torch.inference_mode()
def score(
    model: ScoringModel, sold_N: NDArray[np.bool_], marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts, k: int
) -> Lists:
    """What the scoring model answers: of what the retailer has and training saw, the products with the highest scores."""
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt, model.masked), model.bias.device)
    logits_RN = model.last(tokens).cpu().numpy()
    lists = empty_lists(len(contexts), k)
    for row, holds_N in enumerate(shelves.held_by(contexts.retailer_R)):
        may_N = holds_N & sold_N
        may_N[contexts.cart(row)] = False
        product_C = np.flatnonzero(may_N).astype(np.int32)
        _put_best(lists, row, k, product_C, logits_RN[row][product_C])
    return lists


def empty_lists(rows: int, k: int) -> Lists:
    """Lists without products."""
    return Lists(np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32))


def _put_best(lists: Lists, row: int, k: int, product_C: NDArray[np.int32], score_C: NDArray[np.floating]) -> None:
    """Put the best k candidates into a list."""
    if len(product_C) > k:
        kept = np.argpartition(-score_C, k - 1)[:k]
        product_C, score_C = product_C[kept], score_C[kept]
    order = np.lexsort((product_C, -score_C))
    lists.products_RK[row, : len(order)], lists.scores_RK[row, : len(order)] = product_C[order], score_C[order]


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
