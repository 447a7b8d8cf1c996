"""A claim is kept when the words that the model quotes for it stand in the product's own text and say it, in whatever language.

**The quote stands in the text** where title or description holds it, whatever its case, accents and white space, from the start of a word
to the end of one (scripts without spaces have no such borders). Left out of the text are the brand and what is addressed to a model, with
all that follows it in the same field: by the patterns of `instructions`, which hold in all languages, and of `foreign_instructions`. A
quote has two letters or more, one in scripts without spaces. It is no longer than MAX_QUOTE_CHARACTERS, about a clause: what stands
somewhere in a paragraph is no quote of anything.

**It says it**, in an English text, where the lexicon's rules (`grounding`) find the claim in the quote's own sentence, and the rest of the
text does not take it back.

**In another language** no word list stands between the text and the claim: what the words mean, only the model knows. What can be told
without a dictionary is checked:

- an ingredient is not denied ("ohne Zucker", "zuckerfrei", "砂糖不使用"), and is not named after "may contain traces of";
- a tag is not taken back ("nicht vegan"), and one for being free from something needs a denial in its quote or beside it: "mit Gluten" is
  not gluten free;
- one quote carries no more claims than it has words (in scripts without spaces: pairs of letters), and no more than MOST_TAGS tags. Of
  "Haferdrink", quoted for oats, for vegan and for dairy free, the ingredient stays: a word that is made to say all that may follow from it
  says none of that;
- a claim whose English words stand in the quote ("vegan", "Low Carb") has to pass the English rules, too.

Denials are told by a short list (`foreign_denial`): a language has a handful of such words, and no product brings a new one. What a model
reads into words that say something else passes unnoticed. Column `quotes` of the attributes table keeps every quote for that reason: people
who read the language see in a minute whether the most frequent ones say what they are quoted for.

**Which language** a text is in is decided for each text, by its own letters and by the share of the catalog that is English
(`catalog.language`). A title of three words alone cannot say, and a catalog may hold products of two countries: decided for the catalog as
a whole, the German tenth of an English one would lose its tags.

A recipe's own attributes are inferred, and kept as they are, unless they say `stated: true`: then their quotes are checked as those of
ingredients are. Of a model that gives no quotes, the value itself has to stand in the text. Product type and format are kept.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shelfcode.attributes.grounding import Grounded
from shelfcode.attributes.rules.evidence import Evidence, read_evidence, supports_phrase, supports_tag
from shelfcode.attributes.rules.foreign_denial import Surroundings, holds_denial, is_denied, is_taken_back, is_trace, says_without
from shelfcode.attributes.rules.foreign_instructions import without_orders
from shelfcode.attributes.rules.instructions import for_shoppers
from shelfcode.attributes.rules.words import is_unspaced, split_words, stem
from shelfcode.attributes.schema import DIETARY_TAGS, MAX_QUOTE_CHARACTERS, Attributes, ExtraAttributes, Quote
from shelfcode.catalog.language import chance_of_english
from shelfcode.text import fold

MOST_TAGS = 3
"""That one quote carries: "gluten-, laktose- und nussfrei"."""

FREE_FROM = {
    tag: tag.removeprefix("no added ").removeprefix("non-").removesuffix(" free")
    for tag in DIETARY_TAGS
    if tag.endswith(" free") or tag.startswith(("no ", "non-"))
}
"""Tags that say what a product is without -> what that is."""

SUBSTANCES = frozenset(FREE_FROM.values())

MOST_PLACES = 20
"""Where a quote stands that are looked at: one that repeats itself more often says nothing new."""

SEEN_AROUND = 200
"""Characters before and after a quote that are read of its sentence."""

INGREDIENT, TAG = "key_ingredients", "dietary_tags"

_UNSPACED = "[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
_BESIDE_UNSPACED = re.compile(f"(?<={_UNSPACED}) | (?={_UNSPACED})")
_BLANKS = re.compile(r"[^\S\n]+")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_SENTENCE_END = re.compile("[!?\n\u2022\u2605\u3002]|\\.(?=\\s|$)")
_LETTER = re.compile(r"[^\W\d_]")
_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u2018`"), "'")


@dataclass(frozen=True)
class OwnText:
    """What a product says of itself, evened out: without its brand, and without what is addressed to a model.

    Attributes:
        fields: of title and description, the part that is read.
        brand: of the product, for the evidence of its sentences.
        english: whether it is an English text.
    """

    fields: tuple[str, ...]
    title: str
    description: str | None
    brand: str | None
    english: bool
    sentences: dict[str, Evidence] = field(default_factory=dict, compare=False)

    @cached_property
    def evidence(self) -> Evidence:
        """By the English rules, of all of it."""
        return read_evidence(self.title, self.description, self.brand)

    def sentence_evidence(self, sentence: str) -> Evidence:
        """The same of one sentence."""
        if sentence not in self.sentences:
            self.sentences[sentence] = read_evidence(sentence, None, None)
        return self.sentences[sentence]


def read_own_text(product: Mapping[str, Any], english_share: float) -> OwnText:
    """A product's own text.

    Args:
        product: with title, description and brand.
        english_share: of the catalog's texts.
    """
    title, description, brand = product["title"] or "", product["description"] or "", product["brand"]
    english = chance_of_english(f"{title}\n{description}", english_share) >= 0.5
    fields = list(_own_fields(product))
    if name := _evened(brand or ""):
        fields[0] = _without(fields[0], name)
        if " " in name or not english:  # an English brand of one word may be just that word in the description
            fields[1] = _without(fields[1], name)
    return OwnText(tuple(fields), title, description, brand, english)


def ground_quotes(
    attributes: Attributes, quotes: Sequence[Quote], product: Mapping[str, Any], extra: ExtraAttributes, english_share: float = 0.5
) -> tuple[Grounded, tuple[Quote, ...]]:
    """Drop the ingredients, the dietary tags and the values of attributes which the text states that no quote of theirs bears out.

    Args:
        attributes: what the model answered.
        quotes: its quotes, by attribute and value as the attributes have them.
        product: its title, description and brand.
        extra: the recipe's own attributes; those with `stated` are checked.
        english_share: share of the catalog's texts that are English, for texts that are too short to tell.

    Returns:
        What is left, with what was dropped ("ingredient: honey", "tag: vegan", "flavour: vanilla"), and the quotes that bear it out.
    """
    text = read_own_text(product, english_share)
    checked = {INGREDIENT: "ingredient", TAG: "tag", **{name: name for name, attribute in extra.items() if attribute.stated}}
    said = {INGREDIENT: attributes.key_ingredients, TAG: attributes.dietary_tags, **attributes.extra}
    claims = {(name, value) for name in checked for value in said.get(name, ())}
    borne_out = [each for each in dict.fromkeys(quotes) if each[:2] in claims and _bears_out(text, each)]
    if not text.english:
        borne_out = _not_made_to_say_too_much(borne_out)
    kept = {each[:2] for each in borne_out}
    unsupported = [f"{label}: {value}" for name, label in checked.items() for value in said.get(name, ()) if (name, value) not in kept]
    left = {name: tuple(value for value in said.get(name, ()) if (name, value) in kept) for name in checked}
    own = {name: left.get(name, values) for name, values in attributes.extra.items()}
    found = attributes.model_copy(update={INGREDIENT: left[INGREDIENT], TAG: left[TAG], "extra": own})
    return Grounded(found, tuple(unsupported)), tuple(borne_out)


def keep_stated(grounded: Grounded, product: Mapping[str, Any], extra: ExtraAttributes) -> Grounded:
    """Drop the values of attributes which the text states that do not stand in it word for word: for a model that gives no quotes."""
    said = {name: values for name, values in grounded.attributes.extra.items() if values and extra[name].stated}
    if not said:
        return grounded
    fields, unsupported, kept = _own_fields(product), list(grounded.unsupported), {}
    for name, values in said.items():
        kept[name] = tuple(value for value in values if _stands_word_for_word(fields, _evened(value)))
        unsupported += [f"{name}: {value}" for value in values if value not in kept[name]]
    found = grounded.attributes.model_copy(update={"extra": grounded.attributes.extra | kept})
    return Grounded(found, tuple(unsupported))


def _stands_word_for_word(fields: Sequence[str], sought: str) -> bool:
    return bool(sought) and any(_places(text, sought) for text in fields)


def stands_in(text: OwnText, quote: str) -> list[Surroundings]:
    """Where a quote stands in a product's own text, with the rest of its sentence; nowhere, where it says nothing."""
    sought = _EDGES.sub("", _evened(quote))
    if len(quote) > MAX_QUOTE_CHARACTERS or len(_LETTER.findall(sought)) < (1 if is_unspaced(sought) else 2):
        return []
    return [place for text_field in text.fields for place in _places(text_field, sought)]


