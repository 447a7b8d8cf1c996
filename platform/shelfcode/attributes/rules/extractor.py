"""The rules extractor: attributes from a product's own text where no model is at hand.

It reads title, description and brand and never the category path: semantic IDs are later held against that path, so it must not leak in.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from shelfcode.attributes.rules.denial import NEGATORS, SCENTS, negated_words, stated_tags
from shelfcode.attributes.rules.lexicon import Lexicon, shipped_lexicon
from shelfcode.attributes.rules.product_type import ProductType, read_product_type, without_brand
from shelfcode.attributes.rules.words import SENTENCE, Match, PhraseTable, split_words
from shelfcode.attributes.schema import DIETARY_TAGS, MAX_INGREDIENTS, Attributes, ExtraAttributes

RULES_EXTRACTOR = "rules-v1"
"""Name of this extractor in the workspace; it changes whenever the lexicon or the rules would give other attributes."""

READ_CHARACTERS = 2000
"""How much of a title or a description is read."""

_CONSUMED = frozenset({"food", "drink", "supplement", "care", "pet"})
_CUES = frozenset({"contains", "containing", "infused", "enriched", "fortified"})
_CUE_PAIRS = frozenset(
    {("made", "with"), ("made", "from"), ("made", "of"), ("blend", "of"), ("formulated", "with"), ("blended", "with"), ("filled", "with"),
     ("crafted", "with"), ("crafted", "from"), ("packed", "with"), ("loaded", "with"), ("baked", "with"), ("combination", "of")}
)  # fmt: skip
_CUE_STARTS = frozenset(first for first, _ in _CUE_PAIRS)
_CUE_REACH = 14
_SECTION_REACH = 60


def extract(title: str, description: str | None, brand: str | None) -> Attributes:
    """Attributes of one product.

    Product type and format come out of the title alone, ingredients and dietary tags also out of the description, and there only where it
    says what the product is made of: recipes and serving suggestions name much that is not in it.
    """
    lexicon = shipped_lexicon()
    words = split_words(title[:READ_CHARACTERS])
    if not any(word[0].isalnum() for word in words):
        words = split_words(title)
    if brand:
        words = without_brand(words, split_words(brand[:READ_CHARACTERS]))
    product = read_product_type(words, lexicon)
    ingredients, tags = _contents(words, product, lexicon, title=True)
    if description and product.area in _CONSUMED:
        more_ingredients, more_tags = _contents(split_words(description[:READ_CHARACTERS]), product, lexicon, title=False)
        ingredients += more_ingredients
        tags |= more_tags
    return Attributes(
        product_type=product.name,
        key_ingredients=tuple(dict.fromkeys(ingredients))[:MAX_INGREDIENTS],
        dietary_tags=tuple(tag for tag in DIETARY_TAGS if tag in tags),
        format=_format(words, product, lexicon),
    )


def extract_batch(titles: Sequence[str], descriptions: Sequence[str | None], brands: Sequence[str | None]) -> list[Attributes]:
    """`extract` of every product.

    Raises:
        ValueError: the three are not of one length.
    """
    return [extract(title, description, brand) for title, description, brand in zip(titles, descriptions, brands, strict=True)]


def _contents(words: list[str], product: ProductType, lexicon: Lexicon, title: bool) -> tuple[list[str], set[str]]:
    """Ingredients and dietary tags that a text supports."""
    if product.area is not None and product.area not in _CONSUMED:
        return [], set()
    found = lexicon.ingredients.find(words)
    claims = lexicon.tags.find(words)
    substances = lexicon.free_from.find(words)
    denied = negated_words(words, [*found, *claims, *substances], substances)

    tags = stated_tags(claims, substances, denied)
    if not title:
        tags.discard("raw")  # prose has raw edges and raw power
    composition = None if title else _composition(words)
    ingredients = [
        match.value
        for match in found
        if match.value
        and match.start not in denied
        and (match.end >= len(words) or words[match.end] not in SCENTS)
        and (composition is None or match.start in composition)
    ]
    return ingredients, tags


def _composition(words: Sequence[str]) -> set[int]:
    """Places where a description says what the product is made of: its list of ingredients, else what follows "made with" and the like."""
    for place, word in enumerate(words[:-1]):
        if word == "ingredients" and words[place + 1] == SENTENCE:
            return set(range(place + 2, place + 2 + _SECTION_REACH))
    places: set[int] = set()
    for place, word in enumerate(words[:-1]):
        if word in _CUES or (word in _CUE_STARTS and (word, words[place + 1]) in _CUE_PAIRS):
            for at in range(place + 1, min(place + _CUE_REACH, len(words))):
                if words[at] == SENTENCE:
                    break
                places.add(at)
    return places


def _format(words: Sequence[str], product: ProductType, lexicon: Lexicon) -> str:
    """The most telling format that the title names."""
    if product.area == "general":
        return ""
    found: list[Match[str]] = [
        match
        for match in lexicon.format_table.find(words)
        if (match.start == 0 or words[match.start - 1] not in NEGATORS)
        and (match.value not in lexicon.vessels or product.words.isdisjoint(words[match.start : match.end]))
    ]
    return min((match.value for match in found), key=lambda name: lexicon.formats[name], default="")


def extract_extra(title: str, description: str | None, extra: ExtraAttributes) -> dict[str, tuple[str, ...]]:
    """Values that the text names, in the order in which it does; none for an attribute without a closed list."""
    words = split_words(f"{title}. {description or ''}")
    found: dict[str, tuple[str, ...]] = {}
    for name, attribute in extra.items():
        named = dict.fromkeys(match.value for match in _table(tuple(attribute.values)).find(words)) if attribute.values else {}
        found[name] = tuple(named)[: attribute.limit]
    return found


@lru_cache(maxsize=64)
def _table(values: tuple[str, ...]) -> PhraseTable[str]:
    phrases: Mapping[str, str] = {value: value for value in values if split_words(value)}
    return PhraseTable(phrases)


def by_rules(product: Mapping[str, Any], extra: ExtraAttributes) -> Attributes:
    """What the rules find of a product."""
    attributes = extract(product["title"], product["description"], product["brand"])
    return attributes.model_copy(update={"extra": extract_extra(product["title"], product["description"], extra)}) if extra else attributes
