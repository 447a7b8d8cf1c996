"""Where a text names something and does not say that the product has it: scents, what goes with it, other products, traces."""

from collections.abc import Sequence
from typing import Any

from shelfcode.attributes.rules.phrases import SENTENCE, Match

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
