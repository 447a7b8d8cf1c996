"""The sample shop: its words woven into leaves, kinds and articles, each article with what may truthfully be said of it.

Kinds and variants carry what they are made of in a short notation: `olive + olives & salt` adds ingredients, `vegan = soybeans`
puts them in place of the others, `unsalted - salt` leaves some out, and `~` is the plain variant that no title names.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from shelfcode.errors import ShelfcodeError
from shelfcode.sample.words import BrandWords, DepartmentWords, IngredientsFile, LeafWords, is_true, made_from, read_words

_ENTRY = re.compile(r"^(?P<name>.+?)(?: (?P<sign>[+=-]) (?P<made_of>.+))?$")
_SMALL_WORDS = {"and", "of", "in", "the", "with", "by", "for", "from"}


@dataclass(frozen=True, eq=False)
class Article:
    """One kind in one variant.

    Attributes:
        variant: "" for the plain one.
        title: kind and variant, capitalised; `kind_title` and `variant_title` are its two parts.
        implied: the ingredients that kind and variant name by themselves; `ingredients` are all.
        named_tags: dietary tags that the variant's name states; claimable: those a label may truthfully add.
        made_from: classes such as "milk" or "gluten".
    """

    variant: str
    name: str
    title: str
    kind_title: str
    variant_title: str
    ingredients: tuple[str, ...]
    implied: tuple[str, ...]
    named_tags: tuple[str, ...]
    claimable: frozenset[str]
    made_from: frozenset[str]


@dataclass(frozen=True, eq=False)
class Brand:
    name: str
    price: float
    lines: tuple[str, ...]
    leans: frozenset[str]
    house_style: int


@dataclass(frozen=True, eq=False)
class Kind:
    """One product type. `brands` pairs a brand with the articles it sells; `brand_weights` add up cumulatively to 1."""

    name: str
    articles: tuple[Article, ...]
    brands: tuple[tuple[Brand, tuple[Article, ...]], ...]
    brand_weights: tuple[float, ...]
    sizes: tuple[str, ...]
    formats: tuple[str, ...]
    price: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Leaf:
    path: tuple[str, ...]
    kinds: tuple[Kind, ...]
    says: tuple[str, ...]
    voice: tuple[str, ...]
    food: bool
    themes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Theme:
    name: str
    leaves: tuple[int, ...]
    says: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Shop:
    """The whole shop; leaves and themes are named by their number."""

    leaves: tuple[Leaf, ...]
    themes: tuple[Theme, ...]
    staples: tuple[int, ...]
    tags: tuple[str, ...]


_Brands = list[tuple[Brand, frozenset[str]]]


@cache
def title_case(text: str) -> str:
    """ "gluten-free mac and cheese" -> "Gluten-Free Mac and Cheese"; letters already capital stay."""
    words = [
        "-".join(part[:1].upper() + part[1:] for part in word.split("-")) if word not in _SMALL_WORDS else word for word in text.split()
    ]
    return " ".join(words)


def _entry(text: str, base: tuple[str, ...]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """An entry's name, the ingredients once it is applied to the base, and those it names itself."""
    match = _ENTRY.match(text)
    assert match is not None
    own = tuple(part.strip() for part in (match["made_of"] or "").split("&") if part.strip())
    if match["sign"] == "=":
        return match["name"], own, own[:1]
    if match["sign"] == "-":
        return match["name"], tuple(part for part in base if part not in own), ()
    return match["name"], (*base, *(part for part in own if part not in base)), own


def _articles(leaf: LeafWords, kind: str, kind_ingredients: tuple[str, ...], claims: list[str], book: IngredientsFile) -> Iterator[Article]:
    for written in leaf.variants:
        variant, ingredients, own = _entry(written, kind_ingredients) if written else ("", kind_ingredients, ())
        classes = made_from(ingredients, book.made_from)
        named = tuple(tag for tag, words in book.tags.items() if variant and any(name in variant for name in words.named))
        for tag in named:
            if not is_true(book.tags[tag], classes):
                raise ShelfcodeError(f"the sample vocabulary calls '{variant} {kind}' {tag}, but it is made of {', '.join(ingredients)}")
        claimable = frozenset(tag for tag in claims if tag not in named and is_true(book.tags[tag], classes))
        replaced = written is not None and " = " in written
        implied = own if replaced else tuple(dict.fromkeys((*ingredients[:1], *own)))
        name = f"{variant} {kind}".strip()
        titles = title_case(name), title_case(kind), title_case(variant)
        yield Article(variant, name, *titles, ingredients, implied, named, claimable, classes)


