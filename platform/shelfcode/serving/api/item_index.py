"""Answers about the products of a release: what is like them, what their IDs are, what lies under a prefix. Plain class, no Ray."""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
from cachetools import LRUCache
from pyroaring import BitMap

from shelfcode.index.availability import Stock
from shelfcode.index.cards import COLUMNS
from shelfcode.index.code_index import Match
from shelfcode.index.release_index import ReleaseIndex, attributes_folder, load_release_index
from shelfcode.semantic_id import Codes, format_codes, parse
from shelfcode.serving.api.blending import Blended, FlavorQuery, blend
from shelfcode.serving.api.filtering import passing
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import (
    CartNeighbours,
    ItemPage,
    KnownRetailers,
    Neighbours,
    PrefixPage,
    Question,
    RetailerStock,
    StoredAttributes,
)
from shelfcode.serving.api.visible_columns import check_columns, visible_columns
from shelfcode.serving.routing import named_releases
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")


LIGHT_NEIGHBOURS, LIGHT_EXCLUDED, LIGHT_ITEMS = 50, 100, 64
VISITORS_KEPT = 2
"""Releases that stay although nothing leads to them: somebody named them in a request."""


class ItemIndex:
    """Releases that can be asked.

    Nothing here waits, and questions may be answered in several threads at once: an answer is made from the releases that it is given, not
    from those that happen to be loaded while it is made.

    Args:
        kept: of each flavor, how many of the releases that were prepared last stay.
    """

    def __init__(self, workspace: Workspace, flavors: Sequence[str], kept: Mapping[str, int]) -> None:
        self.workspace, self.flavors, self.kept = workspace, flavors, kept
        self.prepared: dict[str, ReleaseIndex] = {}
        self.visitors: LRUCache[str, ReleaseIndex] = LRUCache(VISITORS_KEPT)
        self.stock: Stock | None = None

    def get(self, release: str) -> ReleaseIndex | None:
        """A release that is loaded."""
        return self.prepared.get(release) or self.visitors.get(release)

    def load(self, release: str) -> ReleaseIndex:
        """A release, from this node's disk or from the workspace. Takes a while: never on an event loop.

        Raises:
            ShelfcodeError: there is none of this name, or its files are damaged.
        """
        index = load_release_index(self.workspace, release, attributes_folder(self.workspace, release, self.flavors))
        if self.stock is not None:
            self.stock.add(release, index.codes.place_of)
        _give_memory_back()
        return index

    def keep(self, index: ReleaseIndex) -> None:
        """Have a release that requests will go to; of those before it in its flavor, the ones prepared last stay."""
        self.visitors.pop(index.name, None)
        self.prepared.pop(index.name, None)
        self.prepared[index.name] = index
        for name in [name for name, each in self.prepared.items() if each.flavor == index.flavor][: -self.kept[index.flavor]]:
            del self.prepared[name]
        self._forget_stock()

    def keep_visitor(self, index: ReleaseIndex) -> None:
        """Have a release that somebody named; however many are named, none that was prepared goes for it."""
        self.visitors[index.name] = index
        self._forget_stock()

    def _forget_stock(self) -> None:
        if self.stock is not None:
            self.stock.only({*self.prepared, *self.visitors})

    def use_stock(self, stock: Stock) -> None:
        """Know what retailers have from a stock. Takes a while: never on an event loop."""
        for index in [*self.prepared.values(), *self.visitors.values()]:
            stock.add(index.name, index.codes.place_of)
        self.stock = stock

    def answer(self, question: Question, indexes: Sequence[ReleaseIndex]) -> Any:
        """The answer to a question, or its Problem. Nothing is raised: others travel along.

        Args:
            indexes: the question's releases, in its order.
        """
        try:
            if isinstance(question, Neighbours):
                return self.neighbours(question, indexes)
            if isinstance(question, CartNeighbours):
                return self.cart_neighbours(question, indexes[0])
            if isinstance(question, KnownRetailers):
                return [] if self.stock is None else self.stock.retailers
            if isinstance(question, RetailerStock):
                return self.retailer_stock(question, indexes)
            if isinstance(question, StoredAttributes):
                return stored_attributes(question, indexes[0])
            return item(question, indexes) if isinstance(question, ItemPage) else prefix(question, indexes[0])
        except Problem as problem:
            return problem
        except Exception:
            log.exception("a question to %s failed", ", ".join(question.releases))
            return Problem("internal", "this is a fault of the server; its log tells of it")

    def neighbours(self, question: Neighbours, indexes: Sequence[ReleaseIndex]) -> list[dict[str, Any]]:
        """The products most like one, nearest first.

        Raises:
            Problem: the item is not in the release, or a filter names what is not there.
        """
        for index in indexes:
            check_columns(index.items, question.fields, question.columns)
        if len(indexes) == 1:
            return [
                {**indexes[0].product(each.place, question.fields), "level": each.level, "distance": each.distance}
                for each in self._nearest(question, indexes[0])
            ]
        queries = [self._query(question, index, number) for number, index in enumerate(indexes)]
        return [_blended_row(queries, each, question.fields) for each in blend(queries, question.k, question.min_level)]

    def cart_neighbours(self, question: CartNeighbours, index: ReleaseIndex) -> dict[str, Any]:
        """The products most like any of several, those that share the deepest prefix first, and among them the nearest.

        Raises:
            Problem: a filter names what is not there.
        """
        check_columns(index.items, question.fields, question.columns)
        stocked, notes = self._stocked(question.retailer_id, index)
        passed = BitMap.intersection(stocked, *passing(question, index))
        exclude, given_Q = index.places(question.exclude), index.places_of(question.item_ids)
        best: dict[int, Match] = {}
        for codes in dict.fromkeys(index.codes.codes_of(place) for place in given_Q.tolist() if place >= 0):
            for match in index.codes.similar(codes, question.k, 1, passed, exclude):
                known = best.get(match.place)
                if known is None or (-match.level, match.distance) < (-known.level, known.distance):
                    best[match.place] = match
        nearest = sorted(best.values(), key=lambda match: (-match.level, match.distance, match.place))[: question.k]
        rows = [
            {
                **index.product(each.place, question.fields), "score": round(1 / (1 + each.distance), 5), "cart_level": each.level,
                "proposed_by": "similar",
            }
            for each in nearest
        ]  # fmt: skip
        opened = len(passed - BitMap(exclude))
        counts = {"catalog": len(index.codes), "at_retailer": len(stocked), "passed_filters": len(passed), "open": opened, "beams": None}
        return {"results": rows, "counts": counts, "notes": [*notes, *([] if best else ["nothing_known"])]}

    def _stocked(self, retailer_id: str | None, index: ReleaseIndex) -> tuple[BitMap, tuple[str, ...]]:
        """What a retailer has, everything where that is not known; and what is not known."""
        if retailer_id is not None and self.stock is not None and self.stock.knows(retailer_id):
            return self._available(index, retailer_id), ()
        return BitMap(range(len(index.codes))), ("no_retailer",) if retailer_id is None else ("stock_unknown",)

    def retailer_stock(self, question: RetailerStock, indexes: Sequence[ReleaseIndex]) -> dict[str, Any]:
        """How many products a retailer has, and how many of them each release knows.

        Raises:
            Problem: nothing is known of what it has.
        """
        if self.stock is None or not self.stock.knows(question.retailer_id):
            raise Problem("unknown-retailer", f"nothing is known of what retailer_id {question.retailer_id[:100]!r} has")
        counts = {index.name: len(self._available(index, question.retailer_id)) for index in indexes}
        return {"products": self.stock.count(question.retailer_id), "in_release": counts}

    def neighbours_on_cards(self, question: Neighbours, index: ReleaseIndex) -> bytes:
        """`neighbours` as JSON, put together from what was written when the release was laid out.

        Args:
            question: about one release, for the fields that are on a card (`on_cards`).
        """
        check_columns(index.items, question.fields, question.columns)
        rows = [
            b'%b,"level":%d,"distance":%b}' % (index.cards.card(each.place), each.level, msgspec.json.encode(each.distance))
            for each in self._nearest(question, index)
        ]
        return b"[%b]" % b",".join(rows)

    def _nearest(self, question: Neighbours, index: ReleaseIndex) -> list[Match]:
        query = self._query(question, index, 0)
        return index.codes.similar(query.codes, question.k, question.min_level, query.allowed, query.exclude)

    def _query(self, question: Neighbours, index: ReleaseIndex, number: int) -> FlavorQuery:
        """What one of the question's releases is asked for."""
        place = -1 if question.item_id is None else index.place(question.item_id)
        codes = question.codes[number] if question.codes else _codes_at(index, place, question.item_id)
        exclude = index.places(question.exclude) | {place}
        return FlavorQuery(index, question.parts[number][1], codes, self._allowed(index, question), exclude)

    def _allowed(self, index: ReleaseIndex, question: Neighbours | CartNeighbours) -> BitMap | None:
        """The places of the products that pass all filters; None where there is no filter."""
        found = passing(question, index)
        if question.retailer_id is not None:
            found.append(self._available(index, question.retailer_id))
        return BitMap.intersection(*found) if found else None

    def _available(self, index: ReleaseIndex, retailer_id: str) -> BitMap:
        if self.stock is None or not self.stock.retailers:
            raise Problem("no-availability", "surfaces.yaml names no availability table, and nobody has said yet what any retailer has")
        try:
            return self.stock.places(retailer_id, index.name, index.codes.place_of)
        except KeyError:
            raise Problem("invalid-request", f"nothing is known of what retailer_id {retailer_id[:100]!r} has") from None


