"""The pages that people look at: /explore, /docs, and the form that takes their key."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from starlette.responses import RedirectResponse

from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.examples import RETRIEVE, curl, filled
from shelfcode.serving.api.http_wire import bearer_key, declared_bytes, read_body, request_id
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.sessions import COOKIE, new_session, seconds, visitor
from shelfcode.serving.pages.api_page import operations, product_fields
from shelfcode.serving.pages.failures import as_problem
from shelfcode.serving.pages.page_query import PageQuery
from shelfcode.serving.pages.rendering import address, page, root_of
from shelfcode.serving.pages.shop_query import ShopQuery
from shelfcode.serving.pages.shop_window import ShopWindow, put_in, shop_window
from shelfcode.serving.pages.shopper import Carts, Shopper
from shelfcode.serving.pages.views import (
    Endpoint,
    catalog_item,
    describe_route,
    in_flavors,
    roots,
    shown_of,
    status_of,
    surface_view,
    times_found,
    tree,
)
from shelfcode.serving.routing import RouteView, route_of
from shelfcode.serving.surface_settings import KeySettings, written_out

SIGN_IN_SECONDS = 5.0
"""Time in which a key must arrive: nobody is known yet, and nobody may keep the server waiting."""


class Site:
    """Answers a browser. Whatever goes wrong is shown in a page, with the status that /v1 would give.

    Args:
        carts: answers carts, for the shop window.
        enter: lets a caller through, by the key of a header or the session of a cookie, or raises a Problem.
        unavailable: errors that mean that a part of the server is down.
    """

    def __init__(
        self, endpoint: Endpoint, carts: Carts, enter: Callable[[Request], KeySettings], unavailable: tuple[type[Exception], ...] = ()
    ) -> None:
        self.endpoint, self.carts, self.enter, self.unavailable = endpoint, carts, enter, unavailable

    def root(self, request: Request) -> Response:
        """The address of the server itself: leads to /explore."""
        return RedirectResponse(f"{root_of(request)}/explore", 307)

    async def docs(self, request: Request) -> Response:
        """The page that describes the API."""
        return await self._guarded(request, lambda caller: self._docs(request, caller))

    async def explore(self, request: Request) -> Response:
        """Whatever the address names: the shop window, a product, a prefix, or the first page, which leads to all of them."""
        if "shop" in request.query_params:
            return await self._guarded(request, lambda caller: self._shop(request, caller))
        return await self._guarded(request, lambda caller: self._explore(request, caller, dict(request.query_params)))

    async def posted(self, request: Request) -> Response:
        """A form: a key, a sign-out, or a product, which may be too long for an address."""
        if self.endpoint.settings.auth == "keys" and not self._known(request):
            return await self._form_without_key(request)
        return await self._guarded(request, lambda caller: self._form(request, caller))

    async def _guarded(self, request: Request, answer: Callable[[KeySettings], Awaitable[Response]]) -> Response:
        try:
            caller = self.enter(request)
        except Problem as problem:
            return turned_away(request, problem, _window(request))
        try:
            return await answer(caller)
        except Exception as error:
            return await self._refused(request, caller, as_problem(error, self.unavailable, request_id(request), request.url.path))

    async def _explore(self, request: Request, caller: KeySettings, fields: dict[str, str]) -> Response:
        query = PageQuery.of(fields)
        if query.flavor:
            return await self._tree(request, caller, query)
        if query.product or query.item_id:
            return await self._product(request, caller, query)
        shown: dict[str, Any] = {"roots": await roots(self.endpoint, caller), "routes": self._routes(caller)}
        return page(request, "home.html", 200, **self._frame(caller), **shown)

    async def _product(self, request: Request, caller: KeySettings, query: PageQuery) -> Response:
        flavors = await in_flavors(self.endpoint, caller, query)
        status = status_of(flavors)
        if status == 404 and all(each.problem and each.problem.status == 404 for each in flavors):
            releases = " or ".join(each.release for each in flavors if each.release)
            raise Problem("unknown-item", f"no product of {releases} has the item_id {query.item_id[:200]!r}")
        shown: dict[str, Any] = {"query": query, "flavors": flavors, "times_found": times_found(flavors), "surface": None, "item": {}}
        if status == 200:
            shown["surface"] = await surface_view(self.endpoint, caller, query)
        if query.item_id and not query.product:
            shown["item"] = await catalog_item(self.endpoint, caller, query.item_id)
        return page(request, "product.html", status, **self._frame(caller), **shown)

    async def _tree(self, request: Request, caller: KeySettings, query: PageQuery) -> Response:
        shown = await tree(self.endpoint, caller, query)
        template = "children.html" if query.part == "children" else "tree.html"
        return page(request, template, 200, **self._frame(caller), tree=shown)

    async def _shop(self, request: Request, caller: KeySettings) -> Response:
        settings = self.endpoint.settings
        query = ShopQuery.of(request.query_params.multi_items(), settings.limits)
        shopper = Shopper(self.endpoint, self.carts, caller, request_id(request), self.unavailable)
        if "add" in request.query_params:  # by the form: what it leads to has an address of its own, which can be handed on
            return RedirectResponse(address(root_of(request), **await put_in(shopper, query, request.query_params["add"])), 303)
        window = await shop_window(shopper, query)
        shown: dict[str, Any] = {
            "window": window, "query": query, "limits": settings.limits, "columns": shopper.columns, "command": "", "way": None,
            "flavors": self.endpoint.gate.flavors(caller),
        }  # fmt: skip
        if window.surface:
            shown |= {"command": self._command(request, shopper, window), "way": settings.retrieve_of(route_of(settings, window.surface))}
        return page(request, "shop.html", window.status, **self._frame(caller), **shown)

    def _command(self, request: Request, shopper: Shopper, window: ShopWindow) -> str:
        """How the first list of a window is asked for over HTTP."""
        url = str(request.base_url).rstrip("/") + filled(RETRIEVE, {"surface": window.surface})
        body = window.query.request(shown_of(shopper.columns)).model_dump(mode="json", exclude_defaults=True)
        return curl(url, self.endpoint.settings.auth == "keys", body, None if body else "POST")

    async def _docs(self, request: Request, caller: KeySettings) -> Response:
        gate, with_keys = self.endpoint.gate, self.endpoint.settings.auth == "keys"
        names = {"surface": next(iter(gate.surfaces(caller)), "SURFACE"), "flavor": next(iter(gate.flavors(caller)), "FLAVOR")}
        shown = operations(request.app.openapi(), str(request.base_url).rstrip("/"), names, with_keys)
        return page(request, "docs.html", 200, **self._frame(caller), operations=shown, product=product_fields())

    async def _form(self, request: Request, caller: KeySettings) -> Response:
        form = await read_form(request, most.FORM_BYTES, self.endpoint.settings.limits.body_seconds)
        if "sign_out" in form:
            return self._sign_out(request)
        if "key" in form and self.endpoint.settings.auth == "keys":
            return self._sign_in(request, form)
        return await self._explore(request, caller, form)

    async def _form_without_key(self, request: Request) -> Response:
        """A form from somebody without a good key: only a key is read from it, and only if it says beforehand that it is no longer."""
        if not 0 < (declared_bytes(request) or 0) <= most.SIGN_IN_BYTES:
            return turned_away(request, Problem("no-key", "sign in first: what was sent is not a key"))
        try:
            limit = min(SIGN_IN_SECONDS, self.endpoint.settings.limits.body_seconds)
            form = await read_form(request, most.SIGN_IN_BYTES, limit)
        except Problem as problem:
            return turned_away(request, problem)
        return self._sign_out(request) if "sign_out" in form else self._sign_in(request, form)

    async def _refused(self, request: Request, caller: KeySettings, problem: Problem) -> Response:
        return page(request, "problem.html", problem.status, **self._frame(caller), problem=problem.body(request_id(request)))

    def _frame(self, caller: KeySettings) -> dict[str, Any]:
        """What stands around every page: the releases, what is wrong with them, and who is signed in."""
        flavors, releases = self.endpoint.gate.flavors(caller), self.endpoint.releases
        return {
            "live": {flavor: releases.live.get(flavor) for flavor in flavors},
            "problems": {name: why for name, why in releases.problems.items() if name.partition("@")[0] in flavors},
            "surfaces": self.endpoint.gate.surfaces(caller),
            "reviews": self.endpoint.settings.review.store is not None and caller.review != "none",
            "caller": caller.name if self.endpoint.settings.auth == "keys" else None,
        }

    def _routes(self, caller: KeySettings) -> list[RouteView]:
        settings = self.endpoint.settings
        return [describe_route(self.endpoint, name, written_out(settings.surfaces[name])) for name in self.endpoint.gate.surfaces(caller)]

    def _known(self, request: Request) -> bool:
        """Whether a request has a good key; it is not counted."""
        try:
            visitor(self.endpoint.gate, request)
        except Problem:
            return False
        return True

    def _sign_in(self, request: Request, form: Mapping[str, str]) -> Response:
        wanted = _own_page(request, form.get("to", ""))
        try:
            caller = self.endpoint.gate.caller(form.get("key", "").strip())
            self.endpoint.gate.admit(caller)
        except Problem as problem:
            return turned_away(request, problem, wanted)
        request.scope["shelfcode.caller"] = caller.name
        answer = RedirectResponse(wanted, 303)
        sessions = self.endpoint.settings.sessions
        answer.set_cookie(
            COOKIE, new_session(sessions, caller), max_age=seconds(sessions), path=root_of(request) or "/",
            secure=is_https(request), httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    def _sign_out(self, request: Request) -> Response:
        answer = RedirectResponse(f"{root_of(request)}/explore", 303)
        answer.delete_cookie(COOKIE, path=root_of(request) or "/", secure=is_https(request), httponly=True, samesite="strict")
        return answer


def turned_away(request: Request, problem: Problem, wanted: str = "") -> Response:
    """The page that refuses a caller; it asks for a key where another key would help, and leads to the page that was wanted."""
    first_time = problem.kind == "no-key" and not bearer_key(request) and COOKIE not in request.cookies and request.method == "GET"
    form = problem.kind in ("no-key", "key-not-permitted")
    return page(request, "sign_in.html", problem.status, problem=problem.body(), form=form, first_time=first_time, wanted=wanted)


def _window(request: Request) -> str:
    """The address of the shop window that was asked for, if it was one and is no longer than the form for a key may be."""
    query = request.url.query
    wanted = request.method in ("GET", "HEAD") and query.startswith("shop=") and len(query) <= most.SIGN_IN_BYTES // 3
    return f"{root_of(request)}/explore?{query}" if wanted else ""


def _own_page(request: Request, wanted: str) -> str:
    """Where to go after signing in: a page of the review or a shop window if it was wanted, else the first page; never another server's."""
    root = root_of(request)
    is_own = wanted == f"{root}/review" or wanted.startswith((f"{root}/review/", f"{root}/explore?shop="))
    return wanted if is_own and wanted.isascii() and wanted.isprintable() else f"{root}/explore"


def is_https(request: Request) -> bool:
    """Whether the browser speaks TLS, to this server or to a proxy in front of it."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower())


async def read_form(request: Request, size: int, seconds: float) -> dict[str, str]:
    """The fields of a form.

    Raises:
        Problem: it is too large, takes too long to arrive, or has too many fields.
    """
    body = await read_body(request, size, seconds)
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=most.FORM_FIELDS))
    except ValueError as error:
        raise Problem("invalid-request", f"the form cannot be read: {error}") from error
