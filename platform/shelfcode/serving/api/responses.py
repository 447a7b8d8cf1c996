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
