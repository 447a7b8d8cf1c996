"""Sessions and requests as tokens: what both retrievers are trained on, and what they are asked with.

A prompt is: where and when, the user's past products, the session so far.

    [start] [retailer] [surface] [weekday] [hour] [history] product ... [session] product ...

A product is one token. Of the history it holds each product once, with how often and how long ago; the most frequent ones are kept.
Whatever is unknown has a token that says so, and training leaves parts out at random, so that users without a history are nothing new.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, O own products, M targets.

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shelfcode.interactions.session_log import NO_TIME, SessionLog
from shelfcode.retrieval.contexts import Contexts, OwnProducts, before_session, own_products
from shelfcode.retrieval.recipe import PromptSettings

COUNT_EDGES = np.array([1, 2, 3, 4, 5, 6, 8, 11, 15, 21, 30, 43])
"""A product of the history that was had so often begins a bucket."""

COUNT_BUCKETS, AGE_BUCKETS = len(COUNT_EDGES), 9
HOURS, WEEKDAYS = 24, 7
_NOTHING = OwnProducts(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Marks:
    """The tokens that are no products, by number: padding is 0, and of each kind the first one means that it is not known."""

    retailers: int
    surfaces: int

    start, history, session, mask = 1, 2, 3, 4
    _first = 5

    @property
    def number(self) -> int:
        """How many there are."""
        return self.retailer(0) + self.retailers

    def weekday(self, place: int) -> int:
        return self._first + 1 + place

    def hour(self, place: int) -> int:
        return self.weekday(WEEKDAYS) + 1 + place

    def surface(self, place: int) -> int:
        return self.hour(HOURS) + 1 + place

    def retailer(self, place: int) -> int:
        return self.surface(self.surfaces) + 1 + place


@dataclass(frozen=True)
class Targets:
    """Products to be predicted.

    Attributes:
        row_M: whose.
        position_M: the token after which it comes.
        product_M: int64.
        weight_M: float32, of its loss.
    """

    row_M: NDArray[np.int64]
    position_M: NDArray[np.int64]
    product_M: NDArray[np.int64]
    weight_M: NDArray[np.float32]


@dataclass(frozen=True)
class Tokens:
    """R prompts of at most T tokens.

    Attributes:
        mark_RT, product_RT: int64: a token is a mark or a product; 0 and -1 where it is not.
        count_RT, age_RT: int64, how often and how long ago a product of the history was had, in buckets; 0 for all other tokens.
        session_R: position of the [session] token.
        length_R: tokens of each prompt.
        own_RO, own_count_RO, own_age_RO: all distinct products of the history (-1: none), with the same buckets.
    """

    mark_RT: NDArray[np.int64]
    product_RT: NDArray[np.int64]
    count_RT: NDArray[np.int64]
    age_RT: NDArray[np.int64]
    session_R: NDArray[np.int64]
    length_R: NDArray[np.int64]
    own_RO: NDArray[np.int64]
    own_count_RO: NDArray[np.int64]
    own_age_RO: NDArray[np.int64]


@dataclass(frozen=True)
class Prompt:
    """One prompt before it is padded: marks in front, the history, the session."""

    marks: list[int]
    own: OwnProducts
    session: NDArray[np.int32]


def prompts_of(contexts: Contexts, marks: Marks, settings: PromptSettings) -> list[Prompt]:
    """The prompts of some requests."""
    return [
        Prompt(
            marks_of(marks, settings, int(contexts.retailer_R[row]), int(contexts.surface_R[row]), int(contexts.at_R[row])),
            own_products(contexts.history(row)),
            contexts.cart(row)[-settings.session_products :],
        )
        for row in range(len(contexts))
    ]


def marks_of(marks: Marks, settings: PromptSettings, retailer: int, surface: int, at: int) -> list[int]:
    """The tokens that a prompt begins with."""
    time = None if at == NO_TIME else datetime.fromtimestamp(at, UTC)
    known = {
        "retailer": marks.retailer(retailer if retailer < marks.retailers else -1),
        "surface": marks.surface(surface if surface < marks.surfaces else -1),
        "weekday": marks.weekday(-1 if time is None else time.weekday()),
        "hour": marks.hour(-1 if time is None else time.hour),
    }
    return [marks.start, *(known[segment] for segment in settings.segments)]


def tokens_of(prompts: Sequence[Prompt], marks: Marks, settings: PromptSettings, masked_end: bool = False) -> Tokens:
    """Prompts side by side, padded to the longest.

    Args:
        masked_end: whether a masked token follows, for a model that predicts at such.
    """
    shown = [prompt.own.top(settings.history_products) for prompt in prompts]
    session_R = np.array([len(prompt.marks) + 1 + len(own.product_O) for prompt, own in zip(prompts, shown, strict=True)], np.int64)
    length_R = session_R + 1 + np.array([len(prompt.session) for prompt in prompts], np.int64) + masked_end
    rows, longest, most = len(prompts), int(length_R.max()), max(1, *(len(prompt.own.product_O) for prompt in prompts))
    mark_RT, count_RT, age_RT = (np.zeros((rows, longest), np.int64) for _ in range(3))
    product_RT, own_RO = np.full((rows, longest), -1, np.int64), np.full((rows, most), -1, np.int64)
    own_count_RO, own_age_RO = (np.zeros((rows, most), np.int64) for _ in range(2))
    for row, (prompt, own) in enumerate(zip(prompts, shown, strict=True)):
        front, session, end = len(prompt.marks), session_R[row], length_R[row]
        mark_RT[row, :front], mark_RT[row, front], mark_RT[row, session] = prompt.marks, marks.history, marks.session
        history = slice(front + 1, session)
        product_RT[row, history], count_RT[row, history], age_RT[row, history] = own.product_O, *_buckets(own)
        product_RT[row, session + 1 : end - masked_end] = prompt.session
        if masked_end:
            mark_RT[row, end - 1] = marks.mask
        everything = slice(0, len(prompt.own.product_O))
        own_RO[row, everything] = prompt.own.product_O
        own_count_RO[row, everything], own_age_RO[row, everything] = _buckets(prompt.own)
    return Tokens(mark_RT, product_RT, count_RT, age_RT, session_R, length_R, own_RO, own_count_RO, own_age_RO)


def _buckets(own: OwnProducts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often, and how long ago in powers of two. 0 is left for products that are not of a history."""
    return np.searchsorted(COUNT_EDGES, own.count_O, side="right"), 1 + np.minimum(np.log2(own.age_O + 1), AGE_BUCKETS - 1).astype(np.int64)


