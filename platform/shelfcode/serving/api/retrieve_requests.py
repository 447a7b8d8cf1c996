"""What callers send who want a list of a retailer's products, say what a retailer has, or tell what was chosen from a list."""

from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, TypeAdapter, field_validator, model_validator

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.impressions import CHOSEN, SHOWN
from shelfcode.interactions.instants import PER_SECOND, instants
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import ItemId, Name, RetailerId, RoutingKey, Value
from shelfcode.serving.api.requests import Body, PriceRange, json_value, read_request
from shelfcode.serving.surface_settings import LimitSettings

EARLIEST, LATEST = -62_135_596_800 * PER_SECOND, 253_402_300_799 * PER_SECOND
"""The calendar: the years 1 to 9999."""

Instant = Annotated[Value | int | float, Field(description="ISO 8601, or seconds since 1970; without a zone it is UTC")]


class SessionEvent(Body):
    """Something that happened in the session: a product that was looked at, say."""

    item_id: ItemId
    event: Name | None = Field(None, description="what happened, such as view; it is not looked at yet")
    at: Instant | None = Field(None, description="when; events count in the order of the list")


class RetrieveRequest(Body):
    """What is known of a moment. Everything may be left out."""

    cart: list[ItemId] = Field([], max_length=most.CONTEXT, description="item_ids in the cart; they are not answered with")
    history: list[ItemId] = Field(
        [],
        max_length=most.CONTEXT,
        description="item_ids that the user had before, oldest first, as often as each was had; the last 200 count",
    )
    events: list[SessionEvent] = Field(
        [], max_length=most.CONTEXT, description="what else happened in the session, oldest first, before what is in the cart"
    )
    retailer_id: RetailerId | None = Field(None, description="whose products are answered with; without it, everybody's")
    at: Instant | None = Field(None, description="when; now where it is left out")
    user_key: RoutingKey | None = Field(None, description="a key of the user that means nothing to others: it keeps a trial's sides apart")
    k: Annotated[int, Field(ge=1)] | None = Field(None, description="how many products at most; what the surface is set to where left out")
    beam_width: Annotated[int, Field(ge=1)] | None = Field(
        None, description="of a generator: semantic IDs that are followed; what the surface is set to where left out"
    )
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = Field(
        None, description="of a generator: above 0, semantic IDs are drawn; what the surface is set to where left out"
    )
    exclude: list[ItemId] = Field([], max_length=most.EXCLUDED, description="item_ids that must not come back")
    attributes: dict[Name, Value] = Field(
        {}, max_length=most.FILTERS, description="only products with these values: column of the catalog or attribute: value"
    )
    price: PriceRange | None = Field(None, description="only products with a price in this range")
    fields: list[Name] = Field(
        ["title"], max_length=most.FIELDS, description="columns of the catalog, or attributes, that come back with each product"
    )
    explain: bool = Field(False, description="whether the beams that a generator followed come back too")


class AvailabilityRequest(Body):
    """What a retailer has: all of it, or what came and what went."""

    item_ids: list[ItemId] | None = Field(None, max_length=most.STOCKED, description="all that the retailer has, in place of what it had")
    add: list[ItemId] = Field([], max_length=most.STOCKED, description="what it has now, besides")
    remove: list[ItemId] = Field([], max_length=most.STOCKED, description="what it has no more")

    @model_validator(mode="after")
    def _one_way(self) -> "AvailabilityRequest":
        if (self.item_ids is None) == (not self.add and not self.remove):
            raise ValueError("give either item_ids, which is everything, or add and remove")
        if both := set(self.add) & set(self.remove):
            raise ValueError(f"{sorted(both)[0]!r} is to be both added and removed")
        return self


class ChosenRequest(Body):
    """What was chosen from a list."""

    request_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:-]+$")] = Field(
        description="of the answer that held the list"
    )
    item_ids: list[ItemId] = Field(min_length=1, max_length=most.CHOSEN)
    event: Annotated[Name, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(CHOSEN, description="what was done, such as cart or order")
    retailer_id: RetailerId | None = None
    user_key: RoutingKey | None = Field(None, description="as it was sent with the request for the list")

    @field_validator("event")
    @classmethod
    def _not_shown(cls, event: str) -> str:
        if event == SHOWN:
            raise ValueError(f"{SHOWN} is what the endpoint itself writes down")
        return event


_RETRIEVE, _AVAILABILITY, _CHOSEN = TypeAdapter(RetrieveRequest), TypeAdapter(AvailabilityRequest), TypeAdapter(ChosenRequest)


def read_retrieve_request(body: bytes, limits: LimitSettings) -> RetrieveRequest:
    """A request for a list; an empty body is a request of which nothing is known.

    Raises:
        Problem: not JSON, not such a request, or k or beam_width is too large.
    """
    request: RetrieveRequest = read_request(_RETRIEVE, json_value(body) if body.strip() else {})
    for name, value, limit in (("k", request.k, limits.neighbours), ("beam_width", request.beam_width, limits.beams)):
        if value is not None and value > limit:
            raise Problem("invalid-request", f"{name} is {value}; ask for {limit} or fewer", limit=limit)
    return request


def read_availability_request(body: bytes) -> AvailabilityRequest:
    """What a retailer has, or what changed of it.

    Raises:
        Problem: not JSON, or not such a request; then nothing of it counts.
    """
    request: AvailabilityRequest = read_request(_AVAILABILITY, json_value(body))
    return request


def read_chosen_request(body: bytes) -> ChosenRequest:
    """What was chosen.

    Raises:
        Problem: not JSON, or not such a request.
    """
    request: ChosenRequest = read_request(_CHOSEN, json_value(body))
    return request


def seconds_of(at: Any) -> int:
    """An instant of a request as seconds since 1970, read as those of a log are.

    Raises:
        Problem: it is none, or no calendar has it.
    """
    try:
        at_R, reasons = instants(pa.array([at]), LATEST)
    except (ShelfcodeError, pa.ArrowException) as error:
        raise Problem("invalid-request", f"at: {error}") from error
    if reasons or not EARLIEST <= int(at_R[0]) <= LATEST:
        raise Problem("invalid-request", f"at: {str(at)[:100]!r} is no time; write it like 2026-11-29T18:30:00+01:00")
    return int(at_R[0]) // PER_SECOND
