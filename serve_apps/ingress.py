"""The one endpoint that surfaces call: HTTP in, HTTP out. Routing and answers are the library's; the work is the deployments'."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from ray.exceptions import RayActorError
from ray.serve import metrics
from ray.serve.context import _get_global_client  # where Serve keeps what it listens on
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from shelfcode.semantic_id import format_codes
from shelfcode.serving.access import Gate, check_listening
from shelfcode.serving.coalescing import Coalescer
from shelfcode.serving.explore_page import ExplorePages
from shelfcode.serving.http_wire import RequestLog, bearer_key, json_response, problem_response, read_body, request_id
from shelfcode.serving.live_releases import LiveReleases
from shelfcode.serving.paging import item_links, prefix_links
from shelfcode.serving.problems import Problem, ProblemDetails
from shelfcode.serving.questions import Asked, Encoded, ItemPage, Neighbours, PrefixPage, Prepared, Question, StoredAttributes
from shelfcode.serving.requests import EncodeRequest, Product, SimilarRequest, read_encode_request, read_product, read_similar_request
from shelfcode.serving.responses import (
    EncodeResponse,
    HealthResponse,
    ItemResponse,
    PrefixResponse,
    ReadyResponse,
    SimilarResponse,
    SurfacesResponse,
)
from shelfcode.serving.routing import RELEASE_NAME, Target, route_of, targets
from shelfcode.serving.surface_settings import FlavorServingSettings, KeySettings, RouteSettings, SurfaceSettings, written_out
from shelfcode.workspace import Workspace

QUESTIONS_A_CALL, QUESTION_CALLS_AT_ONCE = 64, 3
PATIENCE_SECONDS = 30
"""For a replica that died to be replaced; then a request fails."""
LATENCY_BOUNDARIES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ProblemDetails, "description": what}
    for code, what in {
        401: "no key", 403: "the key does not permit this", 404: "no such surface, flavor, item or prefix", 413: "the body is too large",
        422: "the request is not as described", 429: "too many requests", 503: "no release is loaded",
    }.items()
}  # fmt: skip
api = FastAPI(
    title="Shelfcode", version="1", description="Semantic IDs of products, for surfaces.", responses=ERRORS, docs_url=None, redoc_url=None,
    openapi_url=None,
)  # fmt: skip
api.add_middleware(RequestLog)

Limit = Annotated[int, Query(ge=1, description="of a page")]
From = Annotated[int, Query(ge=0, alias="from", description="where the page begins")]

patiently = retry(
    retry=retry_if_exception_type((RayActorError, DeploymentUnavailableError)),
    stop=stop_after_delay(PATIENCE_SECONDS), wait=wait_random_exponential(multiplier=0.1, max=2), reraise=True,
)  # fmt: skip
"""A call whose replica dies is asked of another: encoding and looking up change nothing, so that twice is as good as once."""


def body_of(model: type[EncodeRequest] | type[SimilarRequest]) -> dict[str, Any]:
    """For the OpenAPI page: bodies are read by our own hands, for the limit on their size and for errors a product."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@api.exception_handler(Problem)
async def _problem(request: Request, problem: Problem) -> Response:
    return problem_response(request, problem)


@api.exception_handler(RequestValidationError)
async def _invalid(request: Request, error: RequestValidationError) -> Response:
    told = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return problem_response(request, Problem("invalid-request", told))


@api.exception_handler(HTTPException)
async def _refused(request: Request, error: HTTPException) -> Response:
    kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "invalid-request")
    return problem_response(request, Problem(kind, f"{request.method} {request.url.path[:200]}: {error.detail}; /docs lists what there is"))


@api.exception_handler(RayActorError)
@api.exception_handler(DeploymentUnavailableError)
async def _unavailable(request: Request, _: Exception) -> Response:
    return problem_response(request, Problem("unavailable", "a part of the server is down and did not come back in time; try again"))


@api.exception_handler(Exception)
async def _failed(request: Request, _: Exception) -> Response:
    return problem_response(request, Problem("internal", "this is a fault of the server; its log has the request_id"))


