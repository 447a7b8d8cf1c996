"""A small retriever around a log, and a training of it in this process."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from small_log import SIZES, small_codebooks, small_codes

from shelfcode.interactions.session_log import SessionLog
from shelfcode.keys import item_keys
from shelfcode.optimisation import Worker
from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.batches import SessionSampler
from shelfcode.retrieval.cooccurrence import nothing_counted
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.fitting import Fitting, start_fitting
from shelfcode.retrieval.published_retriever import Kind
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.retriever import Retriever, new_retriever_model, trie_of
from shelfcode.retrieval.sharing import fit_sharing
from shelfcode.retrieval.shelves import open_shelves

CPU = torch.device("cpu")


def small_assortment(codes_NL: NDArray[np.uint16] | None = None, sizes: tuple[int, ...] = SIZES) -> Assortment:
    """Products by the names `item 0`, `item 1` ..., in the order of their keys; the codes are those of their places."""
    codes_NL = small_codes() if codes_NL is None else codes_NL
    item_ids = pa.array([f"item {number}" for number in range(len(codes_NL))])
    order_N = np.argsort(item_keys(item_ids))
    return Assortment("small@v0001", item_ids.take(pa.array(order_N)), item_keys(item_ids)[order_N], codes_NL, sizes)


def small_retriever(
    kind: Kind,
    recipe: RetrieverRecipe,
    log: SessionLog,
    train_S: NDArray[np.bool_] | None = None,
    available: list[NDArray[np.int64]] | None = None,
    loudness: float = 0.0,
    codes_NL: NDArray[np.uint16] | None = None,
) -> Retriever:
    """A retriever before its first step, with the sales of the log.

    Args:
        loudness: of the noise that is added to all weights, so that no part of the model says nothing.
        codes_NL: drawn at random where they are left out.
    """
    assortment = small_assortment(codes_NL)
    train_S = np.ones(log.sessions, bool) if train_S is None else train_S
    model = new_retriever_model(kind, recipe, marks_in(log), assortment, small_codebooks()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(loudness * torch.randn_like(weight))
    trie = trie_of(assortment)
    sharing = fit_sharing(log, train_S, trie.leaf_N, seed=0)
    shelves = open_shelves(trie, sharing.sales, available, CPU)
    return Retriever(recipe, model, sharing, assortment, log.retailers, log.surfaces, shelves, nothing_counted(len(assortment)))


def marks_in(log: SessionLog) -> Marks:
    """The tokens of the retailers and surfaces of a log."""
    return Marks(len(log.retailers), len(log.surfaces))


def small_fitting(
    kind: Kind,
    recipe: RetrieverRecipe,
    log: SessionLog,
    train_S: NDArray[np.bool_] | None = None,
    codes_NL: NDArray[np.uint16] | None = None,
) -> tuple[Retriever, Fitting, SessionSampler]:
    """A retriever, the state of its training, and its batches."""
    retriever = small_retriever(kind, recipe, log, train_S, codes_NL=codes_NL)
    session_S = np.arange(log.sessions) if train_S is None else np.flatnonzero(train_S)
    sampler = SessionSampler(session_S, np.diff(log.first_S)[session_S], recipe.training.seed, recipe.training.sessions_per_batch)
    return retriever, start_fitting(retriever.model, recipe, Worker()), sampler
