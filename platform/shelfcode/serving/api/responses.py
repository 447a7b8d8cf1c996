"""What surfaces get back: the shapes that the OpenAPI page shows, and the links from one page to the next.

Answers are built as plain dicts of these shapes. Links name the release, so that a promotion does not shift what is being paged through.
"""

from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field

from shelfcode.serving.api.problems import ProblemDetails


class Answer(BaseModel):
    """A part of a response."""

    model_config = ConfigDict(extra="forbid")


class RoutedFlavor(Answer):
    """A flavor that answered, with its release, and its weight in a blend."""

    flavor: str
    release: str = Field(examples=["precision@v0003"])
    weight: float


class FlavorCode(Answer):
    """A product's semantic ID in one flavor."""

    flavor: str
    release: str
    semantic_id: str = Field(examples=["6_19_32_63"])
    codes: list[int]
    confidence: list[float] = Field(description="per level: 1 - distance to the codeword / distance to the second nearest; 0 is a tie")
    warnings: list[str] = Field(description="sparse_text, truncated, no_attributes, control_characters, extraction_failed")
    attributes_from: str | None = Field(description="request, store, vllm or rules; null where the flavor reads raw text")


class EncodedProduct(Answer):
    """What became of one product: either a semantic ID or an error."""

    item_id: str | None
    flavor: str | None = None
    release: str | None = None
    semantic_id: str | None = None
    codes: list[int] | None = None
    confidence: list[float] | None = None
    warnings: list[str] | None = None
    attributes_from: str | None = None
    also: list[FlavorCode] | None = Field(None, description="in a blend, the other flavors")
    error: ProblemDetails | None = None


class EncodeResponse(Answer):
    """Answers in the order of the products."""

    surface: str
    request_id: str
    targets: list[RoutedFlavor]
    results: list[EncodedProduct]


class SimilarProduct(BaseModel):
    """A product that was found, with the fields asked for."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    semantic_id: str
    level: int = Field(description="leading levels that it shares")
    distance: float | None = Field(None, description="of the dequantised vectors; not in a blend")
    score: float | None = Field(None, description="in a blend, from 0 to 1")
    by_flavor: dict[str, Any] | None = Field(None, description="in a blend, semantic ID and level in each flavor")


class SimilarResponse(Answer):
    """The nearest products, nearest first."""

    surface: str
    request_id: str
    targets: list[RoutedFlavor]
    results: list[SimilarProduct]


class RetrievedProduct(BaseModel):
    """A product of a list, with the fields asked for."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    semantic_id: str
    score: float = Field(
        description="within a list, higher is better: of one retriever, a logarithm of probability times worth, up to a constant; of a "
        "blend, the sum of weighted reciprocal ranks; of similar, 1 / (1 + distance)"
    )
    cart_level: int | None = Field(description="levels shared with the nearest product of the cart; null where nothing of it is known")
    proposed_by: str = Field(description="the retrievers that have it in their lists, joined by +; or similar", examples=["generator"])


class BeamCounts(Answer):
    """What lay under the semantic IDs that a generator followed."""

    legal: int = Field(description="IDs that were followed to the end; each holds a product that may be answered with")
    products: int = Field(description="products under them")
    not_in_stock: int = Field(description="of these, what the retailer does not have")
    filtered: int = Field(description="of the rest, what does not pass the filters")
    in_cart_or_excluded: int = Field(description="of the rest, what is in the cart or excluded")


class ListCounts(Answer):
    """Why other products are not in the list: how many are left at each step."""

    catalog: int
    at_retailer: int
    passed_filters: int
    open: int = Field(description="and neither in the cart nor excluded: what the list is made of")
    beams: BeamCounts | None = Field(description="null where no generator answered")


class KnownPart(Answer):
    """How much of a part of the context is known."""

    sent: int
    known: int | None = None
    used: int | None = Field(None, description="of a history, how many of its products count")


class ContextCounts(Answer):
    """How much of the context is known."""

    cart: KnownPart
    session: KnownPart
    history: KnownPart
    retailer_trained: bool
    surface_trained: bool


class FollowedBeam(Answer):
    """A prefix that a generator followed."""

    retriever: str
    level: int
    prefix: str
    log_probability: float


