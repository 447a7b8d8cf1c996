"""What the shop window shows, gathered from the endpoint: a cart, what a surface returns for it by each way of answering, and the same
cart on every other surface.

A problem with one list is shown in that list's place, and the others are shown as usual. Nothing is written down of what is asked here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import ItemPage, PrefixPage
from shelfcode.serving.api.request_limits import ID_CHARACTERS
from shelfcode.serving.api.requests import Product, SimilarRequest, catalog_id
from shelfcode.serving.api.retrieve_requests import RetrieveRequest
from shelfcode.serving.pages.beam_tree import Walk, walks
from shelfcode.serving.pages.shop_query import CART, Fields, ShopQuery
from shelfcode.serving.pages.shopper import Shopper, Side
from shelfcode.serving.pages.views import no_release, shown_of
from shelfcode.serving.routing import Target, route_of

AS_SET = "as set"
"""The list that a surface is set to return."""
OFFERED = 8
"""Products that are offered for words that were typed."""
COMPACT = 10
"""Products of a list where all surfaces are compared."""
SURFACES = 24
"""Surfaces that are compared at the most: each is a request of its own."""
LABELLED = 24
"""Prefixes of a walk whose words are shown, the most probable ones."""


@dataclass(frozen=True)
class CartLine:
    """A product of the cart.

    Attributes:
        product: what is known of it; None where no release has it.
        semantic_id: in the release that the surface answers with; None where that does not have it.
    """

    item_id: str
    product: Mapping[str, Any] | None = None
    semantic_id: str | None = None


@dataclass(frozen=True)
class Offers:
    """Products like words that were typed."""

    words: str
    products: Sequence[Mapping[str, Any]] = ()
    problem: Problem | None = None


@dataclass(frozen=True)
class Column:
    """One list, and how it came about.

    Attributes:
        names: of what answers: a way of answering has one column, also where the surface is set to it.
        retrievers: name -> version.
        answer: as RetrieveResponse has it.
        common: products that it has in common with the list that the surface is set to.
    """

    names: tuple[str, ...]
    share: float = 1.0
    release: str = ""
    retrievers: Mapping[str, str] | None = None
    answer: Mapping[str, Any] | None = None
    problem: Problem | None = None
    common: int | None = None
    walks: tuple[Walk, ...] = ()

    @property
    def item_ids(self) -> list[str]:
        return [row["item_id"] for row in self.answer["results"]] if self.answer else []

    @property
    def beams(self) -> Mapping[str, int] | None:
        """What lay under the semantic IDs that were followed."""
        return self.answer["counts"]["beams"] if self.answer else None


@dataclass(frozen=True)
class ShopWindow:
    """All that a window shows.

    Attributes:
        refused: why nothing is asked: the caller may not ask about this retailer, or has not named one yet.
        columns: of the surface; the first is what it is set to.
        surfaces: what each surface is set to return, by its name.
        left_out: surfaces that are not compared because there are too many.
        places: item_id -> its place in the list that the surface is set to.
    """

    query: ShopQuery
    surface: str
    retailers: Sequence[str] = ()
    cart: tuple[CartLine, ...] = ()
    offers: Offers | None = None
    refused: Problem | None = None
    columns: tuple[Column, ...] = ()
    surfaces: Mapping[str, Column] | None = None
    left_out: int = 0

    @property
    def places(self) -> dict[str, int]:
        return {item_id: place for place, item_id in enumerate(self.columns[0].item_ids, start=1)} if self.columns else {}

    @property
    def status(self) -> int:
        """200 as long as any list could be had, and where a retailer has yet to be named."""
        if self.refused:
            return self.refused.status if self.query.retailer_id else 200
        problems = [column.problem for column in self.columns if column.problem]
        return problems[0].status if problems and len(problems) == len(self.columns) else 200


async def shop_window(shopper: Shopper, query: ShopQuery) -> ShopWindow:
    """What a window shows.

    Raises:
        Problem: there is no such surface, or the caller may not ask for it.
    """
    gate = shopper.endpoint.gate
    surface = query.surface or next(iter(gate.surfaces(shopper.caller)), "")
    if not surface:
        return ShopWindow(query, surface)
    gate.permit_surface(shopper.caller, surface)
    route_of(shopper.endpoint.settings, surface)
    refused, sides = _refusal(shopper, query), _sides(shopper, surface)
    release = next((side.release for _, side in sides if not isinstance(side, Problem)), "")
    retailers, cart, offers = await asyncio.gather(
        shopper.tried(shopper.carts.retailers(shopper.caller)), _cart(shopper, query.cart, release), _offers(shopper, query.find)
    )
    window = ShopWindow(query, surface, [] if isinstance(retailers, Problem) else retailers, cart, offers, refused)
    if refused:
        return window
    columns = await _columns(shopper, surface, sides, query)
    # Only then, for a decoder has to answer in time, and this page is not to be what makes it late.
    surfaces, left_out = await _surfaces(shopper, query)
    return replace(window, columns=columns, surfaces=surfaces, left_out=left_out)


async def put_in(shopper: Shopper, query: ShopQuery, text: str) -> Fields:
    """The fields of the window after something was typed: with the product in the cart that has it as item_id, else with what is like it.

    Raises:
        Problem: the cart takes no more.
    """
    text = text.strip()[:ID_CHARACTERS]
    if not text:
        return query.fields()
    if query.is_full:
        raise Problem("invalid-request", f"the cart holds {CART} products, and a window takes no more: take one out first", limit=CART)
    known = (await _line(shopper, text, "")).product is not None
    return query.adding(text) if known else query.fields(find=text)


def _refusal(shopper: Shopper, query: ShopQuery) -> Problem | None:
    try:
        shopper.endpoint.gate.permit_retailer(shopper.caller, query.retailer_id or None)
    except Problem as problem:
        return problem
    return None


def _sides(shopper: Shopper, surface: str) -> list[tuple[tuple[str, ...], Side | Problem]]:
    """What answers, each once, with all its names: what the surface is set to comes first."""
    found: list[tuple[tuple[str, ...], Side | Problem]] = [((AS_SET,), _side(shopper, surface, None))]
    (_, as_set), merged = found[0], False
    for name in shopper.carts.compared():
        side = _side(shopper, surface, name)
        if not merged and _are_one(as_set, side):
            found[0], merged = ((AS_SET, name), as_set), True
        else:
            found.append(((name,), side))
    return found


def _side(shopper: Shopper, surface: str, only: str | None) -> Side | Problem:
    try:
        return shopper.carts.side_of(surface, shopper.caller.name, only)
    except Exception as error:
        return shopper.problem(error)


def _are_one(side: Side | Problem, other: Side | Problem) -> bool:
    """Whether two sides answer with the same list."""
    if isinstance(side, Problem) or isinstance(other, Problem):
        return False
    return (side.name, side.release, _shares(side)) == (other.name, other.release, _shares(other))


def _shares(side: Side) -> list[tuple[str, float]]:
    total = sum(weight for _, _, weight in side.parts)
    return sorted((version, round(weight / total, 6)) for version, _, weight in side.parts)


async def _columns(
    shopper: Shopper, surface: str, sides: Sequence[tuple[tuple[str, ...], Side | Problem]], query: ShopQuery
) -> tuple[Column, ...]:
    request = query.request(shown_of(shopper.columns))
    columns = await asyncio.gather(*(_column(shopper, surface, names, side, request) for names, side in sides))
    first = set(columns[0].item_ids)
    others = [replace(each, common=len(first.intersection(each.item_ids))) if columns[0].answer else each for each in columns[1:]]
    return columns[0], *others


async def _column(shopper: Shopper, surface: str, names: tuple[str, ...], side: Side | Problem, request: RetrieveRequest) -> Column:
    if isinstance(side, Problem):
        return Column(names, problem=side)
    column = Column(names, side.share, side.release, side.retrievers)
    # Beams of a blend are those of its generator, which has a column of its own.
    asked = request.model_copy(update={"explain": len(side.parts) == 1})
    answer = await shopper.tried(shopper.carts.retrieve(surface, side, asked, shopper.columns, shopper.request_id, shown=False))
    if isinstance(answer, Problem):
        return replace(column, problem=answer)
    followed = [await _labelled(shopper, side.release, walk) for walk in walks(answer.get("beams") or ())]
    return replace(column, answer=answer, walks=tuple(followed))


async def _labelled(shopper: Shopper, release: str, walk: Walk) -> Walk:
    """A walk with the words of its most probable prefixes, where the caller may look into the flavor."""
    if release not in shopper.live:
        return walk
    prefixes = walk.best(LABELLED)
    pages = await asyncio.gather(*(shopper.tried(shopper.endpoint.ask(PrefixPage(release, each, 0, 0, 0))) for each in prefixes))
    known = zip(prefixes, pages, strict=True)
    return replace(walk, labels={prefix: ", ".join(page["label"]) for prefix, page in known if not isinstance(page, Problem)})


async def _surfaces(shopper: Shopper, query: ShopQuery) -> tuple[dict[str, Column], int]:
    """What each surface that the caller may ask is set to return, and how many surfaces are left out."""
    surfaces = shopper.endpoint.gate.surfaces(shopper.caller)
    request = query.request(shown_of(shopper.columns))
    plain = request.model_copy(update={"beam_width": None, "temperature": None, "k": min(query.k or COMPACT, COMPACT)})
    asked = surfaces[:SURFACES]
    columns = await asyncio.gather(*(_compact(shopper, surface, plain) for surface in asked))
    return dict(zip(asked, columns, strict=True)), len(surfaces) - len(asked)


async def _compact(shopper: Shopper, surface: str, request: RetrieveRequest) -> Column:
    side = _side(shopper, surface, None)
    if isinstance(side, Problem):
        return Column((AS_SET,), problem=side)
    column = Column((side.name,), side.share, side.release, side.retrievers)
    answer = await shopper.tried(shopper.carts.retrieve(surface, side, request, shopper.columns, shopper.request_id, shown=False))
    return replace(column, problem=answer) if isinstance(answer, Problem) else replace(column, answer=answer)


async def _cart(shopper: Shopper, item_ids: Sequence[str], release: str) -> tuple[CartLine, ...]:
    return tuple(await asyncio.gather(*(_line(shopper, item_id, release) for item_id in item_ids)))


async def _line(shopper: Shopper, item_id: str, release: str) -> CartLine:
    known = catalog_id(item_id)
    if not known or not shopper.live:
        return CartLine(item_id)
    page = await shopper.tried(shopper.endpoint.ask(ItemPage(known, tuple(shopper.live), 0, 0, shopper.columns)))
    if isinstance(page, Problem):
        return CartLine(item_id)
    semantic_id = next((each["semantic_id"] for each in page["semantic_ids"] if each["release"] == release), None)
    return CartLine(item_id, page["product"], semantic_id)


async def _offers(shopper: Shopper, words: str) -> Offers | None:
    """Products whose titles mean what was typed, in the first flavor that has a release."""
    if not words:
        return None
    found = await shopper.tried(_like(shopper, words))
    return Offers(words, problem=found) if isinstance(found, Problem) else Offers(words, found)


async def _like(shopper: Shopper, words: str) -> list[dict[str, Any]]:
    flavors = shopper.endpoint.gate.flavors(shopper.caller)
    if not shopper.live:
        raise no_release(shopper.endpoint, flavors[0]) if flavors else Problem("not-ready", "there is no flavor to look into")
    release = shopper.live[0]
    request = SimilarRequest(product=Product(title=words), k=OFFERED, min_level=0, fields=list(shown_of(shopper.columns)))
    return await shopper.endpoint.neighbours([Target(release.partition("@")[0], release, 1.0)], request, shopper.columns)
