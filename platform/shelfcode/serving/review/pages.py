"""The pages that people review in: whatever goes wrong is shown in a page, with the status that /v1 would give."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.responses import RedirectResponse

from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.http_wire import problem_response, request_id
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.pages.rendering import root_of
from shelfcode.serving.pages.site import is_https, read_form, turned_away
from shelfcode.serving.review import page_forms as forms
from shelfcode.serving.review import page_views as views
from shelfcode.serving.review.csrf import FIELD, new_token
from shelfcode.serving.review.overview import audits_page, overview
from shelfcode.serving.review.rendering import review_page
from shelfcode.serving.review.reviewers import Reviewer, remember_name
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.review.visits import Visit, check_token, let_in

log = logging.getLogger("ray.serve")

PAGES: dict[str, Callable[[Visit], Awaitable[Response]]] = {
    "": overview, "queue": views.queue, "findings": views.findings, "patterns": views.patterns, "conflicts": views.conflicts,
    "history": views.history, "export": views.export, "settings": views.settings, "paths": views.paths,
}  # fmt: skip
"""What follows an audit's name in an address -> the page."""

PAGES_OF_ONE: dict[str, Callable[[Visit, str], Awaitable[Response]]] = {"findings": views.finding, "patterns": views.pattern}
FORMS: dict[str, Callable[[Visit, forms.Form], Awaitable[Response]]] = {
    "decide": forms.decide, "decide-all": forms.decide_all, "undo": forms.undo, "adjudicate": forms.adjudicate,
    "settings": forms.set_settings,
}  # fmt: skip
LEADS_ONLY = ("conflicts", "export", "settings", "adjudicate")


class ReviewPages:
    """Answers a browser at /review and below.

    Args:
        room: lets reviewers in, and asks the desk.
    """

    def __init__(self, room: ReviewRoom) -> None:
        self.room = room

    async def show(self, request: Request, path: str) -> Response:
        """A page; `path` is what follows /review/ in the address."""
        return await self._guarded(request, lambda reviewer: self._shown(request, reviewer, path))

    async def posted(self, request: Request, path: str) -> Response:
        """A form."""
        return await self._guarded(request, lambda reviewer: self._form(request, reviewer, path))

    async def _shown(self, request: Request, reviewer: Reviewer, path: str) -> Response:
        audit, _, rest = path.strip("/").partition("/")
        if not audit:
            return await audits_page(self.room, request, reviewer)
        name, _, one = rest.partition("/")
        if (page := PAGES.get(name)) and not one:
            return await page(await self._visit(request, reviewer, audit, name))
        if one and (page_of_one := PAGES_OF_ONE.get(name)):
            return await page_of_one(await self._visit(request, reviewer, audit, name), one)
        raise Problem("not-found", f"there is no page {request.url.path[:200]}")

    async def _form(self, request: Request, reviewer: Reviewer, path: str) -> Response:
        audit, _, name = path.strip("/").partition("/")
        if name not in FORMS and (audit, name) != ("name", ""):
            raise Problem("not-found", f"there is no form {request.url.path[:200]}")
        form = await read_form(request, most.FORM_BYTES, self.room.settings.limits.body_seconds)
        check_token(self.room, request, form.get(FIELD, ""))
        if not name:
            return self._name(request, form)
        return await FORMS[name](await self._visit(request, reviewer, audit, name), form)

    async def _visit(self, request: Request, reviewer: Reviewer, audit: str, page: str) -> Visit:
        if page in LEADS_ONLY and not reviewer.leads:
            raise Problem("key-not-permitted", f"this is for a lead, and {reviewer.name} is a reviewer")
        return Visit(self.room, request, reviewer, await self.room.audit(audit))

    def _name(self, request: Request, form: forms.Form) -> Response:
        """The name that somebody gives themselves, where no keys are asked for."""
        if self.room.settings.auth != "none":
            raise Problem("invalid-request", "your key says who you are")
        answer = RedirectResponse(f"{root_of(request)}/review", 303)
        remember_name(answer, form.get("name", ""), root_of(request), is_https(request))
        return answer

    async def _guarded(self, request: Request, answer: Callable[[Reviewer], Awaitable[Response]]) -> Response:
        try:
            reviewer = let_in(self.room, request)
        except Problem as problem:
            return problem_response(request, problem) if _by_script(request) else turned_away(request, problem, _wanted(request))
        try:
            return await answer(reviewer)
        except Problem as problem:
            return self._refused(request, reviewer, problem)
        except Exception:
            log.exception("request_id=%s: %s failed", request_id(request), request.url.path)
            failure = Problem("internal", "this is a fault of the server; its log has the request_id")
        return self._refused(request, reviewer, failure)

    def _refused(self, request: Request, reviewer: Reviewer, problem: Problem) -> Response:
        if _by_script(request):
            return problem_response(request, problem)
        path = request.url.path.removeprefix(f"{root_of(request)}/review").strip("/")
        audit = path.partition("/")[0] if problem.kind != "unknown-audit" else ""
        shown = views.around(self.room, reviewer, audit, new_token(self.room.settings.sessions, request))
        told = problem.body(request_id(request))
        base = f"{root_of(request)}/review/{audit}"
        return review_page(request, "review_problem.html", problem.status, problem=told, here="", base=base, **shown)


def _by_script(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _wanted(request: Request) -> str:
    """The page to come back to after signing in: the one that was asked for, or that in which the form stood."""
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return address if request.method == "GET" else f"{root_of(request)}/review"
