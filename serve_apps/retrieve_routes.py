"""The addresses of carts, of what was chosen, and of what retailers have: HTTP in, HTTP out, as ingress.py has it for the others."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request, Response
from pydantic import StringConstraints

from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.http_wire import json_response, request_id
from shelfcode.serving.api.requests import body_of, catalog_id
from shelfcode.serving.api.responses import AvailabilityResponse, ChosenResponse, RetrieveResponse, StockResponse
from shelfcode.serving.api.retrieve_requests import (
    AvailabilityRequest,
    ChosenRequest,
    RetrieveRequest,
    read_availability_request,
    read_chosen_request,
    read_retrieve_request,
)
from shelfcode.serving.routing import Target

if TYPE_CHECKING:
    from serve_apps.ingress import Surfaces

router = APIRouter()

Surface = Annotated[str, StringConstraints(max_length=most.PATH_CHARACTERS)]
Retailer = Annotated[str, StringConstraints(min_length=1, max_length=most.ID_CHARACTERS)]


def endpoint_of(request: Request) -> "Surfaces":
    """The replica of the ingress that a request has come to."""
    endpoint: Surfaces = request.app.state.endpoint()
    return endpoint


@router.post(
    "/v1/surfaces/{surface}/retrieve",
    response_model=RetrieveResponse,
    openapi_extra=body_of(RetrieveRequest),
    summary="A list of a retailer's products for a cart",
)
async def retrieve(request: Request, surface: Surface) -> Response:
    endpoint = endpoint_of(request)
    caller = endpoint.enter(request, surface)
    body = read_retrieve_request(await endpoint.read(request), endpoint.settings.limits)
    endpoint.gate.permit_retailer(caller, body.retailer_id)
    async with endpoint.metrics.measured(request, "retrieve") as targets:
        side = endpoint.carts.side_of(surface, body.user_key or caller.name)
        targets.append(Target(side.release.partition("@")[0], side.release, 1.0))
        answer = await endpoint.carts.retrieve(surface, side, body, endpoint.gate.columns(caller), request_id(request))
    request.scope["shelfcode.products"] = len(answer["results"])
    return json_response(request, answer)


@router.post(
    "/v1/surfaces/{surface}/chosen",
    status_code=202,
    response_model=ChosenResponse,
    openapi_extra=body_of(ChosenRequest),
    summary="What was chosen from a list; written down where impressions are turned on",
)
async def chosen(request: Request, surface: Surface) -> Response:
    endpoint = endpoint_of(request)
    caller = endpoint.enter(request, surface)
    body = read_chosen_request(await endpoint.read(request))
    endpoint.gate.permit_retailer(caller, body.retailer_id)
    endpoint.carts.note_chosen(surface, body)
    return json_response(request, {"request_id": body.request_id, "taken": len(set(body.item_ids))}, 202)


@router.put(
    "/v1/retailers/{retailer_id:path}/availability",
    response_model=AvailabilityResponse,
    openapi_extra=body_of(AvailabilityRequest),
    summary="What a retailer has, or what came and what went",
)
async def change_availability(request: Request, retailer_id: Retailer) -> Response:
    endpoint = endpoint_of(request)
    caller = endpoint.enter(request)
    endpoint.gate.permit_availability(caller, catalog_id(retailer_id))
    body = read_availability_request(await endpoint.read(request))
    return json_response(
        request, {**await endpoint.carts.change_availability(catalog_id(retailer_id), body), "request_id": request_id(request)}
    )


@router.get("/v1/retailers/{retailer_id:path}/availability", response_model=StockResponse, summary="How many products a retailer has")
async def availability(request: Request, retailer_id: Retailer) -> Response:
    endpoint = endpoint_of(request)
    caller = endpoint.enter(request)
    endpoint.gate.permit_retailer(caller, catalog_id(retailer_id))
    return json_response(request, {**await endpoint.carts.availability(catalog_id(retailer_id)), "request_id": request_id(request)})