def _bears_out(text: OwnText, quote: Quote) -> bool:
    places = stands_in(text, quote.quote)
    if not places or quote.attribute not in (INGREDIENT, TAG):
        return any(not is_denied(place) for place in places)
    if text.english:
        in_sentence = any(_is_supported(text.sentence_evidence("".join(place)), quote) for place in places)
        return in_sentence and _is_supported(text.evidence, quote)
    if _is_in_english(quote) and not _is_supported(text.evidence, quote):
        return False
    return any(_says(place, quote) for place in places)


def _is_supported(evidence: Evidence, quote: Quote) -> bool:
    return (supports_tag if quote.attribute == TAG else supports_phrase)(evidence, quote.value)


def _is_in_english(quote: Quote) -> bool:
    """Whether the quote names the claim by its English words."""
    words = list(map(stem, split_words(quote.value)))
    return bool(words) and set(words) <= set(map(stem, split_words(quote.quote)))


def _says(place: Surroundings, quote: Quote) -> bool:
    """Whether nothing that can be told in any language speaks against the claim."""
    if quote.attribute == INGREDIENT:
        of_another = quote.value in SUBSTANCES and holds_denial(place.piece)  # "gluten" by "glutenfreier Hafer"
        return not (is_denied(place) or is_trace(place) or of_another)
    if quote.value not in FREE_FROM:
        return not is_taken_back(place)
    return says_without(place) and not (holds_denial(place.piece) and is_taken_back(place))


