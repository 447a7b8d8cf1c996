"""The one endpoint that surfaces call: HTTP in, HTTP out. Routing and answers are the library's; the work is done by the deployments."""

import asyncio
import contextlib
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import StringConstraints
from pydantic_core import to_json
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.context import _get_global_client  # where Serve keeps what it listens on
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from serve_apps.answering import DOWN, Answering, Deployments
from serve_apps.cart_answering import CartAnswering
from serve_apps.deployment_status import why_blocked
from serve_apps.request_metrics import RequestMetrics
from serve_apps.retrieve_routes import retrieve
from serve_apps.retrieve_routes import router as carts
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.access import check_listening
from shelfcode.serving.api.front import Front
from shelfcode.serving.api.http_wire import RequestLog, bearer_key, json_response, path_of, problem_response, read_body, request_id
from shelfcode.serving.api.problems import Problem, ProblemDetails
from shelfcode.serving.api.questions import ItemPage, PrefixPage
from shelfcode.serving.api.request_ids import LeftToServe
from shelfcode.serving.api.requests import EncodeRequest, SimilarRequest, body_of, catalog_id, read_encode_request, read_similar_request
from shelfcode.serving.api.responses import (
    EncodeResponse,
    HealthResponse,
    ItemResponse,
    PrefixResponse,
    ReadyResponse,
    SimilarResponse,
    SurfacesResponse,
    item_links,
    prefix_links,
)
from shelfcode.serving.api.sessions import visitor
from shelfcode.serving.pages.api_page import with_shared_schemas
from shelfcode.serving.pages.site import Site
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.review.routes import router as review
from shelfcode.serving.routing import RELEASE_NAME, RouteView, route_of, route_view
from shelfcode.serving.surface_settings import KeySettings, RouteSettings, SurfaceSettings, written_out

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemDetails, "description": what}
    for code, what in {
        400: "the body cannot be read", 401: "no key", 403: "the key does not permit this",
        404: "no such surface, flavor, item or prefix", 408: "the body did not arrive in time", 413: "the body is too large",
        415: "the body is packed in an unknown way", 421: "the server does not go by this name",
        422: "the request is not as described", 429: "too many requests", 503: "no release is loaded",
    }.items()
}  # fmt: skip
api = FastAPI(
    title="Shelfcode", version="1", description="Semantic IDs of products, for surfaces.", responses=ERRORS, docs_url=None, redoc_url=None,
    openapi_url=None, redirect_slashes=False,
)  # fmt: skip
api.include_router(review)
api.state.review = lambda: serve.get_replica_context().servable_object.review
api.include_router(carts)
api.state.endpoint = lambda: serve.get_replica_context().servable_object
api.add_middleware(RequestLog)
api.add_middleware(LeftToServe)
api.add_middleware(Front, settings=lambda: serve.get_replica_context().servable_object.settings)  # added last, it stands in front

Limit = Annotated[int, Query(ge=1, le=most.POSITION, description="of a page")]
From = Annotated[int, Query(ge=0, le=most.POSITION, alias="from", description="where the page begins")]
Release = Annotated[str, Query(max_length=most.NAME_CHARACTERS, description="such as precision@v0001; the current one where left out")]
Named = Annotated[str, StringConstraints(max_length=most.PATH_CHARACTERS)]


def allowed_methods(request: Request) -> list[str]:
    """The methods that the address of a request takes; HEAD is answered wherever GET is."""
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE)
    methods = {method for route in routes for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


async def _similar(request: Request) -> Response:
    request.scope["route"] = SIMILAR  # for the log
    return await serve.get_replica_context().servable_object.similar(request, request.path_params["surface"])  # type: ignore[no-any-return]


SIMILAR = Route("/v1/surfaces/{surface}/similar", _similar, methods=["POST"])
"""`Surfaces.similar` in front of FastAPI's own route, which tells OpenAPI of it: FastAPI takes half as long to find its parameters as the
answer does."""


async def _retrieve(request: Request) -> Response:
    request.scope["route"] = RETRIEVE
    return await retrieve(request, request.path_params["surface"])


RETRIEVE = Route("/v1/surfaces/{surface}/retrieve", _retrieve, methods=["POST"])
api.router.routes[:0] = [SIMILAR, RETRIEVE]


@api.exception_handler(Problem)
async def _problem(request: Request, problem: Problem) -> Response:
    return problem_response(request, problem)


@api.exception_handler(RequestValidationError)
async def _invalid(request: Request, error: RequestValidationError) -> Response:
    detail = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()[: most.ERRORS_TOLD])
    return problem_response(request, Problem("invalid-request", detail))


