"""What callers send, checked: a request as a whole, and its products one by one, so that a bad product fails alone."""

import contextlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from shelfcode.catalog.cells.item_ids import item_id_texts
from shelfcode.catalog.cells.markup import without_markup
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import ItemId, Name, RetailerId, RoutingKey, Text, Value, Values
from shelfcode.serving.surface_settings import LimitSettings
from shelfcode.text import INVISIBLE, JOINERS

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that have no place in a product's text: control characters other than white space, and code points that Unicode calls
noncharacters."""
TEXTS = ("title", "description", "brand")
FIELD_SHOWN = 100
"""Characters of a field's name that an error repeats."""
SPELLED_TWICE = re.compile(rf"[{INVISIBLE}{JOINERS}]|^\s|\s$|^[0-9]+\.0+$")
"""What the ids have, besides characters that are not composed, that catalogs would write in another way."""
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BOM = b"\xef\xbb\xbf"


class Body(BaseModel):
    """A part of a request: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenAttributes(BaseModel):
    """Attributes that come with a product; a flavor's extra ones are further fields, each a list of texts."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra={"maxProperties": 4 + most.OWN_ATTRIBUTES, "propertyNames": {"maxLength": most.NAME_CHARACTERS}},
    )
    __pydantic_extra__: dict[Name, Values] = Field(init=False)

    product_type: Value = ""
    key_ingredients: Values = []
    dietary_tags: Values = []
    format: Value = ""

    @model_validator(mode="after")
    def _few_enough(self) -> "GivenAttributes":
        if len(self.model_extra or {}) > most.OWN_ATTRIBUTES:
            raise ValueError(f"at most {most.OWN_ATTRIBUTES} attributes besides the usual four")
        return self