def item_index(workspace: str, settings: SurfaceSettings) -> ItemIndex:
    """An index that has no release yet, for all flavors that surfaces go to."""
    flavors = settings.flavor_names
    kept = {flavor: settings.index.releases_kept + len(named_releases(settings, flavor)) for flavor in flavors}
    return ItemIndex(Workspace(workspace), flavors, kept)


def is_light(question: Question) -> bool:
    """Whether a question is answered in about the time that it takes to hand it to a thread."""
    if isinstance(question, Neighbours):
        whole_tree = question.min_level == 0
        filtered = bool(question.attributes) or question.price is not None or question.retailer_id is not None
        small = question.k <= LIGHT_NEIGHBOURS and len(question.exclude) <= LIGHT_EXCLUDED
        return small and not whole_tree and not filtered and len(question.parts) == 1
    return isinstance(question, StoredAttributes) and len(question.item_ids) <= LIGHT_ITEMS


def on_cards(question: Question) -> bool:
    """Whether `neighbours_on_cards` can answer a question."""
    return isinstance(question, Neighbours) and len(question.parts) == 1 and question.fields == COLUMNS


def stored_attributes(question: StoredAttributes, index: ReleaseIndex) -> list[dict[str, Any] | None]:
    """Columns of an attributes table for each item; None for an item without attributes."""
    place_K = index.places_of([item_id for item_id in question.item_ids if item_id is not None])
    found = iter([index.items.attributes_of(int(index.codes.row_N[place])) if place >= 0 else None for place in place_K.tolist()])
    return [None if item_id is None else next(found) for item_id in question.item_ids]


