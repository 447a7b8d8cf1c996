"""What every request passes before a route is looked for: its host name, the path of a proxy in front, HEAD, and scripts of other sites."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfcode.serving.api.http_wire import problem_response
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import PREFIX, HttpSettings, SurfaceSettings

LOCAL = "localhost"
PREFIX_CHARACTERS = 200
PREFLIGHT_SECONDS = 600


class Front:
    """Middleware, the outermost.

    Args:
        settings: asked for with each request: an application is made before its settings are known.
    """

    def __init__(self, app: ASGIApp, settings: Callable[[], SurfaceSettings]) -> None:
        self.app, self.settings = app, settings
        self.with_cors = lru_cache(maxsize=1)(self._with_cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        settings, headers = self.settings(), Headers(scope=scope)
        if (unknown := unknown_host(settings, headers.getlist("host"))) is not None:
            hosts = "surfaces.yaml names in http.hosts the hosts that may be asked"
            await problem_response(Request(scope), Problem("unknown-host", f"{unknown[:100]!r} is not a name of this server; {hosts}"))(
                scope, receive, send
            )
            return
        below = behind_prefix(scope, prefix_of(settings.http, headers))
        if scope["method"] == "HEAD":
            below, send = {**below, "method": "GET", "shelfcode.method": "HEAD"}, _without_body(send)
        origins = settings.http.cors_origins
        app = self.with_cors(tuple(origins)) if origins and scope["path"].startswith(f"{scope.get('root_path', '')}/v1/") else self.app
        await app(below, receive, send)

    def _with_cors(self, origins: tuple[str, ...]) -> ASGIApp:
        return CORSMiddleware(
            self.app,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["Authorization", "Content-Type", "Content-Encoding", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After"],
            max_age=PREFLIGHT_SECONDS,
        )


def unknown_host(settings: SurfaceSettings, hosts: Iterable[str]) -> str | None:
    """The first host that a request was sent to under a name that is not this server's; None where there is none.

    A web page can have its own name lead to this machine, and its scripts may then ask whatever answers there. What they cannot do is to
    send another name than the page's.
    """
    named = {name.lower() for name in settings.http.hosts}
    if settings.auth != "none" and not named:
        return None
    return next((host for host in hosts if (name := _name(host)) not in named and not (settings.auth == "none" and _is_local(name))), None)


@lru_cache(maxsize=256)
def _name(host: str) -> str:
    """A host's name or number, in lower case and without its port."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](:\d*)?", host)
    return bracketed[1].lower() if bracketed else host.partition(":")[0].lower().removesuffix(".")


@lru_cache(maxsize=256)
def _is_local(name: str) -> bool:
    try:
        return name == LOCAL or ip_address(name).is_loopback
    except ValueError:
        return False


def prefix_of(settings: HttpSettings, headers: Headers) -> str:
    """The path below which a proxy shows this server, without a slash at its end.

    A path that begins with two slashes would lead browsers to another server, so what a header says is taken only where it is a plain path.
    """
    told = headers.get("x-forwarded-prefix", "").rstrip("/") if settings.trust_proxy else ""
    return told if told and len(told) <= PREFIX_CHARACTERS and re.fullmatch(PREFIX, told) else settings.prefix


def behind_prefix(scope: Scope, prefix: str) -> dict[str, Any]:
    """A request's scope as a server below a prefix sees it: the prefix stands in its path and its root path."""
    raw = scope.get("raw_path") or b""
    return {
        **scope,
        "root_path": prefix + scope.get("root_path", ""), "path": prefix + scope["path"], "raw_path": prefix.encode() + raw,
    }  # fmt: skip


def _without_body(send: Send) -> Send:
    """What HEAD is answered with: the headers of GET alone."""

    async def send_headers(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_headers
