"""What a product is, read out of its title: the last known kind of its first telling clause.

"Creamy Peanut Butter, No Stir, 16 oz" -> "peanut butter"; "Laptop Stand for Desk" -> "laptop stand".
"""

from collections.abc import Sequence
from typing import NamedTuple

from shelfcode.attributes.rules.lexicon import Area, Kind, Lexicon
from shelfcode.attributes.rules.words import CLAUSE, SENTENCE, Match

_STOPS = frozenset(
    {
        "a", "an", "the", "of", "and", "or", "to", "on", "at", "as", "is", "it", "my", "your", "our", "this", "that", "only", "per",
        "up", "off", "out", "one", "two",
    }
)  # fmt: skip
_CLAUSE_WORDS = frozenset(
    {
        "with", "w", "for", "without", "in", "featuring", "contains", "containing", "made", "from", "by", "no", "plus", "includes",
        "including", "inspired", "holds", "fits", "compatible", "works",
    }
)  # fmt: skip
_COUNTED = frozenset({"set", "pack", "box", "case", "lot", "bundle", "bag"})
_COLLECTIONS = frozenset({"set", "kit", "gift set", "basket"})
_FALLBACK_WORDS = 3
_MODIFIERS = 2
_NAME_REACH = 12
"""Past this many words a clause without punctuation lists uses and synonyms: a kind among the first ones is preferred."""


class ProductType(NamedTuple):
    """`name` is empty for a title without a word; `area` is None where the kind is not known; `words` are those the name was read from."""

    name: str
    area: Area | None
    words: frozenset[str]


def without_brand(words: list[str], brand: Sequence[str]) -> list[str]:
    """Words with every occurrence of the brand left out, unless nothing would be left."""
    length = len(brand)
    if not length:
        return words
    kept: list[str] = []
    place = 0
    while place < len(words):
        if words[place] == brand[0] and words[place : place + length] == brand:
            place += length
        else:
            kept.append(words[place])
            place += 1
    return kept if any(word.isalpha() for word in kept) else words


def _opens_nothing(words: Sequence[str], place: int, clause: Sequence[str]) -> bool:
    """Whether a clause word is a part of the name after all: "all in one", "no stir peanut butter"."""
    return (words[place] == "in" and place > 0 and words[place - 1] == "all") or (words[place] == "no" and not clause)


def clauses(words: Sequence[str], lexicon: Lexicon) -> tuple[list[list[str]], list[list[str]]]:
    """The title's main clauses and those that only add to it ("with ...", "for ..."), sizes and counts left out."""
    main: list[list[str]] = [[]]
    added: list[list[str]] = []
    current = main
    place = 0
    while place < len(words):
        word = words[place]
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in (CLAUSE, SENTENCE):
            current = main
            current.append([])
        elif word in _COUNTED and following == "of" and place + 2 < len(words) and words[place + 2][0].isdigit():
            place += 2
            current.append([])
        elif word[0].isdigit():
            # A size ends a clause; a bare number may be a model's ("HD 10 tablet") and is only left out, as is "2 in 1".
            if following == "in" and place + 2 < len(words) and words[place + 2][0].isdigit():
                place += 2
            elif following in lexicon.units:
                place += 1
                current.append([])
            elif not word.isdigit():
                current.append([])
        elif word in _CLAUSE_WORDS and not _opens_nothing(words, place, current[-1]):
            current = added
            current.append([])
        else:
            current[-1].append(word)
        place += 1
    return [clause for clause in main if clause], [clause for clause in added if clause]


