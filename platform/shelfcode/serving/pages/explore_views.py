"""What the explore page shows, gathered from the endpoint: a product in every flavor, a surface's answer, the tree of prefixes.

Trouble with one flavor stands in that flavor's place, and the others are shown.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from shelfcode.semantic_id import Codes, format_codes, parse
from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.live_releases import LiveReleases
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage, Question
from shelfcode.serving.api.requests import Product, SimilarRequest
from shelfcode.serving.routing import RELEASE_NAME, Target, route_of
from shelfcode.serving.surface_settings import KeySettings, RouteSettings, SurfaceSettings

NEAREST = 10
PAGE = 24
ROOTS = 8
"""Prefixes of the first level that the first page shows of each flavor."""
FIELDS = ("title", "brand")


Told = Callable[[str, RouteSettings], dict[str, Any]]
"""A surface and its route -> flavors with their weights, releases with their shares, and what is wrong."""


class Endpoint(Protocol):
    """What the pages ask of the ingress."""

    settings: SurfaceSettings
    gate: Gate
    releases: LiveReleases

    def targets(self, surface: str, routing_key: str) -> list[Target]: ...

    async def encoded(self, found: Sequence[Target], values: Sequence[Any]) -> list[dict[str, Any]]: ...

    async def neighbours(self, found: Sequence[Target], asked: SimilarRequest) -> list[dict[str, Any]]: ...

    async def ask(self, question: Question) -> Any: ...


@dataclass(frozen=True)
class Wanted:
    """What a page was asked to show, from the fields of its address or of a form.

    Attributes:
        product: one that was typed.
        item_id: of a product of the catalog.
        part: `children` for these alone, without the page around them.
    """

    product: Product | None = None
    item_id: str = ""
    surface: str = ""
    flavor: str = ""
    release: str = ""
    prefix: str = ""
    children_from: int = 0
    products_from: int = 0
    part: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "Wanted":
        """Read fields; those of no meaning are ignored.

        Raises:
            Problem: a place in a list is no number, or a product was sent and nothing was typed.
        """

        def text(name: str) -> str:
            return fields.get(name, "")

        return cls(
            product=_product(fields), item_id=text("item_id"), surface=text("surface"), flavor=text("flavor"), release=text("release"),
            prefix=text("prefix"), children_from=_number(fields, "children_from"), products_from=_number(fields, "products_from"),
            part=text("part"),
        )  # fmt: skip


@dataclass(frozen=True)
class Trouble:
    """Why something cannot be shown."""

    status: int
    detail: str


@dataclass(frozen=True)
class Level:
    """One level of a semantic ID: how many products share the prefix up to it, and the words that tell them from their siblings."""

    prefix: str
    code: int
    products: int
    label: str
    confidence: float | None


@dataclass(frozen=True)
class InFlavor:
    """A product in one flavor: its semantic ID, and what is nearest."""

    flavor: str
    release: str | None
    trouble: Trouble | None = None
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

    route: dict[str, Any]
    targets: tuple[Target, ...] = ()
    results: tuple[dict[str, Any], ...] = ()
    trouble: Trouble | None = None


async def in_flavors(endpoint: Endpoint, caller: KeySettings, wanted: Wanted) -> list[InFlavor]:
    """The product that is wanted, in every flavor that the caller may look into."""
    return list(await asyncio.gather(*(_in_flavor(endpoint, flavor, wanted) for flavor in endpoint.gate.flavors(caller))))


async def _in_flavor(endpoint: Endpoint, flavor: str, wanted: Wanted) -> InFlavor:
    release = endpoint.releases.live.get(flavor)
    try:
        if release is None:
            raise no_release(endpoint, flavor)
        found = await (_encoded if wanted.product else _looked_up)(endpoint, flavor, release, wanted)
        codes = (found.codes,) if wanted.product else None
        question = Neighbours(
            ((release, 1.0),), codes, None if wanted.product else wanted.item_id, _k(endpoint), 1, (), None, (), FIELDS
        )  # fmt: skip
        levels, nearest = await asyncio.gather(_levels(endpoint, release, found), endpoint.ask(question))
        return replace(found, levels=levels, nearest=tuple(nearest))
    except Problem as problem:
        return InFlavor(flavor, release, Trouble(problem.status, problem.detail))


async def _encoded(endpoint: Endpoint, flavor: str, release: str, wanted: Wanted) -> InFlavor:
    answer = (await endpoint.encoded([Target(flavor, release, 1.0)], [wanted.product]))[0]
    if error := answer.get("error"):
        raise Problem(error["type"].rpartition(":")[2], error["detail"])
    return InFlavor(
        flavor, release, None, answer["semantic_id"], tuple(answer["confidence"]), tuple(answer["warnings"]), answer["attributes_from"]
    )  # fmt: skip


async def _looked_up(endpoint: Endpoint, flavor: str, release: str, wanted: Wanted) -> InFlavor:
    try:
        told = await endpoint.ask(ItemPage(wanted.item_id, (release,), 0, 0))
    except Problem as problem:
        if problem.kind != "unknown-item":
            raise
        raise Problem("unknown-item", f"{release} has no product with this item_id") from problem
    return InFlavor(flavor, release, semantic_id=told["semantic_ids"][0]["semantic_id"])


async def _levels(endpoint: Endpoint, release: str, found: InFlavor) -> tuple[Level, ...]:
    codes, confidence = found.codes, found.confidence or (None,) * len(found.codes)
    branches = await asyncio.gather(*(_branch(endpoint, release, codes[:depth]) for depth in range(1, len(codes) + 1)))
    return tuple(
        Level(prefix, code, products, label, sure)
        for (prefix, products, label), code, sure in zip(branches, codes, confidence, strict=True)
    )


async def _branch(endpoint: Endpoint, release: str, codes: Codes) -> tuple[str, int, str]:
    """A prefix, its products and its label; a new product may be where none is yet."""
    prefix = format_codes(codes)
    try:
        told = await endpoint.ask(PrefixPage(release, prefix, 0, 0, 0))
    except Problem as problem:
        if problem.kind != "unknown-prefix":
            raise
        return prefix, 0, ""
    return prefix, told["products"]["total"], ", ".join(told["label"])


def found_in(flavors: Sequence[InFlavor]) -> Counter[str]:
    """Of how many flavors each product is among the nearest."""
    return Counter(row["item_id"] for each in flavors for row in each.nearest)


def status_of(troubles: Sequence[Trouble | None]) -> int:
    """Of a page: 200 as long as anything on it could be answered."""
    failed = [trouble for trouble in troubles if trouble]
    return failed[0].status if failed and len(failed) == len(troubles) else 200


async def catalog_item(endpoint: Endpoint, caller: KeySettings, item_id: str) -> dict[str, Any]:
    """What the first flavor that has an item knows of it; nothing where none has it."""
    releases = [release for flavor in endpoint.gate.flavors(caller) if (release := endpoint.releases.live.get(flavor))]
    for release in releases:
        try:
            told: dict[str, Any] = (await endpoint.ask(ItemPage(item_id, (release,), 0, 0)))["product"]
        except Problem:
            continue
        return told
    return {}


async def surface_view(endpoint: Endpoint, told: Told, caller: KeySettings, wanted: Wanted) -> SurfaceView | None:
    """What the surface that was chosen would return, or the caller's first one; None where the caller has none."""
    surfaces = endpoint.gate.surfaces(caller)
    surface = wanted.surface or next(iter(surfaces), "")
    if not surface:
        return None
    endpoint.gate.permit_surface(caller, surface)
    route = told(surface, route_of(endpoint.settings, surface))
    try:
        targets = endpoint.targets(surface, caller.name)
        asked = SimilarRequest(item_id=wanted.item_id or None, product=wanted.product, k=_k(endpoint), fields=list(FIELDS))
        return SurfaceView(route, tuple(targets), tuple(await endpoint.neighbours(targets, asked)))
    except Problem as problem:
        return SurfaceView(route, trouble=Trouble(problem.status, problem.detail))


