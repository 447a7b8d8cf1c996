"""Answers about the products of a release: what is like them, what their IDs are, what lies under a prefix. Plain class, no Ray."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from cachetools import LRUCache

from shelfcode.index.availability import Availability
from shelfcode.index.code_index import Mask
from shelfcode.index.release_index import ReleaseIndex, attributes_folder, load_release_index
from shelfcode.semantic_id import Codes, format_codes, parse
from shelfcode.serving.api.blending import Blended, FlavorQuery, blend
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question, StoredAttributes
from shelfcode.serving.api.visible_columns import check_columns, visible_columns
from shelfcode.workspace import Workspace


class ItemIndex:
    """Releases in memory; those used last stay."""

    def __init__(self, workspace: Workspace, flavors: Sequence[str], releases_kept: int) -> None:
        self.workspace, self.flavors = workspace, flavors
        self.releases: LRUCache[str, ReleaseIndex] = LRUCache(releases_kept)
        self.availability: Availability | None = None

    def load(self, release: str) -> ReleaseIndex:
        """A release, from the workspace; the caller puts it into `releases`.

        Raises:
            ShelfcodeError: there is none of this name, or its files are damaged.
        """
        index = load_release_index(self.workspace, release, attributes_folder(self.workspace, release, self.flavors))
        _give_memory_back()
        return index

    def answer(self, question: Question) -> Any:
        """The answer to a question whose releases are loaded. A Problem is returned, not raised: others travel along."""
        try:
            if isinstance(question, Neighbours):
                return self.neighbours(question)
            if isinstance(question, StoredAttributes):
                return self.stored_attributes(question)
            return self.item(question) if isinstance(question, ItemPage) else self.prefix(question)
        except Problem as problem:
            return problem

    def stored_attributes(self, question: StoredAttributes) -> list[dict[str, Any] | None]:
        """Columns of an attributes table for each item; None for an item without attributes."""
        index = self.releases[question.release]
        places = [index.place(item_id) if item_id is not None else -1 for item_id in question.item_ids]
        return [index.items.attributes_of(int(index.codes.row_N[place])) if place >= 0 else None for place in places]

    def neighbours(self, question: Neighbours) -> list[dict[str, Any]]:
        """The products most like one, nearest first.

        Raises:
            Problem: the item is not in the release, or a filter names what is not there.
        """
        indexes = [self.releases[release] for release in question.releases]
        for index in indexes:
            check_columns(index.items, question.fields, question.columns)
        places = [-1 if question.item_id is None else index.place(question.item_id) for index in indexes]
        codes = question.codes or tuple(_codes_at(index, place, question.item_id) for index, place in zip(indexes, places, strict=True))
        masks = [self._mask(index, question) for index in indexes]
        excluded = [index.places(question.exclude) | {place} for index, place in zip(indexes, places, strict=True)]
        if len(indexes) == 1:
            index = indexes[0]
            matches = index.codes.similar(codes[0], question.k, question.min_level, masks[0], excluded[0])
            return [{**index.product(each.place, question.fields), "level": each.level, "distance": each.distance} for each in matches]
        rows = zip(indexes, question.parts, codes, masks, excluded, strict=True)
        queries = [FlavorQuery(index, weight, near, mask, hidden) for index, (_, weight), near, mask, hidden in rows]
        return [_blended_row(queries, each, question.fields) for each in blend(queries, question.k, question.min_level)]

    def _mask(self, index: ReleaseIndex, question: Neighbours) -> Mask | None:
        """For each place, whether its product passes all filters; None where there is no filter."""
        masks = []
        for column, value in question.attributes:
            check_columns(index.items, [column], question.columns)
            masks.append(index.items.equal(column, value))
        if question.retailer_id is not None:
            masks.append(self._available(index, question.retailer_id))
        return index.allowed(np.logical_and.reduce(masks)) if masks else None

    def _available(self, index: ReleaseIndex, retailer_id: str) -> Mask:
        if self.availability is None:
            raise Problem("no-availability", "surfaces.yaml names no availability table, so nothing is known of retailers")
        try:
            return self.availability.mask(retailer_id, index.items)
        except KeyError:
            raise Problem("invalid-request", f"the availability table does not know retailer_id {retailer_id[:100]!r}") from None

    def item(self, page: ItemPage) -> dict[str, Any]:
        """What is known of a product, its semantic ID in each release, and a page of the products that share it.

        Raises:
            Problem: none of the releases has it.
        """
        product: dict[str, Any] = {}
        ids = []
        for release in page.releases:
            index = self.releases[release]
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

    def prefix(self, page: PrefixPage) -> dict[str, Any]:
        """What lies under a prefix: child prefixes with counts and labels, and products, a page of each.

        Raises:
            Problem: no product has this prefix.
        """
        index = self.releases[page.release]
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
            "semantic_id": query.index.product(place, ())["semantic_id"] if place >= 0 else None,
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