class _TitleReader:
    """Finds the product type among clauses, for one lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def kind_in(self, clause: list[str], title: Sequence[str]) -> ProductType | None:
        """The last kind of a clause, with what stands before it where that makes it another kind."""
        matches = [Match(match.start, match.end, match.value) for match in self.lexicon.kinds.find(clause) if match.value is not None]
        if not matches:
            return None
        matches = [match for match in matches if match.end <= _NAME_REACH] or matches[:1]
        start, end, kind = matches.pop()
        if kind.yields and matches and not any(self._tells(word) for word in clause[matches[-1].end : start]):
            start, end, kind = matches.pop()
        area, before = kind.area, ""
        if kind.takes_ingredient and start:
            before = self._modifier(clause, matches, start, kind)
            if matches and matches[-1].end == start and kind.name in _COLLECTIONS:
                area = matches[-1].value.area  # a cookie gift set is food
        name = f"{before} {kind.name}" if before else kind.name
        audience = self._audience(clause, start, kind, title)
        if audience in ("dog", "cat", "pet") and area in ("food", "drink"):
            name, area = f"{audience} food", "pet"
        elif audience and audience not in name.split():
            name = f"{audience} {name}"
        return ProductType(name, area, frozenset(clause[start - len(before.split()) : end]))

    def _modifier(self, clause: list[str], matches: list[Match[Kind]], start: int, kind: Kind) -> str:
        if matches and matches[-1].end == start and kind.takes_word:
            return " ".join(clause[matches[-1].start : start])
        first = start
        for match in self.lexicon.ingredients.find(clause[:start])[: -_MODIFIERS - 1 : -1]:
            if match.end != first or match.value is None:
                break
            first = match.start
        if first < start:
            return " ".join(clause[first:start])
        word = clause[start - 1]
        return word if kind.takes_word and len(word) > 2 and self._tells(word) and word not in self.lexicon.audiences else ""

    def _tells(self, word: str) -> bool:
        return len(word) > 1 and word not in self.lexicon.dropped and word not in _STOPS

    def _audience(self, clause: Sequence[str], start: int, kind: Kind, title: Sequence[str]) -> str:
        audiences = self.lexicon.audiences
        if start and clause[start - 1] in audiences:
            return audiences[clause[start - 1]]
        if kind.area == "pet":
            return next((audiences[word] for word in title if word in audiences), "")
        for place, word in enumerate(title[:-1]):
            if word == "for":
                return next((audiences[later] for later in title[place + 1 : place + 3] if later in audiences), "")
        return ""

    def ingredient_in(self, clause: list[str]) -> ProductType | None:
        """The last ingredient of a clause, for a product that is one ("Organic Carrots") or a dish of it ("beef stroganoff")."""
        for match in reversed(self.lexicon.ingredients.find(clause)):
            rest = clause[match.end :]
            if match.value is None or rest[:1] in (["free"], ["scent"], ["scented"]):
                continue
            end = match.end
            # A word or two that end the clause belong to the name; more of them are copy.
            if 1 <= len(rest) <= 2 and all(self._tells(word) for word in rest):
                end = len(clause)
            known = end == match.end or bool(self.lexicon.format_table.find(rest))
            return ProductType(" ".join(clause[match.start : end]), "food" if known else None, frozenset(clause[match.start : end]))
        return None

    def unknown_in(self, clause: Sequence[str]) -> ProductType | None:
        """The last run of telling words of a clause."""
        run: list[str] = []
        for word in reversed(clause):
            if self._tells(word):
                run.append(word)
                if len(run) == _FALLBACK_WORDS:
                    break
            elif run:
                break
        return ProductType(" ".join(reversed(run)), None, frozenset(run)) if run else None


def read_product_type(words: list[str], lexicon: Lexicon) -> ProductType:
    """The product type of a title split into words, brand left out; `name` is empty only when there is no letter or digit."""
    main, added = clauses(words, lexicon)
    reader = _TitleReader(lexicon)
    for group in (main, added):
        for clause in group:
            if found := reader.kind_in(clause, words):
                return found
        for clause in group:
            if found := reader.ingredient_in(clause):
                return found
    for clause in (*main, *added):
        if found := reader.unknown_in(clause):
            return found
    rest = [word for word in words if word[0].isalnum()]
    rest = [word for word in rest if word.isalpha()][-_FALLBACK_WORDS:] or rest[-_FALLBACK_WORDS:]
    return ProductType(" ".join(rest), None, frozenset(rest))
