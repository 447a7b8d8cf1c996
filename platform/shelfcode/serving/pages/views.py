"""What the explore page shows, gathered from the endpoint: a product in every flavor, a surface's answer, the tree of prefixes.

A problem with one flavor is shown in that flavor's place, and the other flavors are shown as usual.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from shelfcode.semantic_id import Codes, format_codes, parse
from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.live_releases import LiveReleases
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question
from shelfcode.serving.api.requests import SimilarRequest, catalog_id
from shelfcode.serving.pages.page_query import PageQuery
from shelfcode.serving.routing import RELEASE_NAME, RouteView, Target, route_of, route_view
from shelfcode.serving.surface_settings import KeySettings, RouteSettings, SurfaceSettings

NEAREST = 10
PAGE = 24
ROOTS = 8
"""Prefixes of the first level that the first page shows, per flavor."""
FIELDS = ("title", "brand")


class Endpoint(Protocol):
    """What the pages ask of the ingress."""

    settings: SurfaceSettings
    gate: Gate
    releases: LiveReleases

    def targets(self, surface: str, routing_key: str) -> list[Target]: ...

    async def encode(self, targets: Sequence[Target], products: Sequence[Any]) -> list[dict[str, Any]]: ...

    async def neighbours(self, targets: Sequence[Target], request: SimilarRequest, columns: tuple[str, ...]) -> list[dict[str, Any]]: ...

    async def ask(self, question: Question) -> Any: ...


@dataclass(frozen=True)
class Level:
    """One level of a semantic ID: how many products share the prefix up to it, and the words that tell them from their siblings."""

    prefix: str
    code: int
    products: int
    label: str
    confidence: float | None


@dataclass(frozen=True)
class FlavorView:
    """A product in one flavor: its semantic ID, and what is nearest."""

    flavor: str
    release: str | None
    problem: Problem | None = None
    semantic_id: str = ""
    confidence: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    attributes_from: str | None = None
    levels: tuple[Level, ...] = ()
    nearest: tuple[dict[str, Any], ...] = ()

    @property
    def codes(self) -> Codes:
        return parse(self.semantic_id)


@dataclass(frozen=True)
class SurfaceView:
    """Where a surface goes, and what it would return."""

    route: RouteView
    targets: tuple[Target, ...] = ()
    results: tuple[dict[str, Any], ...] = ()
    problem: Problem | None = None


async def in_flavors(endpoint: Endpoint, caller: KeySettings, query: PageQuery) -> list[FlavorView]:
    """The product that is asked for, in every flavor that the caller may look into."""
    columns = endpoint.gate.columns(caller)
    return list(await asyncio.gather(*(_in_flavor(endpoint, flavor, query, columns) for flavor in endpoint.gate.flavors(caller))))


async def _in_flavor(endpoint: Endpoint, flavor: str, query: PageQuery, columns: tuple[str, ...]) -> FlavorView:
    release = endpoint.releases.live.get(flavor)
    try:
        if release is None:
            raise no_release(endpoint, flavor)
        view = await (_encoded if query.product else _looked_up)(endpoint, flavor, release, query)
        codes, item_id = ((view.codes,), None) if query.product else (None, catalog_id(query.item_id))
        question = Neighbours(
            ((release, 1.0),), codes, item_id, _k(endpoint), 1, (), None, (), shown_of(columns), columns
        )  # fmt: skip
        levels, nearest = await asyncio.gather(_levels(endpoint, release, view), endpoint.ask(question))
        return replace(view, levels=levels, nearest=tuple(nearest))
    except Problem as problem:
        return FlavorView(flavor, release, problem)


async def _encoded(endpoint: Endpoint, flavor: str, release: str, query: PageQuery) -> FlavorView:
    answer = (await endpoint.encode([Target(flavor, release, 1.0)], [query.product]))[0]
    if error := answer.get("error"):
        raise Problem(error["type"].rpartition(":")[2], error["detail"])
    return FlavorView(
        flavor, release, None, answer["semantic_id"], tuple(answer["confidence"]), tuple(answer["warnings"]), answer["attributes_from"]
    )  # fmt: skip


async def _looked_up(endpoint: Endpoint, flavor: str, release: str, query: PageQuery) -> FlavorView:
    try:
        item = await endpoint.ask(ItemPage(catalog_id(query.item_id), (release,), 0, 0))
    except Problem as problem:
        if problem.kind != "unknown-item":
            raise
        raise Problem("unknown-item", f"{release} has no product with this item_id") from problem
    return FlavorView(flavor, release, semantic_id=item["semantic_ids"][0]["semantic_id"])


async def _levels(endpoint: Endpoint, release: str, view: FlavorView) -> tuple[Level, ...]:
    codes, confidence = view.codes, view.confidence or (None,) * len(view.codes)
    branches = await asyncio.gather(*(_branch(endpoint, release, codes[:depth]) for depth in range(1, len(codes) + 1)))
    return tuple(
        Level(prefix, code, products, label, sure)
        for (prefix, products, label), code, sure in zip(branches, codes, confidence, strict=True)
    )


async def _branch(endpoint: Endpoint, release: str, codes: Codes) -> tuple[str, int, str]:
    """A prefix, the number of its products, and its label; a new product may have a prefix that no product of the catalog has."""
    prefix = format_codes(codes)
    try:
        page = await endpoint.ask(PrefixPage(release, prefix, 0, 0, 0))
    except Problem as problem:
        if problem.kind != "unknown-prefix":
            raise
        return prefix, 0, ""
    return prefix, page["products"]["total"], ", ".join(page["label"])


def times_found(flavors: Sequence[FlavorView]) -> Counter[str]:
    """item_id -> in how many flavors the product is among the nearest."""
    return Counter(row["item_id"] for each in flavors for row in each.nearest)


def status_of(flavors: Sequence[FlavorView]) -> int:
    """The status of a page: 200 as long as anything on it could be answered."""
    problems = [each.problem for each in flavors if each.problem]
    return problems[0].status if problems and len(problems) == len(flavors) else 200


async def catalog_item(endpoint: Endpoint, caller: KeySettings, item_id: str) -> dict[str, Any]:
    """What is known of an item, by the first flavor that has it; nothing where none does."""
    releases = [release for flavor in endpoint.gate.flavors(caller) if (release := endpoint.releases.live.get(flavor))]
    for release in releases:
        try:
            page = ItemPage(catalog_id(item_id), (release,), 0, 0, endpoint.gate.columns(caller))
            product: dict[str, Any] = (await endpoint.ask(page))["product"]
        except Problem:
            continue
        return product
    return {}


async def surface_view(endpoint: Endpoint, caller: KeySettings, query: PageQuery) -> SurfaceView | None:
    """What a surface would return: the one that was chosen, or the caller's first one; None where the caller has none."""
    surfaces = endpoint.gate.surfaces(caller)
    surface = query.surface or next(iter(surfaces), "")
    if not surface:
        return None
    endpoint.gate.permit_surface(caller, surface)
    route = describe_route(endpoint, surface, route_of(endpoint.settings, surface))
    try:
        targets = endpoint.targets(surface, caller.name)
        columns = endpoint.gate.columns(caller)
        asked_for = query.item_id if query.product is None else None
        request = SimilarRequest(item_id=asked_for, product=query.product, k=_k(endpoint), fields=list(shown_of(columns)))
        return SurfaceView(route, tuple(targets), tuple(await endpoint.neighbours(targets, request, columns)))
    except Problem as problem:
        return SurfaceView(route, problem=problem)


