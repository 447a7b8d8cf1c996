"""The dietary tags that a text claims, outright ("vegan") or by denying a substance ("no gluten", "dairy-free")."""

from collections.abc import Collection, Sequence

from shelfcode.attributes.rules.negation import THOROUGH
from shelfcode.attributes.rules.phrases import CLAUSE, SENTENCE, Match

_DENIERS = THOROUGH.negators - {"free", "zero", "0", "0g", "0mg", "without", "excludes", "excluding"}
_PASSED = frozenset(
    {
        "a", "an", "the", "suitable", "for", "certified", "be", "been", "is", "are", "considered", "100%", "strictly", "completely",
        "entirely", "fully", "necessarily", "yet", "currently", "really", "truly", "guaranteed", "guarantee", "labeled", "labelled", "as",
        "to", "this", "technically", "actually", "always", "by", "any", "means", "it", "that", "product", "claim", "claimed",
    }
)  # fmt: skip
"""Words between a denial and the claim it denies: "not yet certified organic"."""

_MARKS = frozenset({CLAUSE, SENTENCE})
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
