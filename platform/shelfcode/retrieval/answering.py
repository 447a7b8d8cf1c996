"""Contexts in, lists of products out, by either model: of what each request's retailer has and its cart does not hold."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, W beams, C candidates, K products of a list, N products.

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.contexts import Contexts, own_products
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.demands import Demands
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.prompt_embedding import on_device
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import SharingModel
from shelfcode.retrieval.shelves import Shelves


@torch.inference_mode()
def generate(
    model: Generator, sharing: SharingModel, marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts, demands: Demands,
    random: torch.Generator | None = None,
) -> tuple[Lists, Beams]:  # fmt: skip
    """The generator's candidates: the best beams, and of each the products that share it, by the probability of both.

    Args:
        demands: products a request, fewer where the retailer has fewer or the beams hold fewer.
        random: of requests with a temperature.
    """
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt), model.codes_NL.device)
    width = int(demands.beams_R.max())
    width_R = None if (demands.beams_R == width).all() else torch.from_numpy(demands.beams_R).to(tokens.length_R.device)
    temperature = torch.from_numpy(demands.temperature_R).to(tokens.length_R.device) if demands.temperature_R.any() else 0.0
    beams = beam_search(
        model.decoding(tokens), shelves.tensors, shelves.allowed(contexts), width, temperature, width_R=width_R, generator=random
    )
    leaf_RW, log_probability_RW = beams.leaf_RW.cpu().numpy(), beams.log_probability_RW.cpu().numpy()
    lists = empty_lists(len(contexts), int(demands.k_R.max()))
    for row, may_N in enumerate(shelves.open_to(contexts)):
        product_C, beam_C = shelves.trie.products(leaf_RW[row])
        kept_C = may_N[product_C]
        product_C, beam_C = product_C[kept_C], beam_C[kept_C]
        logit_C = sharing.scores(product_C, int(contexts.retailer_R[row]), own_products(contexts.history(row)))
        _put_best(lists, row, int(demands.k_R[row]), product_C, log_probability_RW[row][beam_C] + _log_shares(logit_C, beam_C))
    return lists, beams


@torch.inference_mode()
def score(
    model: ScoringModel, sold_N: NDArray[np.bool_], marks: Marks, recipe: RetrieverRecipe, shelves: Shelves, contexts: Contexts,
    demands: Demands,
) -> Lists:  # fmt: skip
    """What the scoring model answers: of what the retailer has and training saw, the products with the highest scores."""
    model.eval()
    tokens = on_device(tokens_of(prompts_of(contexts, marks, recipe.prompt), marks, recipe.prompt, model.masked), model.bias.device)
    logits_RN = model.last(tokens).cpu().numpy()
    lists = empty_lists(len(contexts), int(demands.k_R.max()))
    for row, may_N in enumerate(shelves.open_to(contexts)):
        product_C = np.flatnonzero(may_N & sold_N).astype(np.int32)
        _put_best(lists, row, int(demands.k_R[row]), product_C, logits_RN[row][product_C])
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
