"""HTTP as ASGI hands it over: bodies up to a limit, keys, request ids, answers in JSON, and one line per request in the log."""

import asyncio
import logging
import re
import time
import uuid
import zlib
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfcode.serving.api.problems import MEDIA_TYPE, Problem

log = logging.getLogger("ray.serve")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
PACKED = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Content-Encoding -> what zlib calls it."""


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


def bearer_key(request: Request) -> str | None:
    """The key that a request carries in its header."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def declared_bytes(request: Request) -> int | None:
    """The size of the body as the request tells it, which may be that of the packed one; None where it does not."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else None


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The body, unpacked, if it is not too large and arrives in time; no more of it than that is read or unpacked.

    Args:
        most: bytes, as they arrive and unpacked.
        seconds: from the first byte to the last.

    Raises:
        Problem: it is too large, takes too long, breaks off, or is packed in a way that is not known.
    """
    if (declared_bytes(request) or 0) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, most)
    except TimeoutError:
        raise Problem("body-too-slow", f"the body did not arrive within {seconds:g} seconds; send it at once") from None
    except ClientDisconnect:
        raise Problem("malformed-body", "the connection was closed before the body had ended") from None
    except zlib.error as error:
        raise Problem("malformed-body", f"the body is not what its Content-Encoding says: {error}") from error


async def _read(request: Request, most: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity" and encoding not in PACKED:
        raise Problem("unsupported-encoding", f"Content-Encoding {encoding[:40]!r} is not read; send the body plain or in gzip")
    unpacker = zlib.decompressobj(PACKED[encoding]) if encoding in PACKED else None
    arrived, body = 0, bytearray()
    async for chunk in request.stream():
        arrived += len(chunk)
        body += unpacker.decompress(chunk, most + 1 - len(body)) if unpacker and chunk else chunk
        if max(arrived, len(body)) > most:
            raise _too_large(most)
    if unpacker and (not unpacker.eof or unpacker.unused_data):
        raise Problem("malformed-body", f"the body is not one whole {encoding} stream: it breaks off, or something follows it")
    return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem("body-too-large", f"the body has more than {most:,} bytes; send fewer products per request", limit=most)


def json_response(request: Request, value: Any, status: int = 200, media_type: str = "application/json", **headers: str) -> Response:
    """An answer in JSON, with the request's id; bytes are JSON already."""
    return Response(
        value if isinstance(value, bytes) else to_json(value, inf_nan_mode="null"),
        status,
        {"X-Request-Id": request_id(request), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers},
        media_type,
    )


def problem_response(request: Request, problem: Problem, **more: str) -> Response:
    """A problem in application/problem+json, with `more` headers."""
    headers = problem_headers(problem.status) | more
    return json_response(request, problem.body(request_id(request), quote(path_of(request))), problem.status, MEDIA_TYPE, **headers)


def problem_headers(status: int) -> dict[str, str]:
    """The headers that go with the status of a problem."""
    if status in (429, 503):
        return {"Retry-After": "1"}
    if status == 408:
        return {"Connection": "close"}  # what else dribbles in would keep it open. After 413 it is not: who sends fast would not see why
    return {"WWW-Authenticate": 'Bearer realm="shelfcode"'} if status == 401 else {}


class RequestLog:
    """Middleware: one line per request, of ids, sizes and times. What a request says is not in it, and neither is its address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        line: dict[str, Any] = {"method": scope.get("shelfcode.method", scope["method"])[:20], "status": 0, "bytes_out": 0}

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
