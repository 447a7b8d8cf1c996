"""What a judge is asked about a set of products, and how its replies become one number; larger always means that they belong together.

| instrument | dimensions | question | value |
|---|---|---|---|
| pmi | all | how likely is each title after the others of its set, and alone? | share of what a title says that the others foretell |
| rating | all | a digit from 1 to 5 | expected digit, its prior without products taken out |
| intruder | functional | which of six does not belong? in all six rotations | mean log-probability of the intruder, over chance |
| triplets | purchase, journey | which of two goes with a product? in both orders | mean log-odds of the one from its own set |

PMI needs no instruction to be followed: share = 1 - log p(title | frame, titles before it) / log p(title | frame), the mean over all titles
but the first. A share and not a sum of bits, because long titles have more bits to explain. On 30 leaves of Instacart, SmolLM2-135M has an
AUROC of .98 so, .95 by the sum of bits, and .92 by the share with titles alone and unframed.
The prior of a rating is what the model answers where the list is empty, subtracted as log-probabilities (Zhao et al., 2021).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.special import logsumexp

from shelfcode.llm.likelihood import Choice, Passage, Question, Reply

FUNCTIONAL, PURCHASE, JOURNEY = "functional", "purchase", "journey"
DIMENSIONS = (FUNCTIONAL, PURCHASE, JOURNEY)
"""What clusters are judged by: functional coherence, purchase likelihood, and relevance to one stage of a customer's journey."""

FRAMES = {
    FUNCTIONAL: "A list of similar products:",
    PURCHASE: "Bought together in one shopping trip:",
    JOURNEY: "Everything needed for one occasion:",
}
"""What stands above the titles that pmi reads."""

RATED = {
    FUNCTIONAL: "How well can these products replace one another? 5: all serve the same purpose. 1: none could stand in for another.",
    PURCHASE: "How likely is it that a shopper buys several of these products in one trip? 5: very likely. 1: very unlikely.",
    JOURNEY: "How well do these products serve one occasion, task or stage of a shopper's life? 5: all do. 1: they have nothing in common.",
}
COMPARED = {
    PURCHASE: "Which of the two would a shopper more likely buy in the same trip as",
    JOURNEY: "Which of the two would a shopper more likely need for the same occasion or task as",
}
SYSTEM = "You know the products of shops and how people shop. Answer with a single character and nothing else."
DIGITS = ("1", "2", "3", "4", "5")
LETTERS = ("A", "B", "C", "D", "E", "F")
OTHERS = 5
"""Products beside an intruder."""

LEAST_MASS = 0.5
"""A reply whose choices hold less of the probability than this is invalid: the model wanted to say something else."""


@dataclass(frozen=True)
class Titled:
    """A set's titles, and those of strangers to it, the farthest first."""

    titles: tuple[str, ...]
    strangers: tuple[str, ...]

    def reordered(self) -> "Titled":
        """The same in another order: every other title first. It keeps no title's neighbour."""
        return Titled(self.titles[1::2] + self.titles[::2], self.strangers)


@dataclass(frozen=True)
class Reading:
    """What the replies about one set come to.

    Attributes:
        value: None where no reply was valid.
        asked, valid: questions, and those whose reply counts.
        turned, flipped: orders that a question was asked in beside the first, and those that were answered otherwise.
    """

    value: float | None
    asked: int
    valid: int
    turned: int = 0
    flipped: int = 0


@dataclass(frozen=True)
class Instrument:
    """One way to ask.

    Attributes:
        ask: the questions about a set, of one dimension.
        read: its reading from the replies, and from those to `prior`.
        prior: questions that are asked once, about no products.
    """

    name: str
    dimensions: tuple[str, ...]
    ask: Callable[[Titled, str], list[Question]]
    read: Callable[[Titled, str, Sequence[Reply], Sequence[Reply]], Reading]
    prior: Callable[[str], list[Question]]


def _passage(titles: Sequence[str], frame: str) -> Passage:
    parts = [frame, *(part for title in titles for part in ("\n-", f" {title}"))]
    return Passage((*parts, "\n"), tuple(range(2, 2 * len(titles) + 1, 2)))


def _ask_pmi(of: Titled, dimension: str) -> list[Question]:
    """All titles together, then each but the first alone: nothing stands before the first that could foretell it."""
    return [_passage(of.titles, FRAMES[dimension]), *(_passage((title,), FRAMES[dimension]) for title in of.titles[1:])]


def _read_pmi(_: Titled, __: str, replies: Sequence[Reply], ___: Sequence[Reply]) -> Reading:
    valid = sum(reply.values is not None for reply in replies)
    together, alone = replies[0].values, [reply.values[0] if reply.values else 0.0 for reply in replies[1:]]
    if together is None:
        return Reading(None, len(replies), valid)
    pairs = zip(together[1:], alone, strict=True)
    shares = [1 - after / before for after, before in pairs if before]  # 0: a title without a token, or without a reply
    return Reading(sum(shares) / len(shares) if shares else None, len(replies), valid)


