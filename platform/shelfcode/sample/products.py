"""The products of one chunk of the sample catalog.

Products come in families: one brand, one kind and at times one line, whose members differ in variant or size. A product's truth
is settled first and its text is written from it, so that what the text states is known exactly.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import pyarrow as pa

from shelfcode.sample.shop import Article, Brand, Kind, Leaf, Shop, title_case

T = TypeVar("T")

SPARSE_SHARE, MISFILED_SHARE = 0.08, 0.02

_TEXT = pa.string()
PRODUCT_SCHEMA = pa.schema(
    {"item_id": _TEXT, "title": _TEXT, "description": _TEXT, "brand": _TEXT}
    | {"category_path": pa.list_(_TEXT), "price": pa.float64(), "size": _TEXT}
)

_STYLE_WITH_FORMAT = 5
_FAMILY_SIZES = (1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 6)
_DRAWS = 26
_TAG_SHARE, _TAG_SHARE_OF_LEANING = 0.22, 0.8
_ORDERS = (
    ("contents", "diet", "theme", "pack", "voice"),
    ("theme", "contents", "pack", "diet", "voice"),
    ("diet", "voice", "contents", "pack", "theme"),
)
_FOOD_CONTENTS = ("Made with {}.", "Ingredients: {}.", "We use {}.", "Contains {}.", "What goes in: {}.")
_OTHER_CONTENTS = ("Made with {}.", "Made from {}.")
_TITLE_TAGS = {"organic", "gluten free", "vegan", "dairy free", "sugar free", "low sodium", "keto"}
_DIET = ("{}.", "{}.", "Labeled {}.", "{}, as the label says.")
_THEME = ("Just the thing {}.", "Worth having in {}.", "Pick up an extra one {}.", "{}.")
_PACK = ("Comes in a {format}.", "{size} {format}.", "Sold in a {size} {format}.")
_FOLLOWS_DIRECTLY = ("that ", "with ", "for ", "to ", "from ")


@dataclass(slots=True)
class SampleProduct:
    """One product and its truth.

    Attributes:
        leaf: number of the true leaf; filed: of the leaf whose path the catalog shows.
        ingredients, tags, format: only what the text states, or the kind implies; "" for a format left open.
        sparse: a row of a few words, without description and brand.
    """

    item_id: str
    title: str
    description: str | None
    brand: str | None
    size: str
    price: float
    leaf: int
    filed: int
    kind: str
    article: Article
    ingredients: tuple[str, ...]
    tags: tuple[str, ...]
    format: str
    sparse: bool


def chunk_products(shop: Shop, seed: int, chunk: int, first: int, count: int) -> list[SampleProduct]:
    """`count` products numbered from `first`; what they are depends on seed, chunk and count alone."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, chunk], dtype=np.uint64)))
    members = np.array(_FAMILY_SIZES)[rng.integers(len(_FAMILY_SIZES), size=count)]
    families = int(np.searchsorted(np.cumsum(members), count)) + 1
    leaf_of_F = _spread_over_leaves(len(shop.leaves), families, rng)
    draws_F = rng.random((families, 6)).tolist()
    order = rng.permutation(count).tolist()
    draws = rng.random((count, _DRAWS)).tolist()
    products: list[SampleProduct | None] = [None] * count
    made = 0
    for family in range(families):
        number = int(leaf_of_F[family])
        leaf, u = shop.leaves[number], draws_F[family]
        kind = _pick(leaf.kinds, u[0])
        brand, articles = kind.brands[min(bisect(kind.brand_weights, u[1]), len(kind.brands) - 1)]
        line = _pick(brand.lines, u[2]) if brand.lines and u[3] < 0.45 else ""
        claims = [
            tag
            for position, tag in enumerate(shop.tags)
            if (u[4] * 7.3 + position * 0.618) % 1 < (_TAG_SHARE_OF_LEANING if tag in brand.leans else _TAG_SHARE)
        ]
        options = len(articles) * len(kind.sizes)
        # A stride prime to every usual number of options walks through variants and sizes without meeting one twice.
        start, stride = int(u[5] * options), next(s for s in (7, 11, 13, 17) if options % s)
        for member in range(min(int(members[family]), count - made)):
            option = (start + member * stride) % options
            position = order[made]
            products[position] = _product(
                shop,
                f"SKU-{first + position:07d}",
                number,
                kind,
                brand,
                line,
                articles[option % len(articles)],
                option // len(articles),
                claims,
                draws[position],
            )
            made += 1
    return [product for product in products if product is not None]


