"""How a text denies what it mentions.

Three things can be said against a mention: the product is without it ("no sugar", "nut free"), a claim is taken back ("not vegan"), or the
text speaks of something else (a scent, a trace, what goes with the product).
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from shelfcode.attributes.rules.words import CLAUSE, SENTENCE, Match

_MARKS = frozenset({CLAUSE, SENTENCE})

# What a product is without: "nut free", "no sugar", "made without milk, eggs or soy", "free of gluten"

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


# Dietary tags that a text claims outright ("vegan") or by denying a substance ("no gluten"), and claims that it takes back ("not vegan")

_DENIERS = THOROUGH.negators - {"free", "zero", "0", "0g", "0mg", "without", "excludes", "excluding"}
_PASSED = frozenset(
    {
        "a", "an", "the", "suitable", "for", "certified", "be", "been", "is", "are", "considered", "100%", "strictly", "completely",
        "entirely", "fully", "necessarily", "yet", "currently", "really", "truly", "guaranteed", "guarantee", "labeled", "labelled", "as",
        "to", "this", "technically", "actually", "always", "by", "any", "means", "it", "that", "product", "claim", "claimed",
    }
)  # fmt: skip
"""Words between a denial and the claim it denies: "not yet certified organic"."""

_DENIAL_REACH = 8
_CANCELLED = "-"


def stated_tags(claims: Sequence[Match[str | None]], substances: Sequence[Match[str]], denied: Collection[int]) -> set[str]:
    """Tags that a text states.

    Args:
        claims: phrases that say a tag.
        substances: what products claim to be without, and the tag which that makes.
        denied: places of the words that the text denies.
    """
    tags = {claim.value for claim in claims if claim.value and claim.start not in denied}
    if denied:
        # "No sugar added" is a claim of its own, not a second one of "no sugar".
        claimed = {place for claim in claims if claim.end - claim.start > 1 for place in range(claim.start, claim.end)}
        tags |= {match.value for match in substances if match.value and match.start in denied and match.start not in claimed}
    return tags


def denied_claims(words: Sequence[str], claims: Sequence[Match[str | None]]) -> set[int]:
    """Places where claims start that the text takes back: "not suitable for vegans", "non-vegan", "vegan: no"."""
    ends = {claim.end: claim.start for claim in claims}
    return {claim.start for claim in claims if _denier(words, claim.start, ends) is not None or _answered_no(words, claim.end)}


def without_double_denials(words: Sequence[str], substances: Sequence[Match[str]]) -> list[str]:
    """Words with both denials of "not gluten free" crossed out: it says nothing of being without gluten."""
    crossed = list(words)
    ends = {match.end: match.start for match in substances}
    for place, word in enumerate(words):
        if word != "free":
            continue
        denier = _denier(words, ends.get(place, place), {})
        if denier is not None:
            crossed[denier] = crossed[place] = _CANCELLED
        elif _answered_no(words, place + 1):
            crossed[place] = _CANCELLED
    return crossed


def _denier(words: Sequence[str], place: int, ends: dict[int, int]) -> int | None:
    """Where the denial of what starts at `place` stands. `ends`: claims, which a list of them joins by "or"."""
    for _ in range(_DENIAL_REACH):
        if not place:
            return None
        before = words[place - 1]
        if before in _DENIERS:
            return place - 1
        if before in ("or", "nor") and place - 1 in ends:
            place = ends[place - 1]
        elif before in _PASSED:
            place -= 1
        else:
            return None
    return None


def _answered_no(words: Sequence[str], end: int) -> bool:
    """Whether a list of properties says no to the one that ends here: "Vegan: no", but not "Vegan, No. 5"."""
    mark, answer, *after = [*words[end : end + 4], *[SENTENCE] * 4][:4]
    return mark in _MARKS and answer in ("no", "false") and after[0] in _MARKS and not after[1].isdigit()


# Mentions of what the product does not have: scents, what goes with it, other products, traces

SCENTS = frozenset({"scent", "scented", "fragrance"})
_SCENT_WORDS = SCENTS | {"scents", "fragrances", "fragranced", "aroma"}
_SCENT_BEFORE = frozenset(
    {("scent", "of"), ("scents", "of"), ("scented", "with"), ("fragrance", "of"), ("smell", "of"), ("smells", "like"), ("aroma", "of")}
)
_SCENT_REACH = 4
_IN_PLACE_BEFORE = frozenset(
    {("instead", "of"), ("rather", "than"), ("place", "of"), ("alternative", "to"), ("substitute", "for"), ("replacement", "for")}
)
_IN_PLACE_AFTER = frozenset({"alternative", "alternatives", "substitute", "substitutes", "replacement", "replacer", "less"})

_SUGGESTING = frozenset(
    {"pair", "pairs", "paired", "pairing", "goes", "serve", "enjoy", "great", "perfect", "delicious", "try", "excellent"}
)
_SUGGESTING_REACH = 3
_OTHERS = frozenset({("also", "try"), ("also", "available"), ("our", "other"), ("out", "our")})
_TRACES = frozenset(
    {
        ("may", "contain"),
        ("traces", "of"),
        ("trace", "of"),
        ("facility", "that"),
        ("facility", "which"),
        ("facility", "with"),
        ("equipment", "that"),
        ("equipment", "with"),
    }
)
_PAIR_STARTS = {pairs: frozenset(first for first, _ in pairs) for pairs in (_OTHERS, _TRACES, _SCENT_BEFORE, _IN_PLACE_BEFORE)}


def aside_places(words: Sequence[str]) -> set[int]:
    """Places that speak of another product, from the cue to the end of its sentence: "pairs well with vegan cheese", "also try ..."."""
    starts = [place for place, word in enumerate(words) if word == "with" and _suggests(words, place)]
    return _to_sentence_ends(words, [*starts, *_pair_places(words, _OTHERS)])


def trace_places(words: Sequence[str]) -> set[int]:
    """Places that name what got in by chance, to the end of the sentence: "may contain ...", "made in a facility that also handles ..."."""
    return _to_sentence_ends(words, _pair_places(words, _TRACES))


def is_scent(words: Sequence[str], mention: Match[Any], ends: dict[int, int]) -> bool:
    """Whether a mention is only what a product smells of: "lavender scented", "lemon & mint scent", "the scent of roses".

    Args:
        ends: start -> end of what else is named, which may stand between a mention and the scent.
    """
    if tuple(words[max(0, mention.start - 2) : mention.start]) in _SCENT_BEFORE:
        return True
    place = mention.end
    for _ in range(_SCENT_REACH):
        place = ends.get(place + (words[place : place + 1] == ["and"]), place)
    if words[place : place + 1] == ["fresh"]:
        place += 1
    return place < len(words) and words[place] in _SCENT_WORDS


def is_replaced(words: Sequence[str], mention: Match[Any]) -> bool:
    """Whether something else stands in for what is mentioned: "instead of sugar", "egg replacer", "egg-less"."""
    after = words[mention.end] if mention.end < len(words) else SENTENCE
    return after in _IN_PLACE_AFTER or tuple(words[max(0, mention.start - 2) : mention.start]) in _IN_PLACE_BEFORE


def _suggests(words: Sequence[str], place: int) -> bool:
    for before in reversed(words[max(0, place - _SUGGESTING_REACH) : place]):
        if before == SENTENCE:
            return False
        if before in _SUGGESTING:
            return True
    return False


def _pair_places(words: Sequence[str], pairs: frozenset[tuple[str, str]]) -> list[int]:
    firsts = _PAIR_STARTS[pairs]
    return [place for place in range(len(words) - 1) if words[place] in firsts and (words[place], words[place + 1]) in pairs]


def _to_sentence_ends(words: Sequence[str], starts: Sequence[int]) -> set[int]:
    places: set[int] = set()
    for start in starts:
        for place in range(start, len(words)):
            if words[place] == SENTENCE or place in places:
                break
            places.add(place)
    return places
