"""The audits of the served workspace and the store of decisions, for handlers on an event loop, which must never wait for either."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from shelfcode.audit.decisions.answers import AuditRow
from shelfcode.audit.decisions.decision import Changed, NotFound
from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.audit.published_audit import AuditManifest, load_audit, published_audits
from shelfcode.errors import ShelfcodeError
from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import KeySettings, SurfaceSettings
from shelfcode.workspace import Workspace

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("ray.serve")

LATEST = "latest"
LOOKED_SECONDS = 5.0
"""Time for which it is remembered which audit is the latest."""


class ReviewRoom:
    """Answers with the desk, in threads of its own.

    Args:
        workspace: URL of the workspace whose audits are reviewed.
        enter: lets a caller through, by key or session, or raises a Problem.
    """

    def __init__(self, workspace: str, settings: SurfaceSettings, gate: Gate, enter: Callable[[Request], KeySettings]) -> None:
        self.workspace, self.settings, self.gate, self.enter = Workspace(workspace), settings, gate, enter
        self.threads = ThreadPoolExecutor(settings.review.threads, "review")
        self.asked = 0  # calls that wait for a thread or have one
        self.opening: asyncio.Task[Desk] | None = None
        self.taken: dict[str, asyncio.Task[None]] = {}
        self.latest: tuple[float, str] = (0.0, "")

    async def ask(self, question: Callable[Concatenate[Desk, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a method of the desk answers, such as `ask(Desk.summary, audit)`.

        Raises:
            Problem: it refused (404, 409, 422), the store does not answer (503), or there is none.
        """
        desk = await self.desk()
        return await self._in_thread(lambda: question(desk, *args, **kwargs))

    async def audit(self, name: str) -> str:
        """The name of an audit that is in the store; `latest` stands for the newest one of the workspace.

        Raises:
            Problem: there is no such audit.
        """
        name = await self._latest() if name == LATEST else name
        task = self.taken.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self.taken[name] = asyncio.ensure_future(self._take_in(name))
            task.add_done_callback(lambda done: self._forget(name, done))
        await asyncio.shield(task)  # whoever asked first may go away, and others wait for the same
        return name

    async def audits(self) -> tuple[list[AuditRow], list[AuditManifest]]:
        """The audits that are in the store, and those of the workspace that nobody has asked for yet; each oldest first."""
        rows = await self.ask(Desk.audits)
        known = {row.manifest.audit for row in rows}
        published = await self._in_thread(lambda: published_audits(self.workspace))
        return rows, [manifest for manifest in published if manifest.audit not in known]

    async def read(self, what: Callable[[Workspace], T]) -> T:
        """What stands in the workspace, read in a thread."""
        return await self._in_thread(lambda: what(self.workspace))

    async def desk(self) -> Desk:
        """The desk, opened with the first question, and again with the next one where it could not be.

        Raises:
            Problem: no store is configured, or it cannot be opened.
        """
        store = self.settings.review.store
        if store is None:
            raise Problem(
                "no-review-store", "write review: {store: ...} into surfaces.yaml, or serve with --review-store; see docs/review.md"
            )
        if self.opening is None or (self.opening.done() and (self.opening.cancelled() or self.opening.exception())):
            self.opening = asyncio.ensure_future(self._in_thread(lambda: _opened(store)))
        return await asyncio.shield(self.opening)

    async def _latest(self) -> str:
        looked, name = self.latest
        if not name or time.monotonic() - looked > LOOKED_SECONDS:
            audits = await self._in_thread(lambda: published_audits(self.workspace))
            if not audits:
                raise Problem("unknown-audit", "the workspace has no audit yet; jobs/audit_catalog.py makes one")
            name = audits[-1].audit
            self.latest = time.monotonic(), name
        return name

    async def _take_in(self, name: str) -> None:
        desk = await self.desk()
        await self._in_thread(lambda: _taken_in(desk, self.workspace, name))

    def _forget(self, name: str, done: "asyncio.Task[None]") -> None:
        """Only audits that are in the store are remembered, whatever callers name."""
        if done.cancelled() or done.exception():
            self.taken.pop(name, None)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self.asked >= self.settings.review.waiting + self.settings.review.threads:
            raise Problem("unavailable", "too many calls wait for the review store; try again in a second")
        self.asked += 1
        future = asyncio.get_running_loop().run_in_executor(self.threads, lambda: _told(call))
        future.add_done_callback(lambda _: self._answered())
        return await asyncio.shield(future)  # a thread goes on to its end though the caller is gone, and is counted as long

    def _answered(self) -> None:
        self.asked -= 1


def _told(call: Callable[[], T]) -> T:
    """What a call gives; what it refuses as a Problem."""
    try:
        return call()
    except Changed as error:
        raise Problem("changed", str(error), **({"card": error.card} if error.card else {})) from error
    except NotFound as error:
        raise Problem("not-found", str(error)) from error
    except (ShelfcodeError, SQLAlchemyError) as error:
        if isinstance(error, ShelfcodeError) and not isinstance(error.__cause__, SQLAlchemyError):
            raise Problem("invalid-request", str(error)) from error
        log.exception("the review store failed")
        raise Problem(
            "unavailable", "the review store does not answer now; send the request again: a decision counts once by its idempotency_key"
        ) from error


def _opened(store: str) -> Desk:
    try:
        return open_desk(store)
    except ShelfcodeError as error:
        log.exception("the review store cannot be opened")
        raise Problem("unavailable", "the review store cannot be opened; the log of the server says why") from error


def _taken_in(desk: Desk, workspace: Workspace, name: str) -> None:
    try:
        load_audit(workspace, name)
    except ShelfcodeError as error:
        if any(row.manifest.audit == name for row in desk.audits()):  # swept from the workspace since; its decisions are kept
            return
        raise Problem("unknown-audit", str(error)) from error
    desk.take_in(workspace, name)
