"""The words of the sample shop: its YAML files and their models, and when a dietary tag is true.

A department's file reads as a shop does: aisle, leaf, and per leaf its kinds, variants, sizes and phrases.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from shelfcode.errors import ShelfcodeError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PackWords(_Words):
    """Sizes and formats of one kind where they differ from its leaf's."""

    sizes: list[str]
    formats: list[str]


class LeafWords(_Words):
    """One leaf as written; `says` are fragments that follow a product's name or stand alone."""

    kinds: list[str]
    variants: list[str | None]
    base: list[str] | None = None
    sizes: list[str]
    formats: list[str]
    price: tuple[float, float]
    claims: list[str] | None = None
    says: list[str]
    food: bool | None = None
    packs: dict[str, PackWords] = {}


class DepartmentWords(_Words):
    """One department; `aisles` nest to any depth, and a node with `kinds` is a leaf."""

    department: str
    food: bool
    claims: list[str]
    voice: list[str]
    aisles: dict[str, Any]


class BrandWords(BaseModel):
    """One brand; the departments, aisles or leaves it is plausible in are written `in`."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: "in" if name == "places" else name)
    places: list[str]
    price: float
    lines: list[str] = []
    leans: list[str] = []


class IngredientWords(_Words):
    words: list[str]
    but: list[str] = []


class TagWords(_Words):
    without: list[str] = []
    needs: list[str] = []
    never_both: list[str] = []
    named: list[str] = []


class ThemeWords(_Words):
    leaves: list[str]
    says: list[str]


class BrandsFile(_Words):
    brands: dict[str, BrandWords]


class IngredientsFile(_Words):
    made_from: dict[str, IngredientWords]
    tags: dict[str, TagWords]


class ThemesFile(_Words):
    themes: dict[str, ThemeWords]
    staples: list[str]


Written = list[tuple[DepartmentWords, tuple[str, ...], LeafWords]]
"""Every leaf with its department and its path."""


def made_from(ingredients: Iterable[str], classes: Mapping[str, IngredientWords]) -> frozenset[str]:
    """The classes that a list of ingredients falls into, by whole words."""
    found = set()
    padded = [f" {ingredient.lower()} " for ingredient in ingredients]
    for name, words in classes.items():
        for text in padded:
            for phrase in words.but:
                text = text.replace(f" {phrase} ", " ")
            if any(f" {word} " in text for word in words.words):
                found.add(name)
    return frozenset(found)


def is_true(tag: TagWords, classes: frozenset[str]) -> bool:
    """Whether a product made from these classes may carry a dietary tag."""
    both = bool(tag.never_both) and classes.issuperset(tag.never_both)
    return classes.isdisjoint(tag.without) and (not tag.needs or not classes.isdisjoint(tag.needs)) and not both


def _walk(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if "kinds" in node:
        yield path, node
        return
    for name, below in node.items():
        yield from _walk(below, (*path, name))


def read_words() -> tuple[Written, dict[str, BrandWords], ThemesFile, IngredientsFile]:
    """Every file, validated."""
    folder = files("shelfcode.sample") / "vocabulary"
    entries = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    content = {entry.name: yaml.load(entry.read_bytes(), Loader=_LOADER) for entry in entries}
    written: Written = []
    at = "ingredients.yaml"
    try:
        book = IngredientsFile.model_validate(content.pop(at))
        at = "brands.yaml"
        brands = BrandsFile.model_validate(content.pop(at)).brands
        at = "themes.yaml"
        themes = ThemesFile.model_validate(content.pop(at))
        for name, one in content.items():
            at = name
            department = DepartmentWords.model_validate(one)
            for path, node in _walk(department.aisles, (department.department,)):
                at = f"{name} at {' > '.join(path)}"
                written.append((department, path, LeafWords.model_validate(node)))
    except (ValidationError, AttributeError, KeyError) as error:
        raise ShelfcodeError(f"the sample vocabulary is broken in {at}: {error}") from error
    return written, brands, themes, book
