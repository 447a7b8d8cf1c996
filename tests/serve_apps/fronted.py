"""The endpoint's HTTP over canned answers: the application that Ray Serve runs, with Serve's own middleware, and no Ray behind it."""

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from canned import Canned
from ray.serve import context
from ray.serve._private.http_util import RequestIdMiddleware
from starlette.types import ASGIApp

import serve_apps.surfaces  # binds the routes to their class
from serve_apps.ingress import Surfaces, api
from shelfcode.serving.api.request_ids import PlainRequestIds


class Uncounted:
    """Metrics that nobody reads."""

    @contextlib.asynccontextmanager
    async def measured(self, *_: Any) -> AsyncIterator[list[Any]]:
        yield []


def fronted(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> ASGIApp:
    """The application with canned answers, as it stands in a replica of the ingress."""
    assert serve_apps.surfaces.SURFACES
    surfaces = object.__new__(Surfaces)
    surfaces.answer_by(canned, canned.carts)  # type: ignore[arg-type, attr-defined]
    surfaces.metrics = Uncounted()  # type: ignore[assignment]
    monkeypatch.setattr(context, "_INTERNAL_REPLICA_CONTEXT", SimpleNamespace(servable_object=surfaces))
    return PlainRequestIds(RequestIdMiddleware(api))


@contextlib.contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """An application on a port of its own, by the server that Ray Serve uses."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
