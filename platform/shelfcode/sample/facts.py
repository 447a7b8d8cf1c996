"""What is known about the products of one chunk: planted truth to judge audits, retrieval, encoders and extraction by.

Relations, queries and sessions stay within one chunk, so that a catalog of any size is made in bounded memory.
Everything is judged by a product's true leaf and by what its own text states, never by where it is filed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from shelfcode.sample.products import SampleProduct
from shelfcode.sample.shop import Shop

_ID, _TEXT, _TEXTS = ("item_id", pa.string()), pa.string(), pa.list_(pa.string())

FACT_SCHEMAS = {
    "misfiled": pa.schema([_ID, ("filed_under", _TEXTS), ("true_path", _TEXTS)]),
    "attributes": pa.schema(
        [_ID, ("product_type", _TEXT), ("key_ingredients", _TEXTS), ("dietary_tags", _TEXTS), ("format", _TEXT), ("occasion", _TEXTS)]
    ),
    "substitutes": pa.schema([_ID, ("other_item_id", _TEXT)]),
    "complements": pa.schema([_ID, ("other_item_id", _TEXT), ("theme", _TEXT)]),
    "judgments": pa.schema([("query", _TEXT), _ID, ("label", _TEXT)]),
    "sessions": pa.schema([("session_id", _TEXT), _ID, ("position", pa.int64())]),
}
"""One table a fact. `occasion` names the themes of the product's leaf, `label` is E (exact), S (substitute), C (complement) or
I (irrelevant), and `position` counts from 1."""

_SUBSTITUTE_SHARE, _COMPLEMENT_SHARE = 0.5, 0.5
_MAX_EXACT, _MAX_SUBSTITUTE, _MAX_COMPLEMENT, _JUDGED = 5, 4, 3, (14, 20)
_STAPLE_SHARE, _WANDER_SHARE, _LOYAL_SHARE, _TWO_THEMES_SHARE = 0.2, 0.08, 0.35, 0.3

_Rows = list[tuple[object, ...]]


@dataclass(frozen=True, eq=False)
class _Shelves:
    """The chunk's products by leaf, kind and theme, and for each leaf the leaves that share a theme with it."""

    of_leaf: dict[int, list[SampleProduct]]
    of_kind: dict[str, list[SampleProduct]]
    of_theme: dict[int, list[SampleProduct]]
    of_department: dict[str, list[SampleProduct]]
    theme_mates: dict[int, frozenset[int]]


def chunk_facts(
    shop: Shop, products: Sequence[SampleProduct], seed: int, chunk: int, first_session: int, sessions: int, queries: int
) -> dict[str, pa.Table]:
    """The six fact tables of one chunk, by name, in FACT_SCHEMAS.

    Args:
        first_session: number of the chunk's first session; ids go up from it.
        sessions, queries: how many to make; fewer queries come where the chunk has too few distinct ones.
    """
    # A far jump along the chunk's stream: facts may draw more without changing a product.
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, chunk], dtype=np.uint64)).jumped())
    shelves = _shelve(shop, products)
    rows: dict[str, _Rows] = {
        "misfiled": [(p.item_id, shop.leaves[p.filed].path, shop.leaves[p.leaf].path) for p in products if p.filed != p.leaf],
        "attributes": [
            (p.item_id, p.kind, p.ingredients, p.tags, p.format, [shop.themes[theme].name for theme in shop.leaves[p.leaf].themes])
            for p in products
        ],
        "substitutes": _substitutes(shelves, products, rng),
        "complements": _complements(shop, shelves, len(products), rng),
        "judgments": _judgments(shelves, shop, products, queries, rng),
        "sessions": _sessions(shop, shelves, products, first_session, sessions, rng),
    }
    return {name: _table(name, rows[name]) for name in FACT_SCHEMAS}