class RetrieveResponse(Answer):
    """A list, best first, and how it came about."""

    surface: str
    request_id: str
    release: str = Field(examples=["precision@v0003"])
    side: str = Field(description="what answered, as surfaces.yaml names it: a retriever, or blend; similar where none is named")
    retrievers: dict[str, str] = Field(description="name: version", examples=[{"generator": "generator@v0002"}])
    fallbacks: list[str] = Field(
        description="what was not there to go by: no_history, no_cart, unknown_products, no_retailer, retailer_never_seen, stock_unknown; "
        "or why similar answered: no_retriever, decoder_down, decoder_late; nothing_known where even that had nothing to go by"
    )
    results: list[RetrievedProduct]
    counts: ListCounts
    context: ContextCounts | None = Field(None, description="not where similar answered")
    beams: list[FollowedBeam] | None = Field(None, description="where explain was asked for: level by level, the most probable first")


class ChosenResponse(Answer):
    """How many products were taken down."""

    request_id: str
    taken: int


class AvailabilityResponse(Answer):
    """A change of what a retailer has, written down."""

    request_id: str
    retailer_id: str
    change: int = Field(description="number of the change; they count in this order")
    seen_by_all: bool = Field(description="whether every replica knows of it already; otherwise each does within availability_seconds")


class StockResponse(Answer):
    """How many products a retailer has."""

    request_id: str
    retailer_id: str
    products: int = Field(description="that it said to have")
    in_release: dict[str, int] = Field(description="live release: how many of them it has")


class SurfaceAnswer(Answer):
    """Where a surface goes."""

    surface: str
    flavors: dict[str, float] = Field(description="flavor: weight")
    releases: dict[str, float] = Field(description="release: share of the traffic of its flavor")
    problem: str | None


class SurfacesResponse(Answer):
    """What goes where, and which release is live."""

    surfaces: list[SurfaceAnswer]
    default: SurfaceAnswer | None
    live: dict[str, str | None] = Field(description="flavor: the current release that is loaded")


class Page(BaseModel):
    """A page of something; `next` is the address of the one after it."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    total: int
    first: int = Field(alias="from")
    next: str | None


class ItemResponse(Answer):
    """A product of the catalog and its semantic IDs; `sharing` pages through the products with the same ID."""

    request_id: str
    item_id: str
    product: dict[str, Any]
    semantic_ids: list[dict[str, Any]]


class PrefixResponse(Answer):
    """A prefix: its label, its child prefixes and its products, a page of each."""

    request_id: str
    flavor: str
    release: str
    prefix: str = Field(description="empty for the root")
    level: int
    levels: int
    label: list[str] = Field(description="the words that tell it from its siblings")
    parent: str | None
    children: Page
    products: Page


class ReadyResponse(Answer):
    """Whether every flavor has a release, and, for callers with a key, what is wrong."""

    ready: bool
    live: dict[str, str | None] | None = None
    problems: dict[str, str] | None = None
    retrievers: dict[str, str] | None = Field(None, description="name: version that answers")
    without: dict[str, str] | None = Field(None, description="retriever that surfaces name: why it does not answer; similar does")


class HealthResponse(Answer):
    """The process is alive."""

    status: str


def item_links(answer: dict[str, Any], path: str, limit: int) -> dict[str, Any]:
    """An item's answer, with the address of the next page of the products that share each semantic ID.

    Args:
        path: as it is meant, without percent-encoding: an item_id may hold any character.
    """
    # A slash within the id must not become one of the path: clients would resolve "..".
    address = quote(path.removesuffix(answer["item_id"])) + quote(answer["item_id"], safe="")
    for each in answer["semantic_ids"]:
        page = each["sharing"]
        page["next"] = _next(address, {"release": each["release"], "limit": limit}, "from", page, len(page["products"]))
    return answer


def prefix_links(answer: dict[str, Any], path: str, limit: int) -> dict[str, Any]:
    """A prefix's answer, with the addresses of the next pages of child prefixes and of products."""
    children, products = answer["children"], answer["products"]
    fixed = {"release": answer["release"], "limit": limit}
    children["next"] = _next(quote(path), {**fixed, "from": products["from"]}, "children_from", children, len(children["prefixes"]))
    products["next"] = _next(quote(path), {**fixed, "children_from": children["from"]}, "from", products, len(products["products"]))
    return answer


def _next(address: str, fixed: dict[str, Any], name: str, page: dict[str, Any], shown: int) -> str | None:
    """Path and query of the page after this one; None after the last. It has no host: the caller knows how it reached this server."""
    following = page["from"] + shown
    if not shown or following >= page["total"]:
        return None
    return f"{address}?{urlencode({**fixed, name: following})}"