@api.exception_handler(HTTPException)
async def _refused(request: Request, error: HTTPException) -> Response:
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
    told = Problem(kind, f"{request.method[:20]} {request.url.path[:200]}: {error.detail}; /docs lists what there is")
    return problem_response(request, told, **({"Allow": ", ".join(allowed_methods(request))} if error.status_code == 405 else {}))


@api.exception_handler(RayActorError)
@api.exception_handler(DeploymentUnavailableError)
async def _unavailable(request: Request, _: Exception) -> Response:
    return problem_response(request, Problem("unavailable", "a part of the server is down and did not come back in time; try again"))


@api.exception_handler(Exception)
async def _failed(request: Request, _: Exception) -> Response:
    answer = problem_response(request, Problem("internal", "this is a fault of the server; its log has the request_id"))
    if request.headers.get("x-request-id") == answer.headers["x-request-id"]:
        del answer.headers["x-request-id"]  # which Serve adds; this answer does not come by LeftToServe
    return answer


class Surfaces:
    """Lets callers in, and writes out what they asked for."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, workspace: str, settings: SurfaceSettings, deployments: Deployments, impressions: DeploymentHandle | None = None
    ) -> None:
        check_listening(settings, _get_global_client().http_config.host)
        application = serve.get_replica_context().app_name
        answering = Answering(workspace, settings, deployments, partial(why_blocked, settings, application))
        self.answer_by(answering, CartAnswering(answering, impressions))
        self.metrics = RequestMetrics()
        await self.releases.refresh()
        self.following = asyncio.ensure_future(self.releases.follow())

    def answer_by(self, answering: Answering, carts: CartAnswering) -> None:
        """Take requests to what answers them."""
        self.carts = carts
        self.settings, self.answering, self.gate, self.releases = answering.settings, answering, answering.gate, answering.releases
        self.pages = Site(answering, carts, lambda request: self.enter(request, page=True), DOWN)
        self.review = ReviewRoom(answering.workspace, answering.settings, answering.gate, lambda request: self.enter(request, page=True))

    # What surfaces call.

    @api.get("/v1/surfaces", response_model=SurfacesResponse, summary="What goes where, and which release is live")
    async def list_surfaces(self, request: Request) -> Response:
        caller = self.enter(request)
        default = self.settings.default if caller.surfaces is None else None
        return json_response(request, {
            "surfaces": [self._route(name, written_out(self.settings.surfaces[name])) for name in self.gate.surfaces(caller)],
            "default": self._route("*", written_out(default)) if default else None,
            "live": {flavor: self.releases.live.get(flavor) for flavor in self.gate.flavors(caller)},
        })  # fmt: skip

    @api.post(
        "/v1/surfaces/{surface}/encode",
        response_model=EncodeResponse,
        openapi_extra=body_of(EncodeRequest),
        summary="Products to semantic IDs",
    )
    async def encode(self, request: Request, surface: Named) -> Response:
        caller = self.enter(request, surface)
        body = read_encode_request(await self.read(request), self.settings.limits)
        request.scope["shelfcode.products"] = len(body.products)
        async with self.metrics.measured(request, "encode") as targets:
            targets += self.answering.targets(surface, body.routing_key or caller.name)
            results = await self.answering.encode(targets, body.products)
        return json_response(request, {"surface": surface, "request_id": request_id(request), "targets": targets, "results": results})

    @api.post(
        "/v1/surfaces/{surface}/similar",
        response_model=SimilarResponse,
        openapi_extra=body_of(SimilarRequest),
        summary="The nearest products",
    )
    async def similar(self, request: Request, surface: Named) -> Response:
        caller = self.enter(request, surface)
        body = read_similar_request(await self.read(request), self.settings.limits)
        if body.retailer_id is not None:
            self.gate.permit_retailer(caller, body.retailer_id)
        async with self.metrics.measured(request, "similar") as targets:
            targets += self.answering.targets(surface, body.routing_key or caller.name)
            results = await self.answering.neighbours_json(targets, body, self.gate.columns(caller))
        around = to_json({"surface": surface, "request_id": request_id(request), "targets": targets})
        return json_response(request, b'%b,"results":%b}' % (around[:-1], results))

    @api.get("/v1/items/{item_id:path}", response_model=ItemResponse, summary="A product of the catalog and its semantic IDs")
    async def item(self, request: Request, item_id: Named, release: Release | None = None, limit: Limit = 50, first: From = 0) -> Response:
        caller = self.enter(request)
        releases = [self._release(caller, release)] if release else [self._live(flavor) for flavor in self.gate.flavors(caller)]
        limit = min(limit, self.settings.limits.page)
        page = ItemPage(catalog_id(item_id), tuple(releases), first, limit, self.gate.columns(caller))
        answer = {**await self.answering.ask(page), "item_id": item_id}
        return json_response(request, {"request_id": request_id(request), **item_links(answer, path_of(request), limit)})

    @api.get("/v1/flavors/{flavor}/prefixes", response_model=PrefixResponse, summary="The top of the tree of prefixes")
    @api.get("/v1/flavors/{flavor}/prefixes/{prefix}", response_model=PrefixResponse, summary="What lies under a prefix")
    async def prefix(
        self,
        request: Request,
        flavor: Named,
        prefix: Named = "",
        release: Release | None = None,
        limit: Limit = 50,
        first: From = 0,
        children_from: Annotated[int, Query(ge=0, le=most.POSITION)] = 0,
    ) -> Response:
        caller = self.enter(request)
        self.gate.permit_flavor(caller, flavor)
        name = self._release(caller, release) if release else self._live(flavor)
        if name.partition("@")[0] != flavor:
            raise Problem("unknown-release", f"{name} is not a release of {flavor}")
        limit = min(limit, self.settings.limits.page)
        answer = await self.answering.ask(PrefixPage(name, prefix, children_from, first, limit, self.gate.columns(caller)))
        return json_response(
            request, {"request_id": request_id(request), "flavor": flavor, **prefix_links(answer, path_of(request), limit)}
        )

    @api.get("/v1/health", response_model=HealthResponse, summary="The process is alive; needs no key")
    async def health(self, request: Request) -> Response:
        request.scope["shelfcode.log"] = False
        return json_response(request, {"status": "live"})

    @api.get(
        "/v1/ready",
        response_model=ReadyResponse,
        summary="Every flavor has a release; needs no key, and gives details to those who have one",
    )
    async def ready(self, request: Request) -> Response:
        request.scope["shelfcode.log"] = False
        answer: dict[str, Any] = {"ready": self.releases.ready}
        with contextlib.suppress(Problem):
            flavors = self.gate.flavors(self.gate.caller(bearer_key(request)))
            answer["live"] = {flavor: self.releases.live.get(flavor) for flavor in flavors}
            answer["retrievers"], answer["without"] = self.releases.retrievers, self.releases.without
            answer["problems"] = {name: why for name, why in self.releases.problems.items() if name.partition("@")[0] in flavors}
        return json_response(request, answer, 200 if self.releases.ready else 503)

    # What people look at.

    @api.get("/docs", include_in_schema=False)
    async def docs(self, request: Request) -> Response:
        return await self.pages.docs(request)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi(self, request: Request) -> Response:
        self.enter(request, page=True)
        return json_response(request, with_shared_schemas(request.app.openapi()))

    @api.get("/explore", include_in_schema=False)
    async def explore(self, request: Request) -> Response:
        return await self.pages.explore(request)

    @api.post("/explore", include_in_schema=False)
    async def posted(self, request: Request) -> Response:
        return await self.pages.posted(request)

    @api.get("/", include_in_schema=False)
    async def root(self, request: Request) -> Response:
        return self.pages.root(request)

    # How they are answered.

    def enter(self, request: Request, surface: str | None = None, page: bool = False) -> KeySettings:
        """Let a caller through; the surface, if any, exists and is theirs to ask for."""
        caller = visitor(self.gate, request) if page else self.gate.caller(bearer_key(request))
        request.scope["shelfcode.caller"], request.scope["shelfcode.log"] = caller.name, self.settings.log_requests
        self.gate.admit(caller)
        if surface is not None:
            self.gate.permit_surface(caller, surface)
            route_of(self.settings, surface)
            request.scope["shelfcode.surface"] = surface if surface in self.settings.surfaces else "(default)"
        return caller

    async def read(self, request: Request) -> bytes:
        """The body of a request."""
        body = await read_body(request, self.settings.limits.body_bytes, self.settings.limits.body_seconds)
        request.scope["shelfcode.bytes_in"] = len(body)
        return body

    def _live(self, flavor: str) -> str:
        if flavor not in self.releases.live:
            raise Problem("not-ready", f"no release of flavor {flavor} can be served now; /v1/ready says why", flavor=flavor)
        return self.releases.live[flavor]

    def _release(self, caller: KeySettings, name: str) -> str:
        """A release that a caller names and may look into."""
        flavor = name.partition("@")[0]
        if not RELEASE_NAME.fullmatch(name) or (caller.surfaces is None and flavor not in self.settings.flavor_names):
            raise Problem("unknown-release", f"there is no release {name[:100]!r}; they are named like precision@v0001")
        self.gate.permit_flavor(caller, flavor)
        return name

    def _route(self, surface: str, route: RouteSettings) -> RouteView:
        return route_view(surface, route, self.releases.live, self.releases.problems)