def _rating(titles: Sequence[str], dimension: str) -> Choice:
    listed = "\n".join(f"- {title}" for title in titles) or "- (no products)"
    return Choice(SYSTEM, f"{listed}\n\n{RATED[dimension]} One digit from 1 to 5:", DIGITS)


def _ask_rating(of: Titled, dimension: str) -> list[Question]:
    return [_rating(of.titles, dimension)]


def _prior_rating(dimension: str) -> list[Question]:
    return [_rating((), dimension)]


def _read_rating(_: Titled, __: str, replies: Sequence[Reply], prior: Sequence[Reply]) -> Reading:
    values = _valid(replies[0])
    if values is None:
        return Reading(None, 1, 0)
    before = prior[0].values if prior and prior[0].values else (0.0,) * len(values)
    shifted = [value - other for value, other in zip(values, before, strict=True)]
    total = float(logsumexp(shifted))
    return Reading(sum(digit * math.exp(value - total) for digit, value in enumerate(shifted, start=1)), 1, 1)


def _ask_intruder(of: Titled, _: str) -> list[Question]:
    return [_intruder(of.titles[:OTHERS], stranger, turn) for stranger in of.strangers for turn in range(OTHERS + 1)]


def _intruder(titles: Sequence[str], stranger: str, turn: int) -> Choice:
    listed = [*titles, stranger]
    listed = listed[turn:] + listed[:turn]
    shown = "\n".join(f"{letter}. {title}" for letter, title in zip(LETTERS, listed, strict=True))
    return Choice(SYSTEM, f"{shown}\n\nFive of these products belong together. Which one does not? One letter from A to F:", LETTERS)


def _read_intruder(_: Titled, __: str, replies: Sequence[Reply], ___: Sequence[Reply]) -> Reading:
    """Answers are products, whatever their letter was; those of one stranger's rotations should name the same one."""
    size, gains, flipped, turned = OTHERS + 1, [], 0, 0
    for first in range(0, len(replies), size):
        named = []
        for turn, reply in enumerate(replies[first : first + size]):
            if (values := _valid(reply)) is None:
                continue
            gains.append(values[(OTHERS - turn) % size] - float(logsumexp(values)) + math.log(size))
            named.append((max(range(size), key=values.__getitem__) + turn) % size)
        turned += max(0, len(named) - 1)
        flipped += len(named) - max((named.count(each) for each in named), default=0)
    return Reading(sum(gains) / len(gains) if gains else None, len(replies), len(gains), turned, flipped)


def _ask_triplets(of: Titled, dimension: str) -> list[Question]:
    return [_triplet(*each, dimension, order) for each in _triplets_of(of) for order in (0, 1)]


def _triplets_of(of: Titled) -> list[tuple[str, str, str]]:
    """Anchor, mate and stranger: each product of the first half with one of the other."""
    half = len(of.titles) // 2
    return [(of.titles[place], of.titles[place + half], of.strangers[0]) for place in range(half)] if of.strangers else []


def _triplet(anchor: str, mate: str, stranger: str, dimension: str, order: int) -> Choice:
    first, second = (mate, stranger) if order == 0 else (stranger, mate)
    return Choice(SYSTEM, f"A. {first}\nB. {second}\n\n{COMPARED[dimension]} {anchor}? One letter, A or B:", LETTERS[:2])


def _read_triplets(_: Titled, __: str, replies: Sequence[Reply], ___: Sequence[Reply]) -> Reading:
    odds, valid, turned, flipped = [], 0, 0, 0
    for first in range(0, len(replies), 2):
        both = [_valid(reply) for reply in replies[first : first + 2]]
        valid += sum(each is not None for each in both)
        straight, swapped = both
        if straight is None or swapped is None:
            continue
        a, b = straight[0] - straight[1], swapped[1] - swapped[0]
        odds.append((a + b) / 2)
        turned, flipped = turned + 1, flipped + ((a > 0) != (b > 0))
    return Reading(sum(odds) / len(odds) if odds else None, len(replies), valid, turned, flipped)


def _valid(reply: Reply) -> tuple[float, ...] | None:
    if reply.values is None or float(logsumexp(reply.values)) < math.log(LEAST_MASS):
        return None
    return reply.values


def _none(_: str) -> list[Question]:
    return []


INSTRUMENTS = {
    each.name: each
    for each in (
        Instrument("pmi", DIMENSIONS, _ask_pmi, _read_pmi, _none),
        Instrument("rating", DIMENSIONS, _ask_rating, _read_rating, _prior_rating),
        Instrument("intruder", (FUNCTIONAL,), _ask_intruder, _read_intruder, _none),
        Instrument("triplets", (PURCHASE, JOURNEY), _ask_triplets, _read_triplets, _none),
    )
}


def prompts() -> str:
    """All wordings, for the hash under which judgments are comparable."""
    return repr((FRAMES, RATED, COMPARED, SYSTEM, _intruder(["1", "2", "3", "4", "5"], "6", 0), _triplet("1", "2", "3", PURCHASE, 0)))
