"""What the forms of the pages do. Each leads to a page; the script of the queue is answered in JSON instead."""

import json
import time
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from starlette.responses import RedirectResponse

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.decision import Decision
from shelfcode.audit.decisions.desk import Desk
from shelfcode.serving.api.http_wire import json_response
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.review.page_query import asked
from shelfcode.serving.review.page_views import base, card_forms, frame
from shelfcode.serving.review.rendering import query, review_part
from shelfcode.serving.review.requests import BulkRequest, DecisionRequest, SettingsRequest, UndoRequest, checked
from shelfcode.serving.review.visits import Visit

LONGEST_SECONDS = 86_400
Form = Mapping[str, str]


async def decide(visit: Visit, form: Form) -> Response:
    """A verdict on one card, or that it is skipped."""
    if form.get("choice") == "skip":
        await visit.ask(Desk.skip, visit.reviewer.name, form.get("finding_id", "")[:64])
        return _next_card(visit, form, "skip")
    card = await visit.ask(Desk.decide, visit.reviewer.name, await _decision(visit, form))
    if wants_json(visit):
        return json_response(visit.request, {"finding_id": card.finding_id, "state": card.state, "version": card.version})
    return _next_card(visit, form, form.get("choice", "").partition(":")[0])


async def decide_all(visit: Visit, form: Form) -> Response:
    """One verdict on all open findings of a pattern."""
    verdict = form.get("choice", "")
    path = _path(form.get("path", "")) if verdict == "accept" else None
    wanted = checked(BulkRequest, {**_some(form, "pattern_id", "idempotency_key", "note"), "verdict": verdict, "path": path})
    done = await visit.ask(
        Desk.decide_all, visit.reviewer.name, wanted.pattern_id, wanted.verdict, path, wanted.idempotency_key, wanted.note
    )  # fmt: skip
    left = {f"left_{why.replace(' ', '_')}": number for why, number in done.passed_over.items()}
    told = query({"bulk": done.bulk, "decided": done.decided, **left})
    return RedirectResponse(f"{base(visit)}/patterns/{wanted.pattern_id}?{told}", 303)


async def undo(visit: Visit, form: Form) -> Response:
    """Take something back: an event, a bulk, the reviewer's own decision on a finding, or their last one."""
    wanted = checked(UndoRequest, _some(form, "event_id", "bulk"))
    event_id = wanted.event_id
    if "finding_id" in form:
        event_id = await _own_event(visit, form["finding_id"][:64])
    cards = await visit.ask(Desk.undo, visit.reviewer.name, event_id, wanted.bulk)
    if wants_json(visit):
        shown = await card_forms(visit, cards[:1], asked(dict(visit.request.query_params), ""))
        html = [
            review_part(visit.request, "card.html", card=card, form=fields, found=found, **frame(visit, "queue"))
            for card, fields, found in shown
        ]
        return json_response(visit.request, {"card": html[0] if html else None})
    back = form.get("back", "")
    if back == "history" or back.startswith("patterns/"):
        return RedirectResponse(f"{base(visit)}/{back}?did=undo", 303)
    rest = query({**dict(visit.request.query_params), "did": "undo"})
    return RedirectResponse(f"{base(visit)}/findings/{cards[0].finding_id}?{rest}" if cards else f"{base(visit)}/queue?{rest}", 303)


async def adjudicate(visit: Visit, form: Form) -> Response:
    """The lead's verdict on a conflict."""
    choice = form.get("other", "") if form.get("choice") == "other" else form.get("choice", "")
    await visit.ask(Desk.adjudicate, visit.reviewer.name, await _decision(visit, {**form, "choice": choice}))
    return RedirectResponse(f"{base(visit)}/conflicts?did=adjudicated", 303)


async def set_settings(visit: Visit, form: Form) -> Response:
    """How the audit is reviewed from now on."""
    shares = {name: _number(form, name) / 100 for name in ("second_review_share", "random_share")}
    wanted = checked(SettingsRequest, {**shares, "claim_minutes": _number(form, "claim_minutes")})
    await visit.ask(Desk.set_review_settings, ReviewSettings(**wanted.model_dump()))
    return RedirectResponse(f"{base(visit)}/settings?did=saved", 303)


def wants_json(visit: Visit) -> bool:
    """Whether the script asks, which goes on by itself, and not a browser that shows what comes."""
    return "application/json" in visit.request.headers.get("accept", "")


async def _decision(visit: Visit, form: Form) -> Decision:
    """The decision that a form means. A category from the search may be one of those suggested, or the one that the product has."""
    verdict, _, text = form.get("choice", "").partition(":")
    path = _path(text) if text else None
    if verdict == "path":
        verdict, path = await _verdict_of(visit, form.get("finding_id", "")[:64], path or ())
    fields = {**_some(form, "finding_id", "version", "arm", "batch", "idempotency_key", "note"), "verdict": verdict, "path": path}
    return checked(DecisionRequest, {**fields, "seconds": _seconds(form)}).decision()


async def _verdict_of(visit: Visit, finding_id: str, path: tuple[str, ...]) -> tuple[str, tuple[str, ...] | None]:
    finding = (await visit.ask(Desk.finding, finding_id, visit.reviewer.name)).finding
    if path == tuple(finding["given_path"] or ()):
        return "keep", None
    suggested = any(path == tuple(each) for each in finding["suggested_paths"] or ())
    return ("accept" if suggested else "relabel"), path


async def _own_event(visit: Visit, finding_id: str) -> int:
    """The reviewer's last decision on a finding that was not taken back yet.

    Raises:
        Problem: there is none.
    """
    name = visit.reviewer.name
    events = await visit.ask(Desk.history, finding_id, None, 0, 1000, seen_by=name)
    undone = {event.undoes for event in events if event.kind == "undo"}
    for event in events:
        if event.by == name and event.kind in ("decision", "adjudication") and event.event_id not in undone:
            return event.event_id
    raise Problem("changed", "there is no decision of yours on this product to take back")


def _next_card(visit: Visit, form: Form, did: str) -> Response:
    """Where the browser goes after a card: to the next one with the same filters."""
    if wants_json(visit):
        return json_response(visit.request, {"finding_id": form.get("finding_id", "")[:64]})
    filters = asked(form, "").fields
    return RedirectResponse(f"{base(visit)}/queue?{query({**filters, 'did': 'relabel' if did == 'path' else did})}", 303)


def _path(text: str) -> tuple[str, ...]:
    """A path as a form carries it."""
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem("invalid-request", "the path of the form is no list of names; load the page again")
    return tuple(names)


def _seconds(form: Form) -> float | None:
    """Time that the card was looked at: as the script measured it, else since the server wrote the page."""
    text = form.get("seconds", "")
    try:
        spent = float(text) if text else time.time() - float(form["shown_at"])
    except (KeyError, ValueError):
        return None
    return min(spent, LONGEST_SECONDS) if spent >= 0 else None


def _number(form: Form, name: str) -> float:
    try:
        return float(form.get(name, "").replace(",", "."))
    except ValueError:
        raise Problem("invalid-request", f"{name} is {form.get(name, '')[:40]!r}; it is a number") from None


def _some(form: Form, *names: str) -> dict[str, Any]:
    return {name: form[name] for name in names if name in form}