def item(page: ItemPage, indexes: Sequence[ReleaseIndex]) -> dict[str, Any]:
    """What is known of a product, its semantic ID in each release, and a page of the products that share it.

    Raises:
        Problem: none of the releases has it.
    """
    product: dict[str, Any] = {}
    ids = []
    for release, index in zip(page.releases, indexes, strict=True):
        place = index.place(page.item_id)
        if place < 0:
            continue
        product = product or index.items.values(int(index.codes.row_N[place]), visible_columns(index.items, page.columns))
        codes = index.codes.codes_of(place)
        low, high = index.codes.places(codes)
        sharing = [index.product(each, page.title) for each in range(low + page.first, min(high, low + page.first + page.limit))]
        ids.append({
            "flavor": release.partition("@")[0], "release": release, "semantic_id": format_codes(codes), "codes": list(codes),
            "sharing": {"total": high - low, "from": page.first, "products": sharing},
        })  # fmt: skip
    if not ids:
        raise Problem("unknown-item", f"{' and '.join(page.releases)} have no item_id {page.item_id[:200]!r}")
    return {"item_id": page.item_id, "product": product, "semantic_ids": ids}


def prefix(page: PrefixPage, index: ReleaseIndex) -> dict[str, Any]:
    """What lies under a prefix: child prefixes with counts and labels, and products, a page of each.

    Raises:
        Problem: no product has this prefix.
    """
    codes = _parsed(page.prefix, index)
    first, end = index.codes.places(codes)
    if first == end:
        raise Problem("unknown-prefix", f"{page.release} has no product under {page.prefix[:100]!r}")
    children, prefixes = index.child_prefixes(codes, page.children_from, page.limit)
    low = first + page.products_from
    products = [index.product(place, page.title) for place in range(low, min(end, low + page.limit))]
    return {
        "release": page.release, "prefix": page.prefix, "level": len(codes), "levels": len(index.codes.sizes),
        "label": index.label(codes), "parent": format_codes(codes[:-1]) if codes else None,
        "children": {"total": children, "from": page.children_from, "prefixes": prefixes},
        "products": {"total": end - first, "from": page.products_from, "products": products},
    }  # fmt: skip


def _give_memory_back() -> None:
    """Loading takes several times the memory of what is kept, and allocators hold on to it unless they are told to let go."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)


def _blended_row(queries: Sequence[FlavorQuery], found: Blended, fields: Sequence[str]) -> dict[str, Any]:
    """A product that a blend found, described by the first flavor that has it."""
    first = next(number for number, place in enumerate(found.places) if place >= 0)
    row = queries[first].index.product(found.places[first], fields)
    by_flavor: Mapping[str, Any] = {
        query.index.name.partition("@")[0]: {
            "semantic_id": format_codes(query.index.codes.codes_of(place)) if place >= 0 else None,
            "level": level,
        }
        for query, place, level in zip(queries, found.places, found.levels, strict=True)
    }
    return {**row, "level": found.levels[first], "score": found.score, "by_flavor": by_flavor}


def _codes_at(index: ReleaseIndex, place: int, item_id: str | None) -> Codes:
    if place < 0:
        raise Problem("unknown-item", f"{index.name} has no item_id {str(item_id)[:200]!r}; send the product itself instead")
    return index.codes.codes_of(place)


def _parsed(prefix: str, index: ReleaseIndex) -> Codes:
    """The codes of a prefix; the root is the empty one."""
    try:
        codes = parse(prefix) if prefix else ()
    except ValueError as error:
        raise Problem("unknown-prefix", str(error)) from error
    sizes = index.codes.sizes
    if len(codes) > len(sizes):
        raise Problem("unknown-prefix", f"{prefix[:100]!r} has {len(codes)} levels; {index.name} has {len(sizes)}")
    for level, (code, size) in enumerate(zip(codes, sizes, strict=False), start=1):
        if code >= size:
            raise Problem("unknown-prefix", f"{prefix[:100]!r}: level {level} has the codewords 0 to {size - 1}, and no {code}")
    return codes
