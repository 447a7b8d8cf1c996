"""What callers send, checked: a request as a whole, and its products one by one, so that a bad product fails alone."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import LimitSettings

ItemId = Annotated[str, Field(min_length=1, max_length=1024)]
RoutingKey = Annotated[str, Field(max_length=1024)]
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that have no place in a product's text: control characters other than white space, lone surrogates, and code points that
Unicode calls noncharacters."""


class Body(BaseModel):
    """A part of a request: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenAttributes(BaseModel):
    """Attributes that come with a product; a flavor's extra ones are further fields, each a list of texts."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, list[str]] = Field(init=False)

    product_type: str = ""
    key_ingredients: list[str] = []
    dietary_tags: list[str] = []
    format: str = ""


class Product(BaseModel):
    """A product as a catalog has it; fields that no encoder reads, such as price, may stay in it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    item_id: ItemId | None = Field(None, description="comes back with the answer, and finds stored attributes")
    title: str | None = None
    description: str | None = None
    brand: str | None = None
    attributes: GivenAttributes | None = Field(None, description="for discovery; where left out, stored ones, or the rules'")


class EncodeRequest(Body):
    """Products to be encoded."""

    products: list[Any] = Field(min_length=1, description="each a Product; one that is not valid gets an error in its place")
    routing_key: RoutingKey | None = Field(None, description="keeps a caller on one side of a split; where left out, the key's name does")


class SimilarRequest(Body):
    """What products should be like, and which may be found."""

    item_id: ItemId | None = Field(None, description="of a product of the release; instead of product")
    product: Product | None = Field(None, description="any product; it is encoded first; instead of item_id")
    k: Annotated[int, Field(ge=1)] = Field(10, description="how many products at most")
    min_level: Annotated[int, Field(ge=0, le=8)] = Field(1, description="fewest levels that a product must share; 0 for any product at all")
    exclude: Annotated[list[ItemId], Field(max_length=10_000)] = Field([], description="item_ids that must not come back")
    retailer_id: str | None = Field(None, description="only what this retailer has, by the availability table")
    attributes: dict[str, str] = Field({}, description="only products with these values: column of the catalog or attribute: value")
    fields: list[str] = Field(["title"], description="columns of the catalog, or attributes, that come back with each product")
    routing_key: RoutingKey | None = None

    @model_validator(mode="after")
    def _one_question(self) -> "SimilarRequest":
        if (self.item_id is None) == (self.product is None):
            raise ValueError("give either item_id or product")
        return self


_PRODUCT = TypeAdapter(Product)
_ENCODE, _SIMILAR = TypeAdapter(EncodeRequest), TypeAdapter(SimilarRequest)


def read_encode_request(body: bytes, limits: LimitSettings) -> EncodeRequest:
    """An encode request from its JSON.

    Raises:
        Problem: not JSON, not an encode request, or too many products.
    """
    request: EncodeRequest = _read(_ENCODE, body)
    if len(request.products) > limits.products:
        raise Problem(
            "too-many-products", f"{len(request.products)} products; send {limits.products} or fewer per request", limit=limits.products
        )
    return request


def read_similar_request(body: bytes, limits: LimitSettings) -> SimilarRequest:
    """A similar request from its JSON.

    Raises:
        Problem: not JSON, not a similar request, or k is too large.
    """
    request: SimilarRequest = _read(_SIMILAR, body)
    if request.k > limits.neighbours:
        raise Problem("invalid-request", f"k is {request.k}; ask for {limits.neighbours} or fewer", limit=limits.neighbours)
    return request


def read_product(value: Any, limits: LimitSettings) -> tuple[Product, list[str]]:
    """A product, cleaned, and warnings about it.

    Raises:
        Problem: it is not one, or a text is too long; says which field.
    """
    try:
        product = value if isinstance(value, Product) else _PRODUCT.validate_python(value)
    except ValidationError as error:
        raise Problem("invalid-product", _summary(error)) from error
    texts = {name: text for name in ("title", "description", "brand") if (text := getattr(product, name))}
    for name, text in texts.items():
        if len(text) > limits.text_characters:
            raise Problem("invalid-product", f"{name} has {len(text):,} characters; at most {limits.text_characters:,} are read")
    clean = {name: CONTROL.sub(" ", text).strip() or None for name, text in texts.items()}
    warnings = ["control_characters"] if any(CONTROL.search(text) for text in texts.values()) else []
    return product.model_copy(update=clean), warnings


def _read(model: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return model.validate_python(from_json(body))
    except ValidationError as error:
        raise Problem("invalid-request", _summary(error), errors=_errors(error)) from error
    except ValueError as error:
        raise Problem("malformed-json", f"the body is not JSON: {error}") from error


def _summary(error: ValidationError) -> str:
    return "; ".join(f"{where}: {what}" if where else what for where, what in ((each["field"], each["error"]) for each in _errors(error)))


def _errors(error: ValidationError) -> list[dict[str, str]]:
    first = error.errors(include_url=False, include_input=False, include_context=False)[:20]
    return [{"field": ".".join(map(str, each["loc"])), "error": each["msg"].removeprefix("Value error, ")} for each in first]