async def roots(endpoint: Endpoint, caller: KeySettings) -> list[dict[str, Any]]:
    """The top of the tree of every flavor that the caller may look into."""
    return list(await asyncio.gather(*(_root(endpoint, flavor) for flavor in endpoint.gate.flavors(caller))))


async def _root(endpoint: Endpoint, flavor: str) -> dict[str, Any]:
    release = endpoint.releases.live.get(flavor)
    try:
        if release is None:
            raise no_release(endpoint, flavor)
        return {"flavor": flavor, "release": release, "told": await endpoint.ask(PrefixPage(release, "", 0, 0, ROOTS)), "trouble": None}
    except Problem as problem:
        return {"flavor": flavor, "release": release, "told": None, "trouble": Trouble(problem.status, problem.detail)}


async def tree(endpoint: Endpoint, caller: KeySettings, wanted: Wanted) -> dict[str, Any]:
    """What lies under a prefix, and the prefixes above it.

    Raises:
        Problem: there is no such flavor, release or prefix, or the caller may not look into it.
    """
    release = _release(endpoint, caller, wanted)
    limit = min(PAGE, endpoint.settings.limits.page)
    told = await endpoint.ask(PrefixPage(release, wanted.prefix, wanted.children_from, wanted.products_from, limit))
    codes = parse(wanted.prefix) if wanted.prefix else ()
    above = await asyncio.gather(*(_branch(endpoint, release, codes[:depth]) for depth in range(1, len(codes))))
    return {**told, "flavor": wanted.flavor, "limit": limit, "above": [(prefix, label) for prefix, _, label in above]}


def _release(endpoint: Endpoint, caller: KeySettings, wanted: Wanted) -> str:
    known = endpoint.gate.flavors(caller)
    if wanted.flavor not in endpoint.settings.flavor_names:
        raise Problem("unknown-flavor", f"no surface goes to a flavor {wanted.flavor[:100]!r}; there are {', '.join(known)}")
    endpoint.gate.permit_flavor(caller, wanted.flavor)
    if not wanted.release:
        if wanted.flavor not in endpoint.releases.live:
            raise no_release(endpoint, wanted.flavor)
        return endpoint.releases.live[wanted.flavor]
    if not RELEASE_NAME.fullmatch(wanted.release) or wanted.release.partition("@")[0] != wanted.flavor:
        raise Problem("unknown-release", f"{wanted.flavor} has no release {wanted.release[:100]!r}; they are named like precision@v0001")
    return wanted.release


def no_release(endpoint: Endpoint, flavor: str) -> Problem:
    """Why a flavor has nothing to show."""
    why = endpoint.releases.problems.get(flavor, "it is being loaded; try again in a moment")
    return Problem("not-ready", f"no release of flavor {flavor} can be shown: {why}")


def _k(endpoint: Endpoint) -> int:
    return min(NEAREST, endpoint.settings.limits.neighbours)


def _product(fields: Mapping[str, str]) -> Product | None:
    texts = {name: fields[name].replace("\r\n", "\n").strip() for name in ("title", "brand", "description") if name in fields}
    if texts and not any(texts.values()):
        raise Problem("invalid-product", "nothing was typed: give a title, at the least")
    return Product(**{name: text or None for name, text in texts.items()}) if texts else None


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem("invalid-request", f"{name} is {text[:40]!r}; it is the number of the first row to show")
    return int(text or 0)