def _sold(
    kind: str, places: set[str], articles: tuple[Article, ...], food: bool, brands: _Brands, book: IngredientsFile
) -> Iterator[tuple[float, Brand, tuple[Article, ...]]]:
    """The brands that sell a kind, each with its weight and articles; a stable draw leaves some plausible brands out."""
    plausible = [brand for brand, brand_places in brands if not places.isdisjoint(brand_places)]
    for brand in plausible:
        draw = zlib.crc32(f"{brand.name}/{kind}".encode()) / 2**32
        # A brand that leans on a diet sells only what keeps to it; every other tag it merely claims more often.
        diets = [book.tags[tag] for tag in brand.leans] if food else []
        kept = tuple(article for article in articles if all(is_true(diet, article.made_from) for diet in diets))
        if kept and (draw < 0.75 or len(plausible) < 7):
            yield 0.2 + draw, brand, kept


def _kinds(leaf: LeafWords, path: tuple[str, ...], department: DepartmentWords, brands: _Brands, book: IngredientsFile) -> Iterator[Kind]:
    food = department.food if leaf.food is None else leaf.food
    claims = (department.claims if leaf.claims is None else leaf.claims) if food else []
    for text in leaf.kinds:
        base = tuple(leaf.base) if leaf.base is not None else ((text,) if food and " = " not in text else ())
        name, ingredients, _ = _entry(text, base)
        articles = tuple(_articles(leaf, name, ingredients, claims, book))
        sold = list(_sold(name, set(path), articles, food, brands, book))
        if not sold:
            raise ShelfcodeError(f"the sample vocabulary has no brand for {name!r}")
        total = sum(weight for weight, _, _ in sold)
        weights = tuple(weight / total for weight in accumulate(weight for weight, _, _ in sold))
        pack = leaf.packs.get(name, leaf)
        yield Kind(
            name, articles, tuple((brand, kept) for _, brand, kept in sold), weights, tuple(pack.sizes), tuple(pack.formats), leaf.price
        )


def _brand(name: str, words: BrandWords) -> Brand:
    return Brand(name, words.price, tuple(words.lines), frozenset(words.leans), zlib.crc32(name.encode()))


@cache
def load_shop() -> Shop:
    """The shop as its files describe it, read once a process.

    Raises:
        ShelfcodeError: a file breaks its model, a theme or brand names an unknown place, two leaves or kinds share a name,
            a kind has no brand, or a variant's name states a dietary tag that its ingredients deny.
    """
    written, brand_words, themes_file, book = read_words()
    brands = [(_brand(name, words), frozenset(words.places)) for name, words in brand_words.items()]
    number = {path[-1]: leaf for leaf, (_, path, _) in enumerate(written)}
    unknown = {name for theme in themes_file.themes.values() for name in theme.leaves} | set(themes_file.staples)
    unknown -= set(number)
    unknown |= {place for _, places in brands for place in places} - {name for _, path, _ in written for name in path}
    themes = tuple(Theme(name, tuple(number.get(leaf, 0) for leaf in t.leaves), tuple(t.says)) for name, t in themes_file.themes.items())
    leaves = []
    for leaf, (department, path, words) in enumerate(written):
        kinds = tuple(_kinds(words, path, department, brands, book))
        food = department.food if words.food is None else words.food
        in_themes = tuple(index for index, theme in enumerate(themes) if leaf in theme.leaves)
        leaves.append(Leaf(path, kinds, tuple(words.says), tuple(department.voice), food, in_themes))
    count_of = Counter([path[-1] for _, path, _ in written]) + Counter(kind.name for leaf_sold in leaves for kind in leaf_sold.kinds)
    twice = {name for name, count in count_of.items() if count > 1}
    if unknown or twice:
        raise ShelfcodeError(f"the sample vocabulary names unknown places {sorted(unknown)} or one name twice {sorted(twice)}")
    return Shop(tuple(leaves), themes, tuple(number[name] for name in themes_file.staples), tuple(book.tags))
