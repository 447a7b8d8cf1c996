"""What a product's own text does not support is dropped from its attributes: a language model must not invent "vegan".

**The evidence** is all of title and description, however little of it the model saw. The brand is taken out ("Vegan Valley Beef Jerky"
claims nothing; a brand of one word is left in the description), and so is what is addressed to a reader of instructions, with all that
follows it in the same field (`instructions`).

**An ingredient** is supported where its words stand together and in order, whatever their case, accents, hyphens, spaces between the
parts of a word, and plural (`words`): "oat milk" by "Oat-Milk" and "oatmilk". "&", "+", "/" and "n" are "and"; joining words at the ends
of a phrase do not count. Another form of the same ingredient in the lexicon supports it too ("garbanzo beans" chickpeas), except that a
form which says more than its ingredient needs its own words: "buttermilk" supports milk, "milk" no buttermilk. A flavor counts as stated.
A mention does not where it is

- denied (`denial`): "no sugar", "sugar-free", "free of nuts", "without palm oil", "contains no soy", "doesn't contain milk";
- a scent: "lavender scented", "lavender & lemon scent", "smells like roses";
- replaced: "instead of sugar", "egg replacer", "egg-less";
- a trace: the rest of a sentence after "may contain", "traces of" or "facility that";
- of another product: the rest of a sentence after "pairs well with", "serve with", "perfect with", "also try", "also available", "our
  other".

A phrase without a letter or digit is never supported. One that holds a denial itself ("gluten free oats") is supported by its words.
Scripts without spaces are searched for the phrase as a piece of text (`words`).

**A dietary tag** is supported where the text claims it in a phrase of the lexicon's, or denies the substance that it is free from ("no
gluten", "dairy-free"), and does not take that back: "not vegan", "isn't vegan", "not suitable for vegans", "not yet certified organic",
"not gluten free", "vegan: no". A denied list ends where claims begin ("no artificial colors or flavors, vegan" is vegan). What is said of
another product is no claim here either. No tag supports another: vegan food is not called vegetarian unless the text does. The lexicon is
English.

Product type, format and a recipe's own attributes are left as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shelfcode.attributes.rules.evidence import Evidence, read_evidence, supports_phrase, supports_tag, trimmed
from shelfcode.attributes.rules.words import stem
from shelfcode.attributes.schema import Attributes
from shelfcode.attributes.settings import Grounding

__all__ = ["Evidence", "Grounded", "ground", "ground_product", "read_evidence", "supports_phrase", "supports_tag"]


@dataclass(frozen=True)
class Grounded:
    """Attributes with only what the text supports.

    Attributes:
        unsupported: what was dropped: "ingredient: honey", "tag: vegan".
    """

    attributes: Attributes
    unsupported: tuple[str, ...]


def ground(attributes: Attributes, evidence: Evidence) -> Grounded:
    """Drop the ingredients and dietary tags that a product's text does not support; order is kept, repetitions are left out."""
    ingredients = _distinct(attributes.key_ingredients)
    tags = tuple(dict.fromkeys(attributes.dietary_tags))
    stated = tuple(ingredient for ingredient in ingredients if supports_phrase(evidence, ingredient))
    claimed = tuple(tag for tag in tags if supports_tag(evidence, tag))
    unsupported = [f"ingredient: {ingredient}" for ingredient in ingredients if ingredient not in stated]
    unsupported += [f"tag: {tag}" for tag in tags if tag not in claimed]
    return Grounded(attributes.model_copy(update={"key_ingredients": stated, "dietary_tags": claimed}), tuple(unsupported))


def ground_product(attributes: Attributes, product: Mapping[str, Any], grounding: Grounding) -> Grounded:
    """The same by a product's title, description and brand; nothing is dropped where `grounding` is off."""
    if grounding == "off":
        return Grounded(attributes, ())
    return ground(attributes, read_evidence(product["title"] or "", product["description"], product["brand"]))


def _distinct(ingredients: tuple[str, ...]) -> tuple[str, ...]:
    """Ingredients without those that differ from an earlier one only in case, accents, hyphens or plural."""
    by_spelling: dict[str, str] = {}
    for ingredient in ingredients:
        by_spelling.setdefault("".join(map(stem, trimmed(ingredient))) or ingredient, ingredient)
    return tuple(by_spelling.values())