def _table(name: str, rows: _Rows) -> pa.Table:
    schema = FACT_SCHEMAS[name]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table([pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


def _shelve(shop: Shop, products: Sequence[SampleProduct]) -> _Shelves:
    of_leaf: dict[int, list[SampleProduct]] = defaultdict(list)
    of_kind: dict[str, list[SampleProduct]] = defaultdict(list)
    of_theme: dict[int, list[SampleProduct]] = defaultdict(list)
    of_department: dict[str, list[SampleProduct]] = defaultdict(list)
    for product in products:
        of_leaf[product.leaf].append(product)
        of_kind[product.kind].append(product)
        of_department[shop.leaves[product.leaf].path[0]].append(product)
        for theme in shop.leaves[product.leaf].themes:
            of_theme[theme].append(product)
    mates = {n: frozenset(mate for theme in leaf.themes for mate in shop.themes[theme].leaves) for n, leaf in enumerate(shop.leaves)}
    return _Shelves(of_leaf, of_kind, of_theme, of_department, mates)


def _substitutes(shelves: _Shelves, products: Sequence[SampleProduct], rng: np.random.Generator) -> _Rows:
    """Pairs (this, what can stand in for it): same kind, every diet kept, nothing new in it, another brand or size."""
    rows: _Rows = []
    for product, u in zip(products, rng.random((len(products), 2)).tolist(), strict=True):
        if product.sparse or u[0] >= _SUBSTITUTE_SHARE:
            continue
        same_kind = shelves.of_kind[product.kind]
        start = int(u[1] * len(same_kind))
        fitting = [p for p in islice(_around(same_kind, start), 24) if _can_replace(product, p)]
        if fitting:
            rows.append((product.item_id, next((p for p in fitting if p.article is product.article), fitting[0]).item_id))
    return rows


def _can_replace(wanted: SampleProduct, other: SampleProduct) -> bool:
    return (
        not other.sparse
        and (other.brand != wanted.brand or other.size != wanted.size)
        and set(wanted.tags) <= set(other.tags)
        and other.article.made_from <= wanted.article.made_from
    )


def _around(products: Sequence[SampleProduct], start: int) -> Iterable[SampleProduct]:
    return (products[(start + step) % len(products)] for step in range(len(products)))


def _complements(shop: Shop, shelves: _Shelves, count: int, rng: np.random.Generator) -> _Rows:
    """Pairs from two leaves of one theme."""
    rows: dict[tuple[object, ...], None] = {}
    for u in rng.random((int(count * _COMPLEMENT_SHARE), 3)).tolist():
        theme = int(u[0] * len(shop.themes))
        offered = shelves.of_theme.get(theme)
        if offered:
            one, other = offered[int(u[1] * len(offered))], offered[int(u[2] * len(offered))]
            if one.leaf != other.leaf:
                rows[(one.item_id, other.item_id, shop.themes[theme].name)] = None
    return list(rows)


def _judgments(shelves: _Shelves, shop: Shop, products: Sequence[SampleProduct], queries: int, rng: np.random.Generator) -> _Rows:
    """Queries with their judged products; every query is written from a product that satisfies it."""
    rows: _Rows = []
    asked: set[str] = set()
    for u in rng.random((queries * 3, 12)).tolist():
        if len(asked) == queries:
            break
        target = products[int(u[0] * len(products))]
        variant = target.article.variant if u[1] < 0.5 else ""
        added = [tag for tag in target.tags if tag not in target.article.named_tags]
        tag = added[int(u[2] * len(added))] if added and u[3] < 0.55 else ""
        brand = target.brand if target.brand and u[4] < 0.15 else ""
        query = _query(target.kind, variant, tag, brand, u[5])
        if query in asked or target.sparse:
            continue
        asked.add(query)
        exact: list[SampleProduct] = [target]
        near: list[SampleProduct] = []
        for product in islice(_around(shelves.of_kind[target.kind], int(u[6] * len(shelves.of_kind[target.kind]))), 200):
            meets = variant in {"", product.article.variant} and (not tag or tag in product.tags) and brand in {"", product.brand}
            if product is not target:
                (exact if meets else near).append(product)
        mates = shelves.theme_mates[target.leaf]
        complements = []
        if mates:
            themes = shop.leaves[target.leaf].themes
            offered = shelves.of_theme[themes[int(u[7] * len(themes))]]
            complements = [p for p in islice(_around(offered, int(u[8] * len(offered))), 40) if p.leaf != target.leaf][:_MAX_COMPLEMENT]
        labels = {p.item_id: "E" for p in exact[:_MAX_EXACT]}
        labels |= {p.item_id: "S" for p in near[:_MAX_SUBSTITUTE]} | {p.item_id: "C" for p in complements}
        wanted = _JUDGED[0] + int(u[9] * (_JUDGED[1] - _JUDGED[0] + 1))
        department = shelves.of_department[shop.leaves[target.leaf].path[0]]
        hard = _irrelevant(department, u[10], target.leaf, mates, max(3, (wanted - len(labels)) // 2))
        easy = _irrelevant(products, u[11], target.leaf, mates, wanted - len(labels))
        for product in (*hard, *easy):
            if len(labels) < wanted:
                labels.setdefault(product.item_id, "I")
        rows.extend((query, item_id, label) for item_id, label in labels.items())
    return rows


def _irrelevant(products: Sequence[SampleProduct], u: float, leaf: int, mates: frozenset[int], count: int) -> list[SampleProduct]:
    far = (p for p in islice(_around(products, int(u * len(products))), 20 * count) if p.leaf != leaf and p.leaf not in mates)
    return list(islice(far, count))


def _query(kind: str, variant: str, tag: str, brand: str, u: float) -> str:
    """What a shopper types; any of variant, tag and brand may be ""."""
    orders = ((brand, tag, variant, kind), (tag, variant, kind, brand), (brand, variant, kind, tag), (tag, brand, variant, kind))
    return " ".join(part for part in orders[int(u * len(orders))] if part).lower()


def _sessions(shop: Shop, shelves: _Shelves, products: Sequence[SampleProduct], first: int, count: int, rng: np.random.Generator) -> _Rows:
    """Carts of 3 to 12 distinct products: one or two themes, some staples, and now and then a brand the shopper holds to."""
    rows: _Rows = []
    lengths = np.clip(rng.poisson(3.5, count) + 3, 3, 12).tolist()
    draws = iter(rng.random((sum(lengths) * 3, 3)).tolist())
    staples = [leaf for leaf in shop.staples if leaf in shelves.of_leaf]
    present = [theme for theme in range(len(shop.themes)) if theme in shelves.of_theme]
    for session, length in enumerate(lengths, first):
        u = next(draws)
        themes = {present[int(pick * len(present))] for pick in (u[:2] if u[2] < _TWO_THEMES_SHARE else u[:1])} if present else set[int]()
        leaves = [leaf for theme in sorted(themes) for leaf in shop.themes[theme].leaves if leaf in shelves.of_leaf]
        loyal, held, cart = u[2] * 10 % 1 < _LOYAL_SHARE, set[str](), dict[str, None]()
        for u in islice(draws, length * 2):
            if u[0] < _WANDER_SHARE or not leaves:
                offered = products
            else:
                among = staples if staples and u[0] < _WANDER_SHARE + _STAPLE_SHARE else leaves
                offered = shelves.of_leaf[among[int(u[1] * len(among))]]
            # Squaring favors the front of a shelf: a few products are bought far more often than the rest.
            product = offered[int(u[2] * u[2] * len(offered))]
            if loyal and held:
                product = next((p for p in offered[:30] if p.brand in held), product)
            cart[product.item_id] = None
            if product.brand:
                held.add(product.brand)
            if len(cart) == length:
                break
        rows.extend((f"SES-{session:07d}", item_id, position) for position, item_id in enumerate(cart, 1))
    return rows
