"""One X-Request-Id per answer. Ray Serve answers with one of its own accord: what the caller sent, whatever that was, or a new one."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shelfcode.serving.api.http_wire import REQUEST_ID

HEADER = b"x-request-id"


class PlainRequestIds:
    """Middleware in front of Ray Serve's own: an id that is no short plain word is taken away, and Serve makes another."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == HEADER]
            if given and not (len(given) == 1 and REQUEST_ID.fullmatch(given[0])):
                scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name.lower() != HEADER]}
        await self.app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH calls, in every process of Ray Serve that speaks HTTP."""
    return [Middleware(PlainRequestIds)]


class LeftToServe:
    """Middleware of the application: leaves out the id that Ray Serve is about to add."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        added = Headers(scope=scope).get("x-request-id", "").encode("latin-1")

        async def once(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if (name.lower(), value) != (HEADER, added)]
                message = {**message, "headers": kept}
            await send(message)

        await self.app(scope, receive, once)
