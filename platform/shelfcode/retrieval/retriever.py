"""A retriever that can be asked: the model, what it was told of the products, and the shelves that answers come from."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, R requests.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from shelfcode.retrieval.answering import empty_lists, generate, score
from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.cooccurrence import Cooccurrence
from shelfcode.retrieval.decoder.beam_search import Beams
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.retrieval.demands import Demands, alike
from shelfcode.retrieval.diversity import spread
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.fitting import RetrieverModel
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.never_sold import Neighbourhoods, NeverSoldModel, add_never_sold, neighbourhoods
from shelfcode.retrieval.product_vectors import product_vectors
from shelfcode.retrieval.ranking import POOL, Known, Ranker, rank
from shelfcode.retrieval.recipe import RetrieverRecipe, Worth
from shelfcode.retrieval.scoring_model import ScoringModel
from shelfcode.retrieval.sharing import SharingModel
from shelfcode.retrieval.shelves import RetailerShelves, Shelves
from shelfcode.retrieval.worth import by_worth

REQUESTS_AT_ONCE = 64


@dataclass(frozen=True)
class Answers:
    """Lists, and how a generator came to them.

    Attributes:
        beams: None of a model that follows none.
    """

    lists: Lists
    beams: Beams | None


@dataclass(frozen=True)
class Retriever:
    """A model and what it needs to answer.

    Attributes:
        retailers: whose products are known, in the order of their numbers: those that were trained on come first.
        surfaces: that were trained on.
        together: what is bought with what; the last stage wants it.
        ranker: the last stage; None: candidates stay in the order of the model.
        never_sold: of a generator; None: products that nobody bought yet have the probability that the generator gives them.
        around: what was counted before of the prefixes of the products; None: it is counted when it is first asked of.
    """

    recipe: RetrieverRecipe
    model: RetrieverModel
    sharing: SharingModel
    assortment: Assortment
    retailers: tuple[str, ...]
    surfaces: tuple[str, ...]
    shelves: RetailerShelves
    together: Cooccurrence
    ranker: Ranker | None = None
    never_sold: NeverSoldModel | None = None
    around: Neighbourhoods | None = None

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
        demands, random = alike(len(contexts), k, beams, temperature), self.random(seed)
        parts = [empty_lists(0, k)]
        for low in range(0, len(contexts), REQUESTS_AT_ONCE):
            high = min(len(contexts), low + REQUESTS_AT_ONCE)
            parts.append(self.answer_together(contexts.rows(low, high), demands.rows(low, high), self.shelves, random).lists)
        return _joined(parts)

    def answer_together(
        self, contexts: Contexts, demands: Demands, shelves: Shelves, random: torch.Generator | None = None
    ) -> "Answers":  # fmt: skip
        """The best products of some requests, which go through the model together; what each demands is its own.

        Args:
            contexts: REQUESTS_AT_ONCE or fewer.
            shelves: what each may be answered with.
            random: of requests with a temperature.
        """
        chosen_from = demands.k_R if self.plain and not demands.diversity_R.any() else np.maximum(demands.k_R, POOL)
        candidates, beams = self._asked(contexts, replace(demands, k_R=chosen_from), shelves, random)
        return Answers(self._composed(candidates, contexts, demands, shelves), beams)

    def composed(self, candidates: Lists, contexts: Contexts, k: int) -> Lists:
        """The best k of candidates: by the last stage, with products never sold among them, in the order of their worth."""
        return self._composed(candidates, contexts, alike(len(contexts), k), self.shelves)

    def _composed(self, candidates: Lists, contexts: Contexts, demands: Demands, shelves: Shelves) -> Lists:
        lists = rank(self.ranker, candidates, contexts, self.known) if self.ranker else candidates
        if self.never_sold:
            lists = add_never_sold(lists, contexts, shelves.open_to(contexts), self.never_sold, self.neighbourhoods, demands.k_R)
        lists = by_worth(lists, contexts, self.sharing.sales, self.worth)
        return spread(lists, self.assortment.codes_NL, demands.k_R, demands.diversity_R)

    def candidates(self, contexts: Contexts, k: int, beams: int) -> Lists:
        """What the model alone answers: k products at the least where there are so many."""
        demands, parts = alike(len(contexts), k, beams), [empty_lists(0, k)]
        for low in range(0, len(contexts), REQUESTS_AT_ONCE):
            high = min(len(contexts), low + REQUESTS_AT_ONCE)
            parts.append(self._asked(contexts.rows(low, high), demands.rows(low, high), self.shelves, None)[0])
        return _joined(parts)

    def _asked(
        self, contexts: Contexts, demands: Demands, shelves: Shelves, random: torch.Generator | None
    ) -> tuple[Lists, Beams | None]:  # fmt: skip
        """The candidates of the model alone, and of a generator the beams that they come from."""
        if isinstance(self.model, Generator):
            return generate(self.model, self.sharing, self.marks, self.recipe, shelves, contexts, demands, random)
        return score(self.model, self.sharing.sales.all_N > 0, self.marks, self.recipe, shelves, contexts, demands), None

    def random(self, seed: int) -> torch.Generator:
        """Noise for requests with a temperature."""
        return torch.Generator(self.device).manual_seed(seed)

    @property
    def plain(self) -> bool:
        """Whether candidates stay in the order of the model."""
        return not (self.ranker or self.never_sold) and self.worth.even

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
        return Known(self.sharing.sales, self.assortment.codes_NL, product_vectors(self.model, self.assortment.codes_NL), self.together)

    @cached_property
    def neighbourhoods(self) -> Neighbourhoods:
        """What is known of the prefixes of the products."""
        return self.around or neighbourhoods(self.shelves.trie, self.sharing.sales, self.known.vectors)


def _joined(parts: Sequence[Lists]) -> Lists:
    return Lists(np.concatenate([one.products_RK for one in parts]), np.concatenate([one.scores_RK for one in parts]))


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