@dataclass(frozen=True)
class Sampled:
    """A batch of sessions to learn from."""

    tokens: Tokens
    targets: Targets


def sample_batch(
    log: SessionLog, sessions: NDArray[np.int64], marks: Marks, settings: PromptSettings, random: np.random.Generator, masked: bool = False
) -> Sampled:
    """Some sessions as prompts and targets.

    Where the order of a session means something, every product of it is to be predicted from those before it. A set is shuffled and cut
    at random: what stands before the cut is the cart, and all that stands after it is to be predicted.

    Args:
        masked: whether targets are predicted at masked tokens that see both sides (as BERT is trained), and not from what came before.
    """
    prompts: list[Prompt] = []
    wanted: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    for session in sessions:
        prompt = _prompt(log, int(session), marks, settings, random)
        if masked:
            prompt, targets = _masked(prompt, random, settings)
        else:
            targets = _next(prompt) if log.ordered else _rest(prompt, random, settings)
        prompts.append(prompt)
        wanted.append(targets)
    tokens = tokens_of(prompts, marks, settings)
    if masked:
        hidden = tokens.product_RT == _HIDDEN
        tokens.mark_RT[hidden], tokens.product_RT[hidden] = marks.mask, -1
    place, product, weight = (np.concatenate(part) for part in zip(*wanted, strict=True))
    row_M = np.repeat(np.arange(len(prompts)), [len(targets[0]) for targets in wanted])
    return Sampled(tokens, Targets(row_M, tokens.session_R[row_M] + place, product.astype(np.int64), weight))


_HIDDEN = -2
"""Stands for a product of a session until its token becomes a mask."""


def _prompt(log: SessionLog, session: int, marks: Marks, settings: PromptSettings, random: np.random.Generator) -> Prompt:
    """The prompt of a session, with parts left out at random and, where order means nothing, in a random order."""
    first, end = int(log.first_S[session]), int(log.first_S[session + 1])
    products = np.asarray(log.product_E[max(first, end - settings.session_products - 1) : end])
    if not log.ordered:
        products = random.permutation(np.asarray(log.product_E[first:end]))[: settings.session_products + 1]
    own = own_products(before_session(log, session))
    if random.random() < settings.segment_dropout:
        own = _NOTHING
    elif settings.token_dropout:
        kept = random.random(len(own.product_O)) >= settings.token_dropout
        own = OwnProducts(own.product_O[kept], own.count_O[kept], own.age_O[kept])
    retailer, surface, at = int(log.retailer_S[session]), int(log.surface_S[session]), int(log.at_S[session])
    dropped = random.random(3) < settings.segment_dropout
    front = marks_of(marks, settings, -1 if dropped[0] else retailer, -1 if dropped[1] else surface, NO_TIME if dropped[2] else at)
    return Prompt(front, own, products)


Wanted = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Places of targets behind the [session] token, their products, and their weights."""


def _next(prompt: Prompt) -> Wanted:
    """Each product after those before it. The first one is a target only where there is a history to predict it from, or no other target:
    sessions of one product whose history was left out may fill a whole batch, and its loss would be a mean of nothing."""
    first = 0 if len(prompt.own.product_O) or len(prompt.session) == 1 else 1
    place = np.arange(first, len(prompt.session))
    return place, prompt.session[first:].astype(np.int64), np.ones(len(place), np.float32)


def _rest(prompt: Prompt, random: np.random.Generator, settings: PromptSettings) -> Wanted:
    """All products after a random cut, or so many of them as are wanted."""
    count = len(prompt.session)
    places, products = [], []
    for cut in random.choice(count, size=min(count, settings.cuts), replace=False):
        rest = prompt.session[cut:][: settings.targets_per_cut]  # shuffled before: the first ones are as good as any
        places.append(np.full(len(rest), cut))
        products.append(rest)
    place = np.concatenate(places)
    return place, np.concatenate(products).astype(np.int64), np.ones(len(place), np.float32)


def _masked(prompt: Prompt, random: np.random.Generator, settings: PromptSettings) -> tuple[Prompt, Wanted]:
    """Some products hidden, at least one; the last one more often, because at the end a model of this kind will be asked."""
    count = len(prompt.session)
    hidden = random.random(count) < settings.masked_share
    if not hidden.any() or random.random() < settings.masked_share:
        hidden[-1] = True
    place = np.flatnonzero(hidden)
    session = np.where(hidden, np.int32(_HIDDEN), prompt.session)
    return Prompt(prompt.marks, prompt.own, session), (place + 1, prompt.session[place].astype(np.int64), np.ones(len(place), np.float32))
