"""What became of contexts: how many were read, rejected and answered, and why lists are short."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list.

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from shelfcode.retrieval.context_table import NamedContexts
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.retriever import Retriever

MOST_NAMES = 10_000
"""Names of retailers without products that are kept."""


@dataclass(frozen=True)
class AnswerCounts:
    """Counts of some contexts; those of two sets of contexts add up.

    Attributes:
        read: rows; each was answered or rejected. Lists alone count as answered, and not as read.
        reasons: how often each reason rejected one.
        short: lists of fewer products than were asked for, empty ones among them.
        exhausted: of these, lists that hold all that the retailer has beside the cart; the others are short for want of beams or, of a
            scoring model, of products that it knows.
        empty: lists without a product.
        at_empty_retailers: of these, those whose retailer has no product at all; and the names of such retailers.
        unknown_retailers: contexts that name a retailer that was not trained on.
        unknown_products: values of histories and carts that the release lacks; they were left out.
    """

    read: int = 0
    answered: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    short: int = 0
    exhausted: int = 0
    empty: int = 0
    at_empty_retailers: int = 0
    empty_retailers: tuple[str, ...] = ()
    unknown_retailers: int = 0
    unknown_products: int = 0

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return AnswerCounts(**{**sums, "empty_retailers": tuple(sorted(set(sums["empty_retailers"]))[:MOST_NAMES])})

    def to_json(self) -> str:
        """As text, for passing on."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "AnswerCounts":
        """What `to_json` gave."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{**values, "reasons": Counter(values["reasons"]), "empty_retailers": tuple(values["empty_retailers"])})


def count_answers(named: NamedContexts, lists: Lists, retriever: Retriever) -> AnswerCounts:
    """The counts of lists that a retriever answered with."""
    length_R = (lists.products_RK >= 0).sum(axis=1)
    short = np.flatnonzero(length_R < lists.products_RK.shape[1])
    set_R = retriever.shelves.set_of(named.contexts.retailer_R)
    nothing = {int(number) for number in np.unique(set_R[short]) if not len(retriever.shelves.sets.sets[number])}
    there = [row for row in short.tolist() if int(set_R[row]) in nothing]
    retailers = {int(named.contexts.retailer_R[row]) for row in there}
    return AnswerCounts(
        answered=len(named), short=len(short),
        exhausted=sum(_exhausted(named, row, int(length_R[row]), retriever) for row in short.tolist()),
        empty=int((length_R == 0).sum()), at_empty_retailers=len(there),
        empty_retailers=tuple(retriever.retailers[number] for number in sorted(retailers) if number >= 0),
        unknown_retailers=int(named.unknown_retailer_R.sum()), unknown_products=named.unknown_products,
    )  # fmt: skip


def _exhausted(named: NamedContexts, row: int, length: int, retriever: Retriever) -> bool:
    """Whether a list holds all that could be answered with."""
    shelves = retriever.shelves
    held = shelves.sets.sets[int(shelves.set_of(named.contexts.retailer_R[row : row + 1])[0])]
    cart = np.unique(named.contexts.cart(row))
    return bool(length == len(held) - int(held.holds_N[cart].sum()))