def products_table(shop: Shop, products: Sequence[SampleProduct]) -> pa.Table:
    """The catalog's rows, with the path under which each product is filed: PRODUCT_SCHEMA."""
    columns = {name: [getattr(p, name) for p in products] for name in ("item_id", "title", "description", "brand", "price", "size")}
    columns["category_path"] = [shop.leaves[p.filed].path for p in products]
    return pa.table(
        {name: pa.array(columns[name], type=PRODUCT_SCHEMA.field(name).type) for name in PRODUCT_SCHEMA.names}, schema=PRODUCT_SCHEMA
    )


def _spread_over_leaves(leaves: int, families: int, rng: np.random.Generator) -> np.ndarray:
    """Leaf of each family: some leaves are twice as full as others, and evenly spaced points leave none out."""
    fullness = 1.0 + np.sin(np.arange(leaves) * 2.399) / 3
    points = (np.arange(families) + rng.random()) / families
    return rng.permutation(np.searchsorted(np.cumsum(fullness) / fullness.sum(), points).clip(max=leaves - 1))


def _product(
    shop: Shop,
    item_id: str,
    number: int,
    kind: Kind,
    brand: Brand,
    line: str,
    article: Article,
    size_index: int,
    claims: list[str],
    u: list[float],
) -> SampleProduct:
    leaf = shop.leaves[number]
    size, container = kind.sizes[size_index], _pick(kind.formats, u[0])
    low, high = kind.price
    price = (low + (high - low) * (size_index + u[1]) / len(kind.sizes)) * brand.price
    price = round(max(0.0, int(price * 10 - 0.5) / 10) + 0.09, 2)
    filed = _wrong_leaf(shop, number, u[2]) if u[3] < MISFILED_SHARE else number
    only_format = kind.formats[0] if len(kind.formats) == 1 else ""
    if u[4] < SPARSE_SHARE:
        return SampleProduct(
            item_id,
            _sparse_title(article, size, u[5]),
            None,
            None,
            size,
            price,
            number,
            filed,
            kind.name,
            article,
            article.implied,
            article.named_tags,
            only_format,
            True,
        )
    tags = [tag for tag in claims if tag in article.claimable]
    title, in_title, states_format = _title(article, brand, line, size, container, tags, u)
    description, states_all, pack_stated = _description(shop, leaf, article, brand, size, container, [t for t in tags if t != in_title], u)
    return SampleProduct(
        item_id,
        title,
        description,
        brand.name,
        size,
        price,
        number,
        filed,
        kind.name,
        article,
        article.ingredients if states_all else article.implied,
        (*article.named_tags, *tags),
        container if states_format or pack_stated else only_format,
        False,
    )


def _title(article: Article, brand: Brand, line: str, size: str, container: str, tags: list[str], u: list[float]) -> tuple[str, str, bool]:
    """A title, the dietary tag it states ("" for none), and whether it states the format."""
    tag = next((tag for tag in tags if tag in _TITLE_TAGS), "") if u[6] < 0.6 else ""
    kind, variant = article.kind_title, article.variant_title
    line, diet = line and line + " ", tag and title_case(tag) + " "
    name, boxed = diet + article.title, title_case(container)
    if size == "each":
        return f"{brand.name} {line}{name}", tag, False
    style = brand.house_style % 9 if u[7] < 0.55 else int(u[8] * 9)
    titles = (
        f"{brand.name} {line}{name}, {size}",
        f"{brand.name} {line}{name} {size}",
        f"{brand.name} {line}{diet}{kind}, {variant}, {size}" if variant else f"{brand.name} {line}{name} {size}",
        f"{name} by {brand.name}, {size}",
        f"{brand.name} {line}{name} ({size})",
        f"{brand.name} {line}{name}, {size} {boxed}",
        f"{name} - {brand.name} {line}- {size}",
        f"{diet}{kind} {variant} {size}, {brand.name}" if variant else f"{name} {size}, {brand.name}",
        f"{size} {brand.name} {line}{name}",
    )
    return titles[style], tag, style == _STYLE_WITH_FORMAT