def describe_route(endpoint: Endpoint, surface: str, route: RouteSettings) -> RouteView:
    """Where a surface goes now."""
    return route_view(surface, route, endpoint.releases.live, endpoint.releases.problems)


async def roots(endpoint: Endpoint, caller: KeySettings) -> list[dict[str, Any]]:
    """The top of the tree of every flavor that the caller may look into."""
    return list(await asyncio.gather(*(_root(endpoint, flavor) for flavor in endpoint.gate.flavors(caller))))


async def _root(endpoint: Endpoint, flavor: str) -> dict[str, Any]:
    release = endpoint.releases.live.get(flavor)
    try:
        if release is None:
            raise no_release(endpoint, flavor)
        return {"flavor": flavor, "release": release, "page": await endpoint.ask(PrefixPage(release, "", 0, 0, ROOTS)), "problem": None}
    except Problem as problem:
        return {"flavor": flavor, "release": release, "page": None, "problem": problem}


async def tree(endpoint: Endpoint, caller: KeySettings, query: PageQuery) -> dict[str, Any]:
    """What lies under a prefix, and the prefixes above it.

    Raises:
        Problem: there is no such flavor, release or prefix, or the caller may not look into it.
    """
    release = _release(endpoint, caller, query)
    limit = min(PAGE, endpoint.settings.limits.page)
    columns = endpoint.gate.columns(caller)
    page = await endpoint.ask(PrefixPage(release, query.prefix, query.children_from, query.products_from, limit, columns))
    codes = parse(query.prefix) if query.prefix else ()
    above = await asyncio.gather(*(_branch(endpoint, release, codes[:depth]) for depth in range(1, len(codes))))
    return {**page, "flavor": query.flavor, "limit": limit, "above": [(prefix, label) for prefix, _, label in above]}


def _release(endpoint: Endpoint, caller: KeySettings, query: PageQuery) -> str:
    endpoint.gate.permit_flavor(caller, query.flavor)
    if not query.release:
        if query.flavor not in endpoint.releases.live:
            raise no_release(endpoint, query.flavor)
        return endpoint.releases.live[query.flavor]
    if not RELEASE_NAME.fullmatch(query.release) or query.release.partition("@")[0] != query.flavor:
        raise Problem("unknown-release", f"{query.flavor} has no release {query.release[:100]!r}; they are named like precision@v0001")
    return query.release


def no_release(endpoint: Endpoint, flavor: str) -> Problem:
    """Why a flavor has nothing to show."""
    why = endpoint.releases.problems.get(flavor, "it is being loaded; try again in a moment")
    return Problem("not-ready", f"no release of flavor {flavor} can be shown: {why}")


def shown_of(columns: tuple[str, ...]) -> tuple[str, ...]:
    """What is shown of each product of a list, as far as the caller may see it."""
    return tuple(name for name in FIELDS if name in columns)


def _k(endpoint: Endpoint) -> int:
    return min(NEAREST, endpoint.settings.limits.neighbours)
