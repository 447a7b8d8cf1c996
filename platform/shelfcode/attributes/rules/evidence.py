"""What a product's own text supports: the ingredients and dietary tags that it states, however they are spelled.

The rule is written out in `grounding`. An `Evidence` is prepared once per product and asked any number of times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from shelfcode.attributes.rules.denial import (
    NEGATORS,
    THOROUGH,
    aside_places,
    denied_claims,
    is_replaced,
    is_scent,
    negated_words,
    stated_tags,
    trace_places,
    without_double_denials,
)
from shelfcode.attributes.rules.instructions import for_shoppers
from shelfcode.attributes.rules.lexicon import Lexicon, shipped_lexicon
from shelfcode.attributes.rules.product_type import without_brand
from shelfcode.attributes.rules.words import CLAUSE, SENTENCE, Match, is_unspaced, split_words, stem, unspaced, unspaced_mention

_MARKS = frozenset({CLAUSE, SENTENCE})
_JOINS = frozenset({"and", "or", "of", "with", "the", "a", "an"})


@dataclass(frozen=True)
class Evidence:
    """A product's text, read.

    Attributes:
        words: of title and description, brand and instructions left out; both denials of "not gluten free" are crossed out.
        letters: the stems of all words, written together, and where each word starts and ends in them: so "oat milk", "oat-milk" and
            "oatmilk" are the same.
        known: ingredients and substances of the lexicon, and where each that starts at a place ends.
        substances: what products claim to be without.
        denied: places of known words that the text denies.
        elsewhere: places that name what is not in the product.
        tags: the dietary tags that the text supports.
        unspaced: what is written in scripts without spaces.
    """

    words: Sequence[str]
    letters: str
    starts: dict[int, int]
    ends: dict[int, int]
    known: Sequence[Match[Any]]
    known_ends: dict[int, int]
    substances: Sequence[Match[str]]
    denied: set[int]
    elsewhere: set[int]
    tags: frozenset[str]
    unspaced: str


def read_evidence(title: str, description: str | None, brand: str | None) -> Evidence:
    """Evidence of one product, from all of its title and description."""
    lexicon = shipped_lexicon()
    name, prose = for_shoppers(title), for_shoppers(description or "")
    words = _words_of(name, prose, split_words(brand or ""))
    substances = lexicon.free_from.find(words)
    words = without_double_denials(words, substances)
    known: list[Match[Any]] = [*lexicon.ingredients.find(words), *substances]
    denied = negated_words(words, known, substances, THOROUGH)
    aside = aside_places(words)
    letters, starts, ends = _written_together(words)
    return Evidence(
        words=words,
        letters=letters,
        starts=starts,
        ends=ends,
        known=known,
        known_ends={match.start: match.end for match in known},
        substances=substances,
        denied=denied,
        elsewhere=aside | trace_places(words),
        tags=frozenset(_tags(words, substances, denied, aside, lexicon)),
        unspaced=_unspaced_text(name, prose, brand or ""),
    )


def supports_phrase(evidence: Evidence, phrase: str) -> bool:
    """Whether the text states a free phrase such as an ingredient, or another form of it in the lexicon."""
    if is_unspaced(phrase):
        return unspaced_mention(evidence.unspaced, phrase)
    words = trimmed(phrase)
    mentions = [mention for form in _forms(" ".join(words)) for mention in _mentions(evidence, form)]
    mentions = [mention for mention in mentions if not _is_elsewhere(evidence, mention)]
    if not mentions:
        return False
    if not NEGATORS.isdisjoint(words):
        return True  # "gluten free oats": the denial is a part of the name
    denied = _denied(evidence, mentions)
    return any(mention.start not in denied for mention in mentions)


def supports_tag(evidence: Evidence, tag: str) -> bool:
    """Whether the text claims one of DIETARY_TAGS."""
    return tag in evidence.tags


def trimmed(phrase: str) -> list[str]:
    """Words of a phrase without marks and joining words at its ends; empty where there is no letter or digit."""
    words = split_words(phrase)
    while words and (words[-1] in _MARKS or words[-1] in _JOINS):
        words.pop()
    while words and (words[0] in _MARKS or words[0] in _JOINS):
        words.pop(0)
    return words


def _words_of(name: str, prose: str, brand: Sequence[str]) -> list[str]:
    """Words of title and description without the brand. A brand of one word stays in the description, where it may be just that word."""
    described = split_words(prose)
    return [*_without_brand(split_words(name), brand), SENTENCE, *(_without_brand(described, brand) if len(brand) > 1 else described)]


def _without_brand(words: list[str], brand: Sequence[str]) -> list[str]:
    """Words without the brand and its genitive."""
    if not brand or brand[0] not in words:
        return words
    return without_brand(without_brand(words, brand), [*brand[:-1], brand[-1] + "s"])


def _unspaced_text(name: str, prose: str, brand: str) -> str:
    title, described = unspaced(name), unspaced(prose)
    if title and is_unspaced(brand):
        title = title.replace(unspaced(brand), CLAUSE)
    return f"{title}{SENTENCE}{described}" if title or described else ""


def _tags(words: Sequence[str], substances: Sequence[Match[str]], denied: set[int], aside: set[int], lexicon: Lexicon) -> set[str]:
    claims = [claim for claim in lexicon.supporting.find(words) if claim.start not in aside]
    substances = [match for match in substances if match.start not in aside]
    return stated_tags(claims, substances, denied | denied_claims(words, claims))


def _written_together(words: Sequence[str]) -> tuple[str, dict[int, int], dict[int, int]]:
    stems = [stem(word) for word in words]
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    at = 0
    for place, part in enumerate(stems):
        starts[at] = place
        at += len(part)
        ends[at] = place + 1
    return "".join(stems), starts, ends


def _mentions(evidence: Evidence, form: str) -> Iterator[Match[None]]:
    """Where the words of a form stand, from the start of a word to the end of one."""
    at = evidence.letters.find(form)
    while at >= 0:
        if at in evidence.starts and at + len(form) in evidence.ends:
            yield Match(evidence.starts[at], evidence.ends[at + len(form)], None)
        at = evidence.letters.find(form, at + 1)


def _is_elsewhere(evidence: Evidence, mention: Match[Any]) -> bool:
    return (
        mention.start in evidence.elsewhere
        or is_replaced(evidence.words, mention)
        or is_scent(evidence.words, mention, evidence.known_ends)
    )


def _denied(evidence: Evidence, mentions: Sequence[Match[Any]]) -> set[int]:
    """Places that the text denies, with mentions counted in that are not in the lexicon."""
    if {(match.start, match.end) for match in mentions} <= {(match.start, match.end) for match in evidence.known}:
        return evidence.denied
    return negated_words(evidence.words, [*evidence.known, *mentions], evidence.substances, THOROUGH)


@lru_cache(maxsize=65536)
def _forms(phrase: str) -> tuple[str, ...]:
    """The phrase and the other forms of the same ingredient that bear it out, each written together from its stems."""
    own = _letters(phrase)
    if not own:
        return ()
    others = _forms_by_letters().get(own, ())
    return (own, *(other for other in others if other != own))


@cache
def _forms_by_letters() -> dict[str, tuple[str, ...]]:
    """Each form of each ingredient -> the forms that bear it out: all for the name itself, for a narrow form none."""
    lexicon = shipped_lexicon()
    narrow = {_letters(form) for form in lexicon.narrow_forms}
    found: dict[str, tuple[str, ...]] = {}
    for name, forms in lexicon.ingredient_forms.items():
        letters = tuple(dict.fromkeys(map(_letters, forms)))
        stems = {frozenset(map(stem, split_words(form))) for form in forms}
        for form in forms:
            own = _letters(form)
            holds_another = any(other < frozenset(map(stem, split_words(form))) for other in stems)
            if own == _letters(name) or not (own in narrow or holds_another):
                found[own] = letters
    return found


def _letters(phrase: str) -> str:
    return "".join(map(stem, split_words(phrase)))
