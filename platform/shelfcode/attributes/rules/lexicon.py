"""The words the rules extractor knows: lexicon.yaml, validated, and compiled into phrase tables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from shelfcode.attributes.rules.words import PhraseTable, split_words
from shelfcode.attributes.schema import DIETARY_TAGS

LEXICON_PATH = Path(__file__).with_name("lexicon.yaml")

# The same safe loader in C, where PyYAML was built with it: every worker process reads the lexicon, and it takes a tenth of the time.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Area = Literal["food", "drink", "supplement", "care", "pet", "household", "general"]
Forms = dict[str, list[str] | None]


class LexiconFile(BaseModel):
    """lexicon.yaml as written; the comments there say what each part is for.

    Raises:
        pydantic.ValidationError: a part is missing or unknown, one form is written under two names, a tag is outside DIETARY_TAGS,
            a modified kind is no kind, or a narrow form no form of an ingredient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: dict[Area, Forms]
    not_kinds: list[str]
    yields: list[str]
    takes_ingredient: list[str]
    takes_word: list[str]
    audiences: Forms
    ingredients: Forms
    not_ingredients: list[str]
    narrow_forms: list[str]
    tag_phrases: Forms
    supporting_phrases: Forms
    not_tags: list[str]
    free_from: dict[str, str]
    forms: Forms
    packages: Forms
    cuts: Forms
    marketing: list[str]
    marketing_phrases: list[str]
    colors: list[str]
    units: list[str]

    @model_validator(mode="after")
    def _parts_agree(self) -> "LexiconFile":
        kinds = all_forms(self.kinds.values())
        all_forms([self.ingredients])
        all_forms([self.forms, self.packages, self.cuts])
        unknown = [
            tag for tag in [*self.tag_phrases, *self.supporting_phrases, *self.free_from.values()] if tag and tag not in DIETARY_TAGS
        ]
        if unknown:
            raise ValueError(f"unknown dietary tags {unknown}")
        foreign = set(self.narrow_forms).difference(*([name, *(others or ())] for name, others in self.ingredients.items()))
        if foreign:
            raise ValueError(f"narrow_forms names {sorted(foreign)}, which are no forms of ingredients")
        strangers = [name for name in [*self.yields, *self.takes_ingredient, *self.takes_word] if kinds.get(name) is None]
        if strangers:
            raise ValueError(f"yields, takes_ingredient or takes_word name {strangers}, which are no kinds")
        return self


class Kind(NamedTuple):
    """What a product can be; lexicon.yaml says what the flags mean. `takes_word` implies `takes_ingredient`."""

    name: str
    area: Area
    yields: bool
    takes_ingredient: bool
    takes_word: bool


@dataclass(frozen=True)
class Lexicon:
    """lexicon.yaml, compiled. A phrase that only keeps others from matching stands for None or "".

    Attributes:
        ingredient_forms: every form of each ingredient, plurals included.
        narrow_forms: forms that say more than the ingredient they stand under; see also lexicon.yaml.
        supporting: the phrases of `tags`, and those that only bear out a tag which was named already.
        vessels: the formats that name a package, not a form of the product.
        formats: names in order of preference.
        dropped: words that say nothing of what a product is, and are no part of a product type that is not known.
    """

    kinds: PhraseTable[Kind | None]
    audiences: Mapping[str, str]
    ingredients: PhraseTable[str | None]
    ingredient_forms: Mapping[str, tuple[str, ...]]
    narrow_forms: frozenset[str]
    tags: PhraseTable[str | None]
    supporting: PhraseTable[str | None]
    free_from: PhraseTable[str]
    format_table: PhraseTable[str]
    formats: Mapping[str, int]
    vessels: frozenset[str]
    marketing_phrases: PhraseTable[None]
    units: frozenset[str]
    dropped: frozenset[str]


def plural(form: str) -> str:
    """The regular English plural of a form's last word; the form itself where it ends in s already."""
    if form.endswith("s"):
        return form
    if form.endswith("y") and form[-2:-1] not in "aeiou":
        return form[:-1] + "ies"
    return form + ("es" if form.endswith(("x", "z", "ch", "sh", "to")) else "s")


def all_forms(parts: Iterable[Forms]) -> dict[str, str]:
    """Every form -> its name, regular plurals included. A form that is written out beats a plural that is derived.

    Raises:
        ValueError: one form is written under two names.
    """
    written: dict[str, str] = {}
    for part in parts:
        for name, others in part.items():
            for form in (name, *(others or ())):
                # Compared as words, so that "half & half" and "half and half" are one form.
                form = " ".join(split_words(form))
                if written.setdefault(form, name) != name:
                    raise ValueError(f"{form!r} stands both under {written[form]!r} and under {name!r}")
    return {plural(form): name for form, name in written.items()} | written


def _words(parts: Iterable[str]) -> frozenset[str]:
    return frozenset(word for part in parts for word in split_words(part))


def _tag_of(phrases: Forms) -> dict[str, str | None]:
    return {phrase: tag for tag, others in phrases.items() for phrase in others or ()}


def load_lexicon(path: Path) -> Lexicon:
    """Read, check and compile a lexicon.

    Raises:
        pydantic.ValidationError: see LexiconFile.
    """
    file = LexiconFile.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML_LOADER))
    area_of = {name: area for area, part in file.kinds.items() for name in part}
    yields, takes_ingredient, takes_word = frozenset(file.yields), frozenset(file.takes_ingredient), frozenset(file.takes_word)
    kinds: dict[str, Kind | None] = {
        form: Kind(name, area_of[name], name in yields, name in takes_ingredient or name in takes_word, name in takes_word)
        for form, name in all_forms(file.kinds.values()).items()
    }
    ingredients = all_forms([file.ingredients])
    forms_of: dict[str, list[str]] = {name: [] for name in file.ingredients}
    for form, name in ingredients.items():
        forms_of[name].append(form)
    blocked: dict[str, str | None] = dict.fromkeys(file.not_ingredients)
    tags = _tag_of(file.tag_phrases)
    not_tags: dict[str, str | None] = dict.fromkeys(file.not_tags)
    formats = [*file.forms, *file.packages, *file.cuts]
    return Lexicon(
        kinds=PhraseTable(kinds | dict.fromkeys(file.not_kinds)),
        audiences=all_forms([file.audiences]),
        ingredients=PhraseTable(dict(ingredients) | blocked),
        ingredient_forms={name: tuple(forms) for name, forms in forms_of.items()},
        narrow_forms=frozenset(file.narrow_forms),
        tags=PhraseTable(tags | not_tags),
        supporting=PhraseTable(_tag_of(file.supporting_phrases) | tags | not_tags),
        free_from=PhraseTable(file.free_from),
        format_table=PhraseTable(all_forms([file.forms, file.packages, file.cuts])),
        formats={name: place for place, name in enumerate(formats)},
        vessels=frozenset(file.packages),
        marketing_phrases=PhraseTable(dict.fromkeys(file.marketing_phrases)),
        units=_words(file.units),
        dropped=_words([*file.marketing, *file.colors, *file.units]),
    )


@cache
def shipped_lexicon() -> Lexicon:
    """The lexicon beside this module, read once per process."""
    return load_lexicon(LEXICON_PATH)