class Product(BaseModel):
    """A product as a catalog has it; fields that no encoder reads, such as price, may stay in it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    item_id: ItemId | None = Field(None, description="comes back with the answer, and finds stored attributes")
    title: Text | None = None
    description: Text | None = None
    brand: Text | None = None
    attributes: GivenAttributes | None = Field(None, description="for discovery; where left out, stored ones, or the rules'")


class EncodeRequest(Body):
    """Products to be encoded."""

    products: list[Any] = Field(
        min_length=1, max_length=most.PRODUCTS, description="each a Product; one that is not valid gets an error in its place"
    )
    routing_key: RoutingKey | None = Field(None, description="keeps a caller on one side of a split; where left out, the key's name does")


class PriceRange(Body):
    """Prices from one to another, both included; either may be left out. A product without a price is in no range."""

    min: Price | None = None
    max: Price | None = None

    @model_validator(mode="after")
    def _a_range(self) -> "PriceRange":
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class SimilarRequest(Body):
    """What products should be like, and which may be found."""

    item_id: ItemId | None = Field(None, description="of a product of the release; instead of product")
    product: Product | None = Field(None, description="any product; it is encoded first; instead of item_id")
    k: Annotated[int, Field(ge=1)] = Field(10, description="how many products at most")
    min_level: Annotated[int, Field(ge=0, le=8)] = Field(1, description="fewest levels that a product must share; 0 for any product at all")
    exclude: list[ItemId] = Field([], max_length=most.EXCLUDED, description="item_ids that must not come back")
    retailer_id: RetailerId | None = Field(None, description="only what this retailer has, by the availability table")
    attributes: dict[Name, Value] = Field(
        {}, max_length=most.FILTERS, description="only products with these values: column of the catalog or attribute: value"
    )
    price: PriceRange | None = Field(None, description="only products with a price in this range")
    fields: list[Name] = Field(
        ["title"], max_length=most.FIELDS, description="columns of the catalog, or attributes, that come back with each product"
    )
    routing_key: RoutingKey | None = None

    @model_validator(mode="after")
    def _one_question(self) -> "SimilarRequest":
        if (self.item_id is None) == (self.product is None):
            raise ValueError("give either item_id or product")
        return self


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI shows of a body. Bodies are not read by FastAPI: they have a limit in size, and errors per product."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


_PRODUCT = TypeAdapter(Product)
_ITEM_ID: TypeAdapter[str] = TypeAdapter(ItemId)
_ENCODE, _SIMILAR = TypeAdapter(EncodeRequest), TypeAdapter(SimilarRequest)


def read_encode_request(body: bytes, limits: LimitSettings) -> EncodeRequest:
    """An encode request from its JSON.

    Raises:
        Problem: not JSON, not an encode request, or too many products.
    """
    value = json_value(body)
    products = value.get("products") if isinstance(value, dict) else None
    if isinstance(products, list) and len(products) > limits.products:
        raise Problem("too-many-products", f"{len(products)} products; send {limits.products} or fewer per request", limit=limits.products)
    request: EncodeRequest = read_request(_ENCODE, value)
    return request


def read_similar_request(body: bytes, limits: LimitSettings) -> SimilarRequest:
    """A similar request from its JSON.

    Raises:
        Problem: not JSON, not a similar request, or k is too large.
    """
    request: SimilarRequest = read_request(_SIMILAR, json_value(body))
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
        raise Problem("invalid-product", what_is_wrong(error)) from error
    texts = {name: text for name in TEXTS if (text := getattr(product, name))}
    for name, text in texts.items():
        if len(text) > limits.text_characters:
            raise Problem("invalid-product", f"{name} has {len(text):,} characters; at most {limits.text_characters:,} are read")
    clean: dict[str, Any] = {name: _as_in_a_catalog(text) or None for name, text in texts.items()}
    given = product.attributes.model_dump() if product.attributes else {}
    if product.attributes:
        clean["attributes"] = GivenAttributes.model_validate({name: _each_without_control(value) for name, value in given.items()})
    found = any(CONTROL.search(text) for text in [*texts.values(), *_texts_of(given)])
    return product.model_copy(update=clean), ["control_characters"] if found else []


def given_id(value: Any) -> str | None:
    """The item_id that was sent with a product, whatever else is wrong with it; None where it has no good one."""
    given = value.get("item_id") if isinstance(value, dict) else None
    try:
        return None if given is None else str(_ITEM_ID.validate_python(given))
    except ValidationError:
        return None


def catalog_id(item_id: str) -> str:
    """An item_id as catalogs have it: composed, and without what nobody sees."""
    return catalog_ids([item_id])[0]


def catalog_ids(item_ids: Sequence[str]) -> list[str]:
    """item_ids as catalogs have them, all that need a look in one go."""
    odd = [place for place, item_id in enumerate(item_ids) if not _is_ordinary(item_id)]
    if not odd:
        return list(item_ids)
    held = item_id_texts(pa.array([item_ids[place] for place in odd], pa.string()))[0].to_pylist()
    found = dict(zip(odd, held, strict=True))
    return [found.get(place, item_id) or "" for place, item_id in enumerate(item_ids)]


def _is_ordinary(item_id: str) -> bool:
    return not SPELLED_TWICE.search(item_id) and unicodedata.is_normalized("NFC", item_id)


def characters_sent(products: Sequence[Any]) -> int:
    """How long the texts of some products are, whatever may be wrong with them: so much work it is to read them."""
    return sum(len(text) for product in products if isinstance(product, dict) for text in product.values() if isinstance(text, str))


def _as_in_a_catalog(text: str) -> str:
    """A text as a snapshot would hold it, so that a product gets the same semantic ID from here as from a catalog."""
    return without_markup(_without_control(text)).strip()


def _without_control(text: str) -> str:
    return CONTROL.sub(" ", text)


def _each_without_control(value: str | list[str]) -> str | list[str]:
    return _without_control(value) if isinstance(value, str) else list(map(_without_control, value))


def _texts_of(attributes: Mapping[str, str | list[str]]) -> Iterator[str]:
    for value in attributes.values():
        yield from [value] if isinstance(value, str) else value


def json_value(body: bytes) -> Any:
    """A body's value. JSON is UTF-8, with a byte order mark in front of it or without.

    Raises:
        Problem: it is not JSON.
    """
    body = body.removeprefix(BOM)
    try:
        return from_json(body)
    except ValueError as error:
        if b"\\ud" in body.lower():  # half of a surrogate pair, perhaps: only the text that it stands in is to be refused
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(body)
        raise Problem("malformed-json", f"the body is not JSON in UTF-8: {error}") from error


def read_request(model: TypeAdapter[Any], value: Any) -> Any:
    """A request as its model describes it.

    Raises:
        Problem: it is not so; names the first fields that are wrong.
    """
    try:
        return model.validate_python(value)
    except ValidationError as error:
        raise Problem("invalid-request", what_is_wrong(error), errors=_errors(error)) from error


def what_is_wrong(error: ValidationError) -> str:
    """The first errors, each with its field."""
    return "; ".join(f"{where}: {what}" if where else what for where, what in ((each["field"], each["error"]) for each in _errors(error)))


def _errors(error: ValidationError) -> list[dict[str, str]]:
    first = error.errors(include_url=False, include_input=False, include_context=False)[: most.ERRORS_TOLD]
    return [{"field": ".".join(map(_place, each["loc"])), "error": each["msg"].removeprefix("Value error, ")} for each in first]


def _place(part: str | int) -> str:
    """A step of the way to a field. Callers may make up names of any length, and characters that no answer can hold."""
    return str(part)[:FIELD_SHOWN].encode("utf-8", "replace").decode()
