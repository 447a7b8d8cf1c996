"""A retriever that can be asked: the model, what it was told of the products, and the shelves that answers come from."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, R requests.

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shelfcode.retrieval.answering import Shelves, empty_lists, generate, score
from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.cooccurrence import Cooccurrence
from shelfcode.retrieval.decoder.allowed import AllowedSet, allowed_set, allowed_where, stack_sets
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.fitting import RetrieverModel
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.never_sold import Neighbourhoods, NeverSoldModel, add_never_sold, neighbourhoods
from shelfcode.retrieval.ranking import POOL, Known, Ranker, rank
from shelfcode.retrieval.recipe import RetrieverRecipe, Worth
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import Sales, SharingModel
from shelfcode.retrieval.worth import by_worth

REQUESTS_AT_ONCE = 64
LEAST_BEAMS, SPARE_BEAMS = 120, 10
"""Beams at the least, and beyond the products that are asked for: the best products are not all under the best IDs."""


def usual_beams(k: int) -> int:
    """IDs that are followed for k products."""
    return max(LEAST_BEAMS, k + SPARE_BEAMS)


@dataclass(frozen=True)
class Retriever:
    """A model and what it needs to answer.

    Attributes:
        retailers: whose products are known, in the order of their numbers: those that were trained on come first.
        surfaces: that were trained on.
        together: what is bought with what; the last stage wants it.
        ranker: the last stage; None: candidates stay in the order of the model.
        never_sold: of a generator; None: products that nobody bought yet have the probability that the generator gives them.
    """

    recipe: RetrieverRecipe
    model: RetrieverModel
    sharing: SharingModel
    assortment: Assortment
    retailers: tuple[str, ...]
    surfaces: tuple[str, ...]
    shelves: Shelves
    together: Cooccurrence
    ranker: Ranker | None = None
    never_sold: NeverSoldModel | None = None

    @property
    def marks(self) -> Marks:
        """The marks that the model knows: a retailer that it was not trained on has that of an unknown one."""
        return self.model.prompt.marks

    def answer(self, contexts: Contexts, k: int, beams: int | None = None, temperature: float = 0.0, seed: int = 0) -> Lists:
        """The best k products of each request's retailer, fewer where it has fewer.

        Args:
            beams: of a generator: IDs that are followed; `usual_beams` when left out.
            temperature: of a generator: above 0, IDs are drawn and not the best ones taken.
        """
        if not (self.ranker or self.never_sold) and self.worth.even:
            return self.candidates(contexts, k, beams or usual_beams(k), temperature, seed)
        return self.composed(self.candidates(contexts, max(k, POOL), beams or usual_beams(k), temperature, seed), contexts, k)

    def composed(self, candidates: Lists, contexts: Contexts, k: int) -> Lists:
        """The best k of candidates: by the last stage, with products never sold among them, in the order of their worth."""
        lists = rank(self.ranker, candidates, contexts, self.known) if self.ranker else candidates
        if self.never_sold:
            holds = self.shelves.held_by(contexts.retailer_R)
            lists = add_never_sold(lists, contexts, holds, self.never_sold, self.neighbourhoods, k)
        return by_worth(lists, contexts, self.sharing.sales, self.worth).first(k)

    def candidates(self, contexts: Contexts, k: int, beams: int, temperature: float = 0.0, seed: int = 0) -> Lists:
        """What the model alone answers: k products at the least where there are so many."""
        random = torch.Generator(self.device).manual_seed(seed) if temperature else None
        parts = []
        for low in range(0, len(contexts), REQUESTS_AT_ONCE):
            part = contexts.rows(low, min(len(contexts), low + REQUESTS_AT_ONCE))
            if isinstance(self.model, Generator):
                parts.append(generate(self.model, self.sharing, self.marks, self.recipe, self.shelves, part, k, beams, temperature, random))
            else:
                parts.append(score(self.model, self.sharing.sales.all_N > 0, self.marks, self.recipe, self.shelves, part, k))
        if not parts:
            return empty_lists(0, k)
        return Lists(np.concatenate([one.products_RK for one in parts]), np.concatenate([one.scores_RK for one in parts]))

    @property
    def worth(self) -> Worth:
        """What a hit is worth to this kind."""
        return self.recipe.generator.worth if isinstance(self.model, Generator) else self.recipe.scoring.worth

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @cached_property
    def known(self) -> Known:
        """What is known of the products besides the model's scores."""
        return Known(self.sharing.sales, self.assortment.codes_NL, product_vectors(self.model), self.together)

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """What is known of the prefixes of the products."""
        return neighbourhoods(self.shelves.trie, self.sharing.sales, self.known.vector_ND)


@torch.inference_mode()
def product_vectors(model: RetrieverModel) -> NDArray[np.float32]:
    """By which products are alike to a model, of unit length: float32[N, D]."""
    if isinstance(model, Generator):
        vectors_ND = model.product_vectors(torch.arange(len(model.codes_NL), device=model.codes_NL.device))
    else:
        vectors_ND = model.product.weight
    unit_ND: NDArray[np.float32] = functional.normalize(vectors_ND.float(), dim=1).cpu().numpy()
    return unit_ND


def sold_or_new(trie: CodeTrie, sales: Sales) -> list[AllowedSet]:
    """Of each retailer what it sold, and what nobody ever sold; at the end everything, for a retailer that nobody knows."""
    new_N, sets = sales.all_N == 0, []
    for retailer in range(sales.at_retailer.shape[0]):
        first, end = sales.at_retailer.indptr[retailer : retailer + 2]
        holds_N = new_N.copy()
        holds_N[sales.at_retailer.indices[first:end]] = True
        sets.append(allowed_where(trie, holds_N))
    return [*sets, allowed_where(trie, np.ones(len(new_N), bool))]


def listed(trie: CodeTrie, products: Sequence[NDArray[np.integer]]) -> list[AllowedSet]:
    """Of each retailer the products that a table of availability names; at the end everything."""
    return [*(allowed_set(trie, product_M) for product_M in products), allowed_where(trie, np.ones(len(trie.leaf_N), bool))]


def open_shelves(trie: CodeTrie, sales: Sales, available: Sequence[NDArray[np.integer]] | None, device: torch.device) -> Shelves:
    """Shelves on a device.

    Args:
        available: products of each retailer; None: what it sold, and what nobody ever sold.
    """
    sets = sold_or_new(trie, sales) if available is None else listed(trie, available)
    return Shelves(trie, trie.to(device), stack_sets(sets, device))


def trie_of(assortment: Assortment) -> CodeTrie:
    """The trie of an assortment's codes."""
    return build_trie(assortment.codes_NL, assortment.sizes)


def new_retriever_model(
    kind: str, recipe: RetrieverRecipe, marks: Marks, assortment: Assortment, codebooks_LKE: Sequence[torch.Tensor]
) -> RetrieverModel:
    """An untrained model; the same on every worker."""
    torch.manual_seed(recipe.training.seed)
    if kind == "generator":
        return Generator(recipe, marks, codebooks_LKE).with_codes(assortment.codes_NL)
    return ScoringModel(recipe, marks, len(assortment))
