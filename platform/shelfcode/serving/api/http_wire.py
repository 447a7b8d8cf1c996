"""HTTP as ASGI hands it over: bodies up to a limit, keys, request ids, answers in JSON, and one line per request in the log."""

import logging
import re
import time
import uuid
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfcode.serving.api.problems import MEDIA_TYPE, Problem

log = logging.getLogger("ray.serve")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
COOKIE = "shelfcode_key"
"""Carries a key for the pages that people look at: a browser does not send bearer keys of its own accord."""


def request_id(request: Request) -> str:
    """The id that the caller sent, where it is a short plain word, else a new one; it stays the same for the whole request."""
    known: str | None = request.scope.get("shelfcode.request_id")
    if known is None:
        given = request.headers.get("x-request-id", "")
        known = request.scope["shelfcode.request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return known


def path_of(request: Request) -> str:
    """The path that was asked for, with any route prefix, and without percent-encoding."""
    path: str = request.scope["path"]
    return path


def bearer_key(request: Request, cookie: bool = False) -> str | None:
    """The key that a request carries: in its header, or, for pages, in a cookie."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.cookies.get(COOKIE) if cookie else None


async def read_body(request: Request, most: int) -> bytes:
    """The body, if it is not too large; a larger one is not read to its end.

    Raises:
        Problem: it is too large.
    """
    too_large = Problem("body-too-large", f"the body has more than {most:,} bytes; send fewer products per request", limit=most)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)


def json_response(request: Request, value: Any, status: int = 200, media_type: str = "application/json", **headers: str) -> Response:
    """An answer in JSON, with the request's id."""
    return Response(
        to_json(value, inf_nan_mode="null"),
        status,
        {"X-Request-Id": request_id(request), "Cache-Control": "no-store", **headers},
        media_type,
    )


def problem_response(request: Request, problem: Problem) -> Response:
    """A problem in application/problem+json."""
    headers = {"Retry-After": "1"} if problem.status in (429, 503) else {}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="shelfcode"'
    return json_response(request, problem.body(request_id(request), quote(path_of(request))), problem.status, MEDIA_TYPE, **headers)


class RequestLog:
    """Middleware: one line per request, of ids, sizes and times. What a request says is not in it, and neither is its address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        line: dict[str, Any] = {"method": scope["method"], "status": 0, "bytes_out": 0}

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                line["status"] = message["status"]
            else:
                line["bytes_out"] += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            if scope.get("shelfcode.log", True) and log.isEnabledFor(logging.INFO):
                line |= {name: scope.get(f"shelfcode.{name}", "-") for name in ("request_id", "caller", "surface", "bytes_in", "products")}
                line["route"] = getattr(scope.get("route"), "path", "-")
                line["ms"] = round((time.perf_counter() - begun) * 1000, 1)
                log.info("%s", " ".join(f"{name}={value}" for name, value in line.items()))