def _not_made_to_say_too_much(quotes: Sequence[Quote]) -> list[Quote]:
    """Quotes without the claims that they have too few words for."""
    by_words: dict[str, list[Quote]] = {}
    for each in quotes:
        by_words.setdefault(_evened(each.quote), []).append(each)
    kept: set[Quote] = set()
    for words, together in by_words.items():
        most = _words_in(words)
        others = [each for each in together if each.attribute != TAG][:most]
        tags = [each for each in together if each.attribute == TAG]
        if len(others) + len(tags) > most or len(tags) > MOST_TAGS:
            tags = [each for each in tags if _is_in_english(each)]
        kept.update(others, tags)
    return [each for each in quotes if each in kept]


def _words_in(words: str) -> int:
    letters = len(_LETTER.findall(words))
    return max(1, letters // 2) if is_unspaced(words) else max(1, len(re.findall(r"[^\W_]+", words)))


def _own_fields(product: Mapping[str, Any]) -> tuple[str, ...]:
    """Title and description, evened out, without what is addressed to a model."""
    return tuple(_evened(without_orders(for_shoppers(product[name] or ""))) for name in ("title", "description"))


def _evened(text: str) -> str:
    return _BESIDE_UNSPACED.sub("", _BLANKS.sub(" ", fold(text.translate(_APOSTROPHES)))).strip(" ")


def _without(text: str, name: str) -> str:
    """A text with a line's end in place of a name and its genitive."""
    return re.sub(re.escape(name) if is_unspaced(name) else rf"(?<!\w){re.escape(name)}(?:'?s)?(?!\w)", "\n", text)


def _places(text: str, sought: str) -> list[Surroundings]:
    found: list[Surroundings] = []
    at = text.find(sought)
    while at >= 0 and len(found) < MOST_PLACES:
        end = at + len(sought)
        if _is_border(text, at) and _is_border(text, end):
            before, after = text[max(0, at - SEEN_AROUND) : at], text[end : end + SEEN_AROUND]
            found.append(Surroundings(_SENTENCE_END.split(before)[-1], sought, _SENTENCE_END.split(after)[0]))
        at = text.find(sought, at + 1)
    return found


def _is_border(text: str, at: int) -> bool:
    """Whether no word goes on over a place; scripts without spaces have a border everywhere."""
    if at in (0, len(text)):
        return True
    left, right = text[at - 1], text[at]
    return not (left.isalnum() and right.isalnum()) or is_unspaced(left) or is_unspaced(right)