def _sparse_title(article: Article, size: str, u: float) -> str:
    """What a hurried clerk types: kind and variant, at times the size."""
    text = article.name if u < 0.5 else f"{article.kind_title} {article.variant}".strip()
    if u * 4 % 1 < 0.6 and size != "each" and len(text.split()) < 4:
        text = f"{text} {size}"
    return text.upper() if u * 10 % 1 < 0.25 else text.lower() if u * 10 % 1 < 0.7 else title_case(text)


def _description(
    shop: Shop, leaf: Leaf, article: Article, brand: Brand, size: str, container: str, tags: list[str], u: list[float]
) -> tuple[str, bool, bool]:
    """A description that states the given tags, and whether it states all ingredients and the format."""
    first = int(u[9] * len(leaf.says))
    second = (first + 1 + int(u[10] * (len(leaf.says) - 1))) % len(leaf.says)
    say, other = leaf.says[first], leaf.says[second]
    sentences = {"voice": _pick(leaf.voice, u[11])} if u[12] < 0.45 else {}
    # One ingredient that the kind's own name gives away is not worth a sentence.
    states_all = (
        bool(article.ingredients)
        and article.ingredients != (article.name,)
        and u[13] < 0.6
        and (len(article.ingredients) > 1 or not leaf.food)
    )
    if states_all:
        sentences["contents"] = _pick(_FOOD_CONTENTS if leaf.food else _OTHER_CONTENTS, u[14]).format(_listed(article.ingredients))
    if tags:
        sentences["diet"] = _capital(_pick(_DIET, u[15]).format(_listed(tuple(tags))))
    if leaf.themes and u[16] < 0.28:
        mention = _pick(shop.themes[_pick(leaf.themes, u[17])].says, u[18])
        sentences["theme"] = _capital((_pick(_THEME, u[19]) if mention.startswith("for ") else "{}.").format(mention))
    pack_stated = u[20] < 0.35 and container not in {"single", "pack", "loaf"} and size != "each"
    if pack_stated:
        sentences["pack"] = (
            _capital(_pick(_PACK, u[21]).format(format=container, size=size))
            .replace("a 8", "an 8")
            .replace("a 11", "an 11")
            .replace("a 18", "an 18")
        )
    lead = _lead(article, brand, say, other, u[22])
    return " ".join([lead, *(sentences[part] for part in _pick(_ORDERS, u[23]) if part in sentences)]), states_all, pack_stated


def _lead(article: Article, brand: Brand, say: str, other: str, u: float) -> str:
    name = _capital(article.name)
    join = " " if say.startswith(_FOLLOWS_DIRECTLY) else ", "
    if u < 0.25:
        return f"{name}{join}{say}."
    if u < 0.45:
        return f"{_alone(say)}. {_alone(other)}."
    if u < 0.6:
        return f"{name} from {brand.name}: {say}." if join == ", " else f"{name} {say}."
    if u < 0.75:
        return f"{_alone(say)}."
    if u < 0.9:
        return f"{name}{join}{say}. {_alone(other)}."
    return f"{_alone(other)}. {name}{join}{say}."


@cache
def _alone(say: str) -> str:
    return f"The kind {say}" if say.startswith("that ") else _capital(say)


@cache
def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@cache
def _neighbours(shop: Shop, leaf: int) -> tuple[list[int], list[int], list[int]]:
    """Other leaves: siblings, those elsewhere in the department, and those in other departments."""
    path = shop.leaves[leaf].path
    siblings = [n for n, other in enumerate(shop.leaves) if n != leaf and len(path) > 2 and other.path[:-1] == path[:-1]]
    department = [n for n, other in enumerate(shop.leaves) if n != leaf and other.path[0] == path[0] and n not in siblings]
    return siblings, department, [n for n, other in enumerate(shop.leaves) if other.path[0] != path[0]]


def _wrong_leaf(shop: Shop, leaf: int, u: float) -> int:
    siblings, department, unrelated = _neighbours(shop, leaf)
    wanted = siblings if u < 0.5 else department if u < 0.8 else unrelated
    return _pick(wanted or department, u * 1000 % 1)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pick(options: Sequence[T], u: float) -> T:
    return options[int(u * len(options))]
