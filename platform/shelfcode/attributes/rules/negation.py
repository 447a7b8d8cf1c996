"""What a text says a product is without: "nut free", "no sugar", "made without milk, eggs or soy", "free of gluten"."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from shelfcode.attributes.rules.phrases import CLAUSE, SENTENCE, Match

NEGATORS = frozenset({"no", "not", "non", "never", "without", "zero", "excludes", "excluding", "free"})

_NO_CLAIM = frozenset({"range", "trade", "of", "from", "run", "shipping", "gift", "standing"})

_FILLERS = frozenset(
    {
        "a", "an", "any", "of", "the", "with", "from", "for", "by", "in", "use", "using", "used", "contain", "contains", "containing",
        "include", "includes", "included", "including", "added", "add", "adding", "artificial", "refined", "real", "other", "such",
        "animal", "tree", "trans", "saturated", "high", "fructose", "flavors", "flavours", "colors", "colours", "preservatives",
        "sweeteners", "hidden", "made", "make", "certified", "suitable", "be", "is", "are", "have", "has", "harsh", "synthetic",
        "ingredients", "products", "additives", "hormones", "antibiotics", "fillers",
    }
)  # fmt: skip
"""Words that a negation reaches across on its way to what it denies; any other ends it ("no stir peanut butter")."""


class Wording(NamedTuple):
    """The words that deny, those that a denial reaches across, and those after which "free" says nothing of what stands before it."""

    negators: frozenset[str]
    fillers: frozenset[str]
    no_claim: frozenset[str]


PLAIN = Wording(NEGATORS, _FILLERS, _NO_CLAIM)
THOROUGH = Wording(
    NEGATORS | {"isnt", "arent", "wasnt", "doesnt", "dont", "didnt", "cannot", "cant", "wont", "nor", "neither", "0", "0g", "0mg"},
    _FILLERS | {"g", "gram", "grams", "mg", "white", "processed", "modified", "ever", "even", "actually", "traces", "amount", "amounts"},
    _NO_CLAIM - {"gift"},  # "gluten free gift basket"
)
"""Where a denial that is missed does more harm than one too many."""

_AFTER = frozenset({"added", "products", "ingredients", "product", "ingredient", "protein"})
_LIST_WORDS = frozenset({"or", "nor"})


def negated_words(
    words: Sequence[str], substances: Sequence[Match[Any]], claimable: Sequence[Match[Any]], wording: Wording = PLAIN
) -> set[int]:
    """Places of the words that the text denies.

    Args:
        words: a text from `split_words`.
        substances: all that may be denied: ingredients, tags, substances.
        claimable: those among them that products are sold as being free of; only these chain back from "free" over a list, so that
            in "dark chocolate, nut & gluten free" the chocolate stays.
        wording: what denies, and across what.
    """
    if wording.negators.isdisjoint(words):
        return set()
    ends: dict[int, int] = {}
    starts: dict[int, int] = {}
    for match in substances:
        starts[match.start] = max(match.end, starts.get(match.start, 0))
        ends[match.end] = min(match.start, ends.get(match.end, match.start))
    claimable_ends = {match.end: match.start for match in claimable}
    denied: set[int] = set()
    for place, word in enumerate(words):
        if word not in wording.negators:
            continue
        following = words[place + 1] if place + 1 < len(words) else ""
        if word != "free":
            if following not in ("only", "just"):
                denied |= _denied_after(words, place + 1, starts, wording.fillers, listed=False)
        elif following in ("of", "from"):
            denied |= _denied_after(words, place + 2, starts, wording.fillers, listed=True)
        elif following not in wording.no_claim and place in ends:
            denied.update(range(ends[place], place))
            denied |= _denied_before(words, ends[place], claimable_ends)
    return denied


def _denied_after(words: Sequence[str], place: int, starts: dict[int, int], fillers: frozenset[str], listed: bool) -> set[int]:
    """From a negator on: one substance, or as many as its list names. `listed`: commas and "and" go on with the list."""
    denied: set[int] = set()
    if not listed:
        ahead = words[place : place + 14]
        sentence = ahead[: ahead.index(SENTENCE)] if SENTENCE in ahead else ahead
        listed = not _LIST_WORDS.isdisjoint(sentence)
    while place < len(words) and words[place] != SENTENCE:
        if place in starts:
            denied.update(range(place, starts[place]))
            place = starts[place]
            while place < len(words) and words[place] in _AFTER:
                place += 1
            connector = words[place] if place < len(words) else SENTENCE
            if connector not in _LIST_WORDS and not (listed and connector in (CLAUSE, "and")):
                break
        elif not (words[place] in fillers or words[place] in _LIST_WORDS or (listed and words[place] in (CLAUSE, "and"))):
            break
        place += 1
    return denied


def _denied_before(words: Sequence[str], place: int, claimable_ends: dict[int, int]) -> set[int]:
    """Back from the substance before "free" over a list of more of them: "egg, dairy & nut free"."""
    denied: set[int] = set()
    joined = False
    while place:
        connector = words[place - 1]
        joined = joined or connector in ("and", "or")
        if connector == CLAUSE and joined and place - 1 in claimable_ends:
            step = 1
        elif connector in ("and", "or"):
            step = 2 if place > 1 and words[place - 2] == CLAUSE else 1
        else:
            break
        if place - step not in claimable_ends:
            break
        start = claimable_ends[place - step]
        denied.update(range(start, place - step))
        place = start
    return denied
