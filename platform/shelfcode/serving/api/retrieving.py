"""Contexts answered online: what may be answered with is found by bitmaps, and the retrievers that surfaces name rank it. No Ray.

Requests that wait go through a model together, whatever their retailers, beam widths and temperatures; those of like length share a batch.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, N products of a retriever's assortment, P places of a release.

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from pyroaring import BitMap

from shelfcode.index.cards import COLUMNS
from shelfcode.index.filters import bitmap
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.keys import KeyIndex
from shelfcode.retrieval.context_table import contexts_from_table
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.demands import Demands
from shelfcode.retrieval.fusion import fused
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.mapped_retriever import open_mapped
from shelfcode.retrieval.published_retriever import load_card
from shelfcode.retrieval.retriever import REQUESTS_AT_ONCE, Answers, Retriever
from shelfcode.retrieval.shelves import RequestShelves
from shelfcode.semantic_id import format_codes, shared_depth
from shelfcode.serving.api.filtering import passing
from shelfcode.serving.api.item_index import ItemIndex
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Retrieve
from shelfcode.serving.api.visible_columns import check_columns
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

DEPTH, TIMES_DEEPER = 60, 3
"""Products that each retriever of a blend is asked for: so many at the least, or so many times k."""
VERSIONS_KEPT = 2
"""Versions of retrievers that stay with a release after others have taken their place."""
RETAILERS_KEPT = 1024
"""Retailers whose products are kept as bitmaps, where no stock says what they have."""
LEAST_LOG = -60.0
"""A logarithm of probability below which nothing more is told."""


@dataclass(frozen=True)
class LoadedRetriever:
    """A retriever that answers with the products of a release.

    Attributes:
        kind: generator or cr.
        place_of_product_N, product_of_place_P: int32, -1 where the other does not have it.
        number_of: retailer -> its number, of those that were trained on.
        sold: retailer -> places of what it sold in training, and of what nobody ever sold.
    """

    label: str
    kind: str
    retriever: Retriever
    place_of: KeyIndex
    place_of_product_N: NDArray[np.int32]
    product_of_place_P: NDArray[np.int32]
    number_of: Mapping[str, int]
    sold: "LRUCache[str, BitMap]"

    def sold_or_new(self, retailer_id: str) -> BitMap:
        """The places of what a retailer that was trained on sold, and of what nobody sold."""
        if (known := self.sold.get(retailer_id)) is not None:
            return known
        place_M = self.place_of_product_N[self.retriever.sharing.sales.sold_or_new(self.number_of[retailer_id])]
        found = self.sold[retailer_id] = bitmap(place_M[place_M >= 0])
        return found


@dataclass(frozen=True)
class Offer:
    """What one request may be answered with.

    Attributes:
        stocked: places of all that the retailer has.
        passed: of these, those that pass the filters.
        open: of these, those that are neither in the cart nor excluded.
        notes: what was not as it could be, in words that docs/serving.md lists.
    """

    stocked: BitMap
    passed: BitMap
    open: BitMap
    notes: tuple[str, ...]


class Retrieving:
    """Retrievers that can be asked, each with the products of a release."""

    def __init__(self, workspace: Workspace, index: ItemIndex, device: torch.device, tokens_per_batch: int, translate: bool) -> None:
        self.workspace, self.index, self.device = workspace, index, device
        self.tokens_per_batch, self.translate = tokens_per_batch, translate
        self.loaded: dict[tuple[str, str], LoadedRetriever] = {}
        self.random = torch.Generator(device)
        self.random.seed()

    def load(self, release: str, labels: Sequence[str]) -> None:
        """Have a release and retrievers for it. Takes a while: never on an event loop.

        Raises:
            ShelfcodeError: there is none of this name, a file is damaged, or the two do not go together.
        """
        index = self.index.get(release) or self.index.load(release)
        fresh = {(release, label): self._open(index, label) for label in labels if (release, label) not in self.loaded}
        self.index.keep(index)
        for loaded in fresh.values():
            self._warm_up(index, loaded)
        asked = {(release, label): self.loaded.get((release, label)) or fresh[release, label] for label in labels}
        others = {key: each for key, each in self.loaded.items() if key not in asked}
        self.loaded = {**{key: others[key] for key in self._worth_keeping(others, release)}, **asked}  # at once: others answer meanwhile

    def _worth_keeping(self, others: Mapping[tuple[str, str], LoadedRetriever], release: str) -> list[tuple[str, str]]:
        """Of the retrievers that were not asked for now, those of other releases that are kept, and those of this one that requests under
        way may still want."""
        kept = {*self.index.prepared, *self.index.visitors}
        before = [key for key in others if key[0] == release]
        return [key for key in others if key[0] in kept and key[0] != release] + before[-VERSIONS_KEPT:]

    def has(self, question: Retrieve) -> bool:
        """Whether a question can be answered now."""
        return (
            all((question.release, label) in self.loaded for label, _, _ in question.parts) and self.index.get(question.release) is not None
        )

    def _open(self, index: ReleaseIndex, label: str) -> LoadedRetriever:
        card = load_card(self.workspace, label)
        retriever = open_mapped(self.workspace, card, self.device, index.name, self.translate)
        place_N = index.codes.place_of.get(retriever.assortment.keys_N).astype(np.int32)
        product_P = np.full(len(index.codes), -1, np.int32)
        product_P[place_N[place_N >= 0]] = np.flatnonzero(place_N >= 0)
        numbers = {name: number for number, name in enumerate(retriever.retailers)}
        place_of = retriever.assortment.place_of
        return LoadedRetriever(label, card.retriever, retriever, place_of, place_N, product_P, numbers, LRUCache(RETAILERS_KEPT))

    def _warm_up(self, index: ReleaseIndex, loaded: LoadedRetriever) -> None:
        """Answer a request of which nothing is known: much is worked out when it is first needed."""
        question = Retrieve(
            index.name, ((loaded.label, loaded.label, 1.0),), "", (), (), (), None, 0, 1, 1, 0.0, 0.0, (), (), None, (), explain=True
        )
        self._answer_together([question], index, [loaded])

    def answer(self, questions: Sequence[Retrieve]) -> list[dict[str, Any] | Problem]:
        """The answer to each question, or its Problem. Nothing is raised: others travel along."""
        answers: dict[int, dict[str, Any] | Problem] = {}
        for numbers in self._batches(questions):
            batch = [questions[number] for number in numbers]
            answers.update(zip(numbers, self._answered(batch), strict=True))
        return [answers[number] for number in range(len(questions))]

    def _batches(self, questions: Sequence[Retrieve]) -> Iterator[list[int]]:
        """Numbers of questions that go through the same retrievers together, those of like length, within the budget of tokens."""
        order = sorted(
            range(len(questions)), key=lambda number: (questions[number].release, questions[number].parts, questions[number].tokens)
        )
        for _, group in groupby(order, key=lambda number: (questions[number].release, questions[number].parts)):
            batch: list[int] = []
            for number in group:
                longest = questions[number].tokens  # in rising order, so that it sets the length of the batch
                if batch and (longest * (len(batch) + 1) > self.tokens_per_batch or len(batch) == REQUESTS_AT_ONCE):
                    yield batch
                    batch = []
                batch.append(number)
            yield batch

    def _answered(self, batch: Sequence[Retrieve]) -> list[dict[str, Any] | Problem]:
        """A batch of one release and the same retrievers; where it fails, it is tried one by one, so that only the culprit's fails."""
        index = self.index.get(batch[0].release)
        loaded = [self.loaded.get((batch[0].release, label)) for label, _, _ in batch[0].parts]
        if index is None or any(each is None for each in loaded):
            return [Problem("not-ready", f"{batch[0].release} is not loaded here")] * len(batch)
        try:
            return self._answer_together(batch, index, [each for each in loaded if each is not None])
        except Problem as problem:
            if len(batch) == 1:
                return [problem]
        except Exception:
            if len(batch) == 1:
                log.exception("a retrieve request to %s failed", batch[0].release)
                return [Problem("internal", "this is a fault of the server; its log tells of it")]
        return [answer for question in batch for answer in self._answered([question])]

    def _answer_together(
        self, batch: Sequence[Retrieve], index: ReleaseIndex, loaded: Sequence[LoadedRetriever]
    ) -> list[dict[str, Any] | Problem]:
        for question in batch:
            check_columns(index.items, question.fields, question.columns)
        offers = [self._offer(question, index, loaded) for question in batch]
        place_RP = [np.asarray(offer.open.to_array(), np.int64) for offer in offers]
        found = [self._asked(each, batch, place_RP, blended=len(loaded) > 1) for each in loaded]
        lists = [
            Lists(_places(each, answers.lists.products_RK), answers.lists.scores_RK)
            for each, (answers, _) in zip(loaded, found, strict=True)
        ]
        if len(lists) == 1:
            together = lists[0]
        else:
            together = fused(lists, max(question.k for question in batch), [weight for _, _, weight in batch[0].parts])
        return [
            {
                "results": _rows(row, question, index, together, lists),
                "counts": _counts(row, offers[row], index, loaded, [answers for answers, _ in found]),
                "context": _context(question, index, found[0][1].history(row), loaded[0]),
                "notes": list(offers[row].notes),
                **({"beams": _beams(row, loaded, [answers for answers, _ in found])} if question.explain else {}),
            }
            for row, question in enumerate(batch)
        ]

    def _offer(self, question: Retrieve, index: ReleaseIndex, loaded: Sequence[LoadedRetriever]) -> Offer:
        """What a request may be answered with."""
        stocked, notes = self._stocked(question.retailer_id, index, loaded[0])
        passed = BitMap.intersection(stocked, *passing(question, index))
        taken_M = index.places_of([*question.cart, *question.exclude])
        return Offer(stocked, passed, passed - bitmap(np.unique(taken_M[taken_M >= 0])), notes)

    def _stocked(self, retailer_id: str | None, index: ReleaseIndex, loaded: LoadedRetriever) -> tuple[BitMap, tuple[str, ...]]:
        if retailer_id is None:
            return BitMap(range(len(index.codes))), ("no_retailer",)
        trained = retailer_id in loaded.number_of
        notes = () if trained else ("retailer_never_seen",)
        if self.index.stock is not None and self.index.stock.knows(retailer_id):
            return self.index.stock.places(retailer_id, index.name, index.codes.place_of), notes
        return (loaded.sold_or_new(retailer_id) if trained else BitMap(range(len(index.codes)))), (*notes, "stock_unknown")

    def _asked(
        self, loaded: LoadedRetriever, batch: Sequence[Retrieve], place_RP: Sequence[NDArray[np.int64]], blended: bool
    ) -> tuple[Answers, Contexts]:  # fmt: skip
        """What one retriever answers."""
        retriever = loaded.retriever
        table = pa.table({
            "case_id": [str(row) for row in range(len(batch))],
            "history": pa.array([question.history for question in batch], pa.list_(pa.string())),
            "cart": pa.array([question.session for question in batch], pa.list_(pa.string())),
            "retailer_id": pa.array([question.retailer_id for question in batch], pa.string()),
            "surface": pa.array([question.surface for question in batch], pa.string()),
            "at": pa.array([question.at for question in batch], pa.int64()),
        })  # fmt: skip
        contexts = contexts_from_table(table, loaded.place_of, retriever.retailers, retriever.surfaces).contexts
        product_RM = [(product_M := loaded.product_of_place_P[place_P])[product_M >= 0] for place_P in place_RP]
        shelves = RequestShelves(retriever.shelves.trie, retriever.shelves.tensors, product_RM)
        wanted = [max(DEPTH, TIMES_DEEPER * question.k) if blended else question.k for question in batch]
        demands = Demands(
            np.array(wanted, np.int64), np.array([question.beams for question in batch], np.int64),
            np.array([question.temperature for question in batch], np.float32),
            np.array([question.diversity for question in batch], np.float32),
        )  # fmt: skip
        return retriever.answer_together(contexts, demands, shelves, self.random), contexts