class Surfaces:
    """Knows which release is live, who may ask, and whom to ask."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self,
        workspace: str,
        settings: SurfaceSettings,
        index: DeploymentHandle,
        flavors: dict[str, DeploymentHandle],
        extractor: DeploymentHandle | None,
    ) -> None:
        check_listening(settings, _get_global_client().http_config.host)
        self.settings, self.gate, self.index, self.flavors, self.extractor = settings, Gate.of(settings), index, flavors, extractor
        self.releases = LiveReleases(Workspace(workspace), settings, self._prepare)
        self.questions: Coalescer[Question] = Coalescer(self._answers, QUESTIONS_A_CALL, at_once=QUESTION_CALLS_AT_ONCE)
        self.encoders = {flavor: self._coalescer(flavor, handle) for flavor, handle in flavors.items()}
        unavailable = (RayActorError, DeploymentUnavailableError)
        self.pages = ExplorePages(self, lambda request: self._enter(request, page=True), self._told, unavailable)
        tags = ("surface", "flavor")
        self.requests = metrics.Counter("shelfcode_requests", description="Requests by surface.", tag_keys=(*tags, "status"))
        self.products = metrics.Counter("shelfcode_products", description="Products encoded.", tag_keys=tags)
        self.latency = metrics.Histogram(
            "shelfcode_latency_ms", description="Time to answer.", boundaries=LATENCY_BOUNDARIES, tag_keys=(*tags, "operation")
        )
        self.counts: Counter[tuple[str, str, str]] = Counter()
        await self.releases.refresh()
        self.tasks = [asyncio.ensure_future(each) for each in (self.releases.follow(), self._report_counts())]

    # What surfaces call.

    @api.get("/v1/surfaces", response_model=SurfacesResponse, summary="What goes where, and which release is live")
    async def list_surfaces(self, request: Request) -> Response:
        caller = self._enter(request)
        default = self.settings.default if caller.surfaces is None else None
        return json_response(request, {
            "surfaces": [self._told(name, written_out(self.settings.surfaces[name])) for name in self.gate.surfaces(caller)],
            "default": self._told("*", written_out(default)) if default else None,
            "live": {flavor: self.releases.live.get(flavor) for flavor in self.gate.flavors(caller)},
        })  # fmt: skip

    @api.post(
        "/v1/surfaces/{surface}/encode",
        response_model=EncodeResponse,
        openapi_extra=body_of(EncodeRequest),
        summary="Products to semantic IDs",
    )
    async def encode(self, request: Request, surface: str) -> Response:
        caller = self._enter(request, surface)
        asked = read_encode_request(await self._body(request), self.settings.limits)
        request.scope["shelfcode.products"] = len(asked.products)
        async with self._measured(request, "encode") as found:
            found += self.targets(surface, asked.routing_key or caller.name)
            results = await self.encoded(found, asked.products)
        return json_response(request, {"surface": surface, "request_id": request_id(request), "targets": found, "results": results})

    @api.post(
        "/v1/surfaces/{surface}/similar",
        response_model=SimilarResponse,
        openapi_extra=body_of(SimilarRequest),
        summary="The nearest products",
    )
    async def similar(self, request: Request, surface: str) -> Response:
        caller = self._enter(request, surface)
        asked = read_similar_request(await self._body(request), self.settings.limits)
        async with self._measured(request, "similar") as found:
            found += self.targets(surface, asked.routing_key or caller.name)
            results = await self.neighbours(found, asked)
        return json_response(request, {"surface": surface, "request_id": request_id(request), "targets": found, "results": results})

    @api.get("/v1/items/{item_id:path}", response_model=ItemResponse, summary="A product of the catalog and its semantic IDs")
    async def item(self, request: Request, item_id: str, release: str | None = None, limit: Limit = 50, first: From = 0) -> Response:
        caller = self._enter(request)
        releases = [self._release(caller, release)] if release else [self._live(flavor) for flavor in self.gate.flavors(caller)]
        told = await self.ask(ItemPage(item_id, tuple(releases), first, min(limit, self.settings.limits.page)))
        return json_response(
            request, {"request_id": request_id(request), **item_links(told, str(request.url), min(limit, self.settings.limits.page))}
        )

    @api.get("/v1/flavors/{flavor}/prefixes", response_model=PrefixResponse, summary="The top of the tree of prefixes")
    @api.get("/v1/flavors/{flavor}/prefixes/{prefix}", response_model=PrefixResponse, summary="What lies under a prefix")
    async def prefix(
        self,
        request: Request,
        flavor: str,
        prefix: str = "",
        release: str | None = None,
        limit: Limit = 50,
        first: From = 0,
        children_from: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        caller = self._enter(request)
        if flavor not in self.settings.flavor_names:
            raise Problem(
                "unknown-flavor", f"no surface goes to a flavor {flavor[:100]!r}; there are {', '.join(self.settings.flavor_names)}"
            )
        self.gate.permit_flavor(caller, flavor)
        name = self._release(caller, release) if release else self._live(flavor)
        if name.partition("@")[0] != flavor:
            raise Problem("unknown-release", f"{name} is not a release of {flavor}")
        limit = min(limit, self.settings.limits.page)
        told = await self.ask(PrefixPage(name, prefix, children_from, first, limit))
        return json_response(request, {"request_id": request_id(request), "flavor": flavor, **prefix_links(told, str(request.url), limit)})

    @api.get("/v1/health", response_model=HealthResponse, summary="The process is alive; needs no key")
    async def health(self, request: Request) -> Response:
        request.scope["shelfcode.log"] = False
        return json_response(request, {"status": "live"})

    @api.get(
        "/v1/ready",
        response_model=ReadyResponse,
        summary="Every flavor has a release; needs no key, and tells details to those who have one",
    )
    async def ready(self, request: Request) -> Response:
        request.scope["shelfcode.log"] = False
        told: dict[str, Any] = {"ready": self.releases.ready}
        with contextlib.suppress(Problem):
            flavors = self.gate.flavors(self.gate.caller(bearer_key(request)))
            told["live"] = {flavor: self.releases.live.get(flavor) for flavor in flavors}
            told["problems"] = {name: why for name, why in self.releases.problems.items() if name.partition("@")[0] in flavors}
        return json_response(request, told, 200 if self.releases.ready else 503)

    # What people look at.

    @api.get("/docs", include_in_schema=False)
    async def docs(self, request: Request) -> Response:
        return await self.pages.docs(request)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi(self, request: Request) -> Response:
        self._enter(request, page=True)
        return json_response(request, request.app.openapi())

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

    def _enter(self, request: Request, surface: str | None = None, page: bool = False) -> KeySettings:
        """Whoever asks, let through; the surface, if any, exists and is theirs."""
        caller = self.gate.caller(bearer_key(request, cookie=page))
        request.scope["shelfcode.caller"], request.scope["shelfcode.log"] = caller.name, self.settings.log_requests
        self.gate.admit(caller)
        if surface is not None:
            self.gate.permit_surface(caller, surface)
            route_of(self.settings, surface)
            request.scope["shelfcode.surface"] = surface if surface in self.settings.surfaces else "(default)"
        return caller

    async def _body(self, request: Request) -> bytes:
        body = await read_body(request, self.settings.limits.body_bytes)
        request.scope["shelfcode.bytes_in"] = len(body)
        return body

    def targets(self, surface: str, routing_key: str) -> list[Target]:
        """The flavors and releases that answer a request of a surface, the one that weighs most first."""
        found = targets(route_of(self.settings, surface), self.releases.live, self.releases.askable, routing_key)
        return sorted(found, key=lambda target: -target.weight)

    async def encoded(self, found: Sequence[Target], values: Sequence[Any]) -> list[dict[str, Any]]:
        """Every product with its semantic ID in each target, or with its error, in its place."""
        products: list[tuple[Product, list[str]] | Problem] = []
        for value in values:
            try:
                products.append(read_product(value, self.settings.limits))
            except Problem as problem:
                products.append(problem)
        good = [product for product in products if not isinstance(product, Problem)]
        by_target = await asyncio.gather(*(self._encode(target, [product for product, _ in good]) for target in found))
        answers = iter(zip(good, *by_target, strict=True))
        return [
            _failed_product(value, product) if isinstance(product, Problem) else _encoded_product(found, *next(answers))
            for value, product in zip(values, products, strict=True)
        ]

    async def _encode(self, target: Target, products: Sequence[Product]) -> list[Encoded | Problem]:
        if not products:
            return []
        asked = [Asked(product.title, product.description, product.brand) for product in products]
        failed = [False] * len(asked)
        if self.releases.loaded[target.release].view == "attributes":
            asked, failed = await self._with_attributes(target.release, products, asked)
        answers: list[Encoded | Problem] = await self.encoders[target.flavor].ask((target.release, asked))
        return [_warned(answer) if fell_back else answer for answer, fell_back in zip(answers, failed, strict=True)]

    async def _with_attributes(self, release: str, products: Sequence[Product], asked: list[Asked]) -> tuple[list[Asked], list[bool]]:
        """Attributes from the request, else from the store, else from the LLM if there is one; and for which products that one failed."""
        item_ids = tuple(product.item_id if product.attributes is None else None for product in products)
        stored = await self.ask(StoredAttributes(release, item_ids)) if any(item_ids) else [None] * len(asked)
        known: list[Asked] = []
        for product, own, each in zip(products, stored, asked, strict=True):
            columns, source = (product.attributes.model_dump(), "request") if product.attributes else (own, "store")
            known.append(Asked(each.title, each.description, each.brand, columns, source) if columns is not None else each)  # type: ignore[arg-type]
        missing = [place for place, each in enumerate(known) if each.attributes is None and each.title]
        failed = [False] * len(asked)
        if self.extractor is None or not missing:
            return known, failed
        for place, columns in zip(missing, await self._extract([known[place] for place in missing]), strict=True):
            each = known[place]
            failed[place] = columns is None
            if columns is not None:
                known[place] = Asked(each.title, each.description, each.brand, columns, "vllm")
        return known, failed

    async def _extract(self, products: list[Asked]) -> list[dict[str, Any] | None]:
        """What the LLM finds within its time; None for products that are left to the rules."""
        assert self.extractor is not None
        try:
            return await asyncio.wait_for(_called(self.extractor.extract, products), self.settings.online_extraction.seconds)
        except (TimeoutError, RayActorError, DeploymentUnavailableError):
            return [None] * len(products)

    async def neighbours(self, found: Sequence[Target], asked: SimilarRequest) -> list[dict[str, Any]]:
        """The products most like the one that was asked for."""
        codes = None
        if asked.product is not None:
            product, _ = read_product(asked.product, self.settings.limits)
            encoded = [(await self._encode(target, [product]))[0] for target in found]
            if problem := next((each for each in encoded if isinstance(each, Problem)), None):
                raise problem
            codes = tuple(each.codes for each in encoded if isinstance(each, Encoded))
        exclude = (*asked.exclude, *([asked.product.item_id] if asked.product and asked.product.item_id else []))
        parts = tuple((target.release, target.weight) for target in found)
        return await self.ask(  # type: ignore[no-any-return]
            Neighbours(
                parts, codes, asked.item_id, asked.k, asked.min_level, exclude, asked.retailer_id, tuple(asked.attributes.items()),
                tuple(asked.fields),
            )
        )  # fmt: skip

    async def ask(self, question: Question) -> Any:
        """The index's answer.

        Raises:
            Problem: what is wrong with the question.
        """
        answer = await self.questions.ask(question)
        if isinstance(answer, Problem):
            raise answer
        return answer

    @patiently
    async def _answers(self, questions: list[Question]) -> Sequence[Any]:
        return await self.index.answer.remote(questions)  # type: ignore[no-any-return]

    def _coalescer(self, flavor: str, handle: DeploymentHandle) -> "Coalescer[tuple[str, list[Asked]]]":
        @patiently
        async def send(calls: list[tuple[str, list[Asked]]]) -> Sequence[Any]:
            return await handle.encode.remote(calls)  # type: ignore[no-any-return]

        budget = self.settings.flavors.get(flavor, FlavorServingSettings()).tokens_per_batch
        return Coalescer(send, budget, lambda call: sum(product.tokens for product in call[1]))

    async def _prepare(self, release: str) -> Prepared:
        """Have every replica that may be asked load a release."""
        handles = [self.flavors[release.partition("@")[0]], self.index]
        answers = [each for found in await asyncio.gather(*(_prepared(handle, release) for handle in handles)) for each in found]
        return next((each for each in answers if each.problem), answers[0])

    def _live(self, flavor: str) -> str:
        if flavor not in self.releases.live:
            raise Problem("not-ready", f"no release of flavor {flavor} can be served now; /v1/ready says why", flavor=flavor)
        return self.releases.live[flavor]

    def _release(self, caller: KeySettings, name: str) -> str:
        """A release that a caller names."""
        flavor = name.partition("@")[0]
        if not RELEASE_NAME.fullmatch(name) or flavor not in self.settings.flavor_names:
            raise Problem("unknown-release", f"there is no release {name[:100]!r}; they are named like precision@v0001")
        self.gate.permit_flavor(caller, flavor)
        return name

    def _told(self, surface: str, route: RouteSettings) -> dict[str, Any]:
        total = sum(route.blend.values()) or 1.0
        flavors = {flavor: weight / total for flavor, weight in route.blend.items()} or {str(route.flavor): 1.0}
        shares = route.split or {route.release or "current": 1.0}
        releases: dict[str, float] = {}
        for flavor in flavors:
            for name, share in shares.items():
                release = self.releases.live.get(flavor, f"{flavor}@current") if name == "current" else f"{flavor}@{name}"
                releases[release] = releases.get(release, 0.0) + share / sum(shares.values())
        problems = [why for name, why in self.releases.problems.items() if name in flavors or name in releases]
        return {"surface": surface, "flavors": flavors, "releases": releases, "problem": "; ".join(problems) or None}

    @contextlib.asynccontextmanager
    async def _measured(self, request: Request, operation: str) -> AsyncIterator[list[Target]]:
        """Count a request and its time, by surface and flavor. Yields a list for its targets."""
        begun, status = time.perf_counter(), "error"
        found: list[Target] = []
        try:
            yield found
            status = "ok"
        finally:
            surface, flavor = request.scope["shelfcode.surface"], "+".join(target.flavor for target in found)
            self.counts[surface, flavor, status] += 1
            self.counts[surface, flavor, "products"] += request.scope.get("shelfcode.products", 0) if status == "ok" else 0
            milliseconds = (time.perf_counter() - begun) * 1000
            self.latency.observe(milliseconds, {"surface": surface, "flavor": flavor, "operation": operation})

    async def _report_counts(self) -> None:
        """Counters cost as much as a small request does: they are told once a second, and not by every request."""
        while True:
            await asyncio.sleep(1)
            counted, self.counts = self.counts, Counter()
            for (surface, flavor, what), count in counted.items():
                tags = {"surface": surface, "flavor": flavor}
                if what != "products":
                    self.requests.inc(count, {**tags, "status": what})
                elif count:
                    self.products.inc(count, tags)


async def _called(method: Any, *arguments: Any) -> Any:
    return await method.remote(*arguments)


@patiently
async def _prepared(handle: DeploymentHandle, release: str) -> list[Prepared]:
    """Every replica of a deployment; one that is just starting is asked by itself, and loads what it is asked for."""
    found = await handle.broadcast("prepare", release).results_async()
    return list(found) or [await handle.prepare.remote(release)]


def _failed_product(value: Any, problem: Problem) -> dict[str, Any]:
    item_id = value.get("item_id") if isinstance(value, dict) else None
    return {"item_id": item_id if isinstance(item_id, str) else None, "error": problem.body()}


def _encoded_product(found: Sequence[Target], product: tuple[Product, list[str]], *answers: Encoded | Problem) -> dict[str, Any]:
    """A product's answer: the target that weighs most, and in a blend the others beside it."""
    rows = [_code(target, answer, product[1]) for target, answer in zip(found, answers, strict=True)]
    return {"item_id": product[0].item_id, **rows[0], **({"also": rows[1:]} if len(rows) > 1 else {})}


def _code(target: Target, answer: Encoded | Problem, warnings: list[str]) -> dict[str, Any]:
    told = {"flavor": target.flavor, "release": target.release}
    if isinstance(answer, Problem):
        return {**told, "error": answer.body()}
    return {
        **told, "semantic_id": format_codes(answer.codes), "codes": answer.codes, "confidence": answer.confidence,
        "warnings": [*warnings, *answer.warnings], "attributes_from": answer.attributes_from,
    }  # fmt: skip


def _warned(answer: Encoded | Problem) -> Encoded | Problem:
    """An answer whose attributes should have come from the LLM, and did not."""
    if isinstance(answer, Problem):
        return answer
    return Encoded(answer.codes, answer.confidence, (*answer.warnings, "extraction_failed"), answer.attributes_from)