def _places(loaded: LoadedRetriever, products_RK: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.where(products_RK >= 0, loaded.place_of_product_N[products_RK], np.int32(-1))


def _rows(row: int, question: Retrieve, index: ReleaseIndex, together: Lists, lists: Sequence[Lists]) -> list[dict[str, Any]]:
    """The products of an answer, best first."""
    place_K = together.products_RK[row][together.products_RK[row] >= 0][: question.k].astype(np.int64)
    codes_KL = index.codes.codes_LB[:, index.codes.buckets_of(place_K)].T
    cart_X = index.places_of(question.cart)
    cart_XL = index.codes.codes_LB[:, index.codes.buckets_of(cart_X[cart_X >= 0])].T
    names = [name for _, name, _ in question.parts]
    by = [set(each.products_RK[row].tolist()) for each in lists]
    rows, product = [], index.on_card if question.fields == COLUMNS else lambda place: index.product(place, question.fields)
    for at, place in enumerate(place_K.tolist()):
        agreement = int(shared_depth(cart_XL, codes_KL[at : at + 1]).max()) if len(cart_XL) else None
        proposed = "+".join(name for name, places in zip(names, by, strict=True) if place in places)
        rows.append({
            **product(place), "score": round(float(together.scores_RK[row, at]), 5), "cart_level": agreement,
            "proposed_by": proposed,
        })  # fmt: skip
    return rows


def _counts(row: int, offer: Offer, index: ReleaseIndex, loaded: Sequence[LoadedRetriever], found: Sequence[Answers]) -> dict[str, Any]:
    """Why other products are not among the results: how many were there at each step."""
    counts: dict[str, Any] = {
        "catalog": len(index.codes), "at_retailer": len(offer.stocked), "passed_filters": len(offer.passed), "open": len(offer.open),
        "beams": None,
    }  # fmt: skip
    for each, answers in zip(loaded, found, strict=True):
        if answers.beams is not None:
            leaf_W = answers.beams.leaf_RW[row].cpu().numpy()
            place_C = _places(each, each.retriever.shelves.trie.products(leaf_W)[0])
            below = BitMap(place_C[place_C >= 0].tolist())
            counts["beams"] = {
                "legal": int((leaf_W >= 0).sum()), "products": len(below), "not_in_stock": len(below - offer.stocked),
                "filtered": len((below & offer.stocked) - offer.passed), "in_cart_or_excluded": len((below & offer.passed) - offer.open),
            }  # fmt: skip
    return counts


def _context(question: Retrieve, index: ReleaseIndex, history_H: NDArray[np.int32], loaded: LoadedRetriever) -> dict[str, Any]:
    """How much of what was sent is known."""
    return {
        "cart": {"sent": len(question.cart), "known": int((index.places_of(question.cart) >= 0).sum())},
        "session": {"sent": len(question.session), "known": int((index.places_of(question.session) >= 0).sum())},
        "history": {"sent": len(question.history), "used": len(history_H)},
        "retailer_trained": question.retailer_id in loaded.number_of,
        "surface_trained": question.surface in loaded.retriever.surfaces,
    }  # fmt: skip


def _beams(row: int, loaded: Sequence[LoadedRetriever], found: Sequence[Answers]) -> list[dict[str, Any]]:
    """The prefixes that each generator followed, level by level, the most probable first."""
    told = []
    for each, answers in zip(loaded, found, strict=True):
        if answers.beams is None:
            continue
        prefixes: list[tuple[int, ...]] = [()]
        for level, step in enumerate(answers.beams.steps, start=1):
            columns = (step.parent_RW[row].tolist(), step.code_RW[row].tolist(), step.log_probability_RW[row].tolist())
            beams = [(prefixes[parent], code, log_p) for parent, code, log_p in zip(*columns, strict=True) if parent < len(prefixes)]
            prefixes = [(*before, code) for before, code, _ in beams]
            told += [
                {
                    "retriever": each.label,
                    "level": level,
                    "prefix": format_codes(prefix),
                    "log_probability": round(max(log_p, LEAST_LOG), 4),
                }
                for prefix, (_, _, log_p) in zip(prefixes, beams, strict=True)
                if np.isfinite(log_p)
            ]
    return told
