"""What the pages of the review show, each gathered from the desk."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import Response

from shelfcode.audit.decisions.answers import KnownPath
from shelfcode.audit.decisions.decision import STATES, Card, Event
from shelfcode.audit.decisions.desk import Desk
from shelfcode.audit.decisions.folding import WAITING
from shelfcode.serving.api.http_wire import json_response
from shelfcode.serving.pages.rendering import root_of
from shelfcode.serving.review.card_view import VERDICT_WORDS, CardView, card_view, path_diff
from shelfcode.serving.review.csrf import FIELD
from shelfcode.serving.review.page_query import LIMIT, Asked, asked, first_row, whole_number
from shelfcode.serving.review.rendering import path_text, query, review_page
from shelfcode.serving.review.reviewers import Reviewer
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.review.visits import Visit

AT_MOST = 20
"""Cards that a script may claim at once."""
SAMPLE = 10
FEW = 20
MANY = 10**9
MATCHES = 12
EVENT_WORDS = {
    "decision": "Decided", "carried": "Decided in an earlier audit", "adjudication": "Settled by a lead", "undo": "Taken back",
    "claim": "Shown to a reviewer", "release": "Given back", "exported": "Exported", "applied": "Applied to the catalog",
    "reverted": "Reverted in the catalog", "stale": "Text or label changed", "gold": "Answered as a test",
}  # fmt: skip
DEEDS = tuple(kind for kind in EVENT_WORDS if kind not in ("claim", "release"))
"""Events that the history shows unless it is asked for every one: who was only shown a card did nothing to it."""
LEFT_ALONE = {
    "left_decided": "decided already", "left_stale": "changed since the audit", "left_claimed_by_another": "held by other reviewers",
    "left_has_another_suggestion": "with another suggestion", "left_has_this_path_already": "that have this path already",
}  # fmt: skip
"""Why one action over many passed findings over, as the address of the page says it and as people read it."""
EXPORTS = (
    ("csv", "CSV", "for a spreadsheet, or whoever applies the corrections"),
    ("parquet", "Parquet", "the same, with types"),
    ("label-studio", "Label Studio", "the findings as tasks, for those who review elsewhere"),
    ("argilla", "Argilla", "the findings as records, likewise"),
)
KEYS = (
    ("A", "accept the first suggestion"), ("1 to 5", "take that suggestion"), ("K", "keep the label that it has"),
    ("/", "search all categories; arrows and Enter choose"), ("C", "the label is right, the semantic ID is wrong"),
    ("U", "unsure: another reviewer should look"), ("X", "not a product that should be judged"), ("N", "write a note first"),
    ("S", "skip: it comes back later"), ("Z", "take back the last decision"), ("?", "this list"),
)  # fmt: skip


async def queue(visit: Visit) -> Response:
    """The next card, or some of them for the script."""
    fields = dict(visit.request.query_params)
    wanted = asked(fields, f"{base(visit)}/queue")
    if fields.get("part") == "cards":
        count = whole_number(fields, "count", AT_MOST)
        cards = await visit.ask(Desk.next, visit.reviewer.name, wanted.filters, count) if count else []
        held = set(visit.request.query_params.getlist("have"))
        shown = [card for card in cards if card.finding_id not in held]
        html = await card_forms(visit, shown, wanted)
        return review_page(visit.request, "cards.html", cards=html, queue=await _line(visit, wanted), **frame(visit, "queue"))
    cards = await visit.ask(Desk.next, visit.reviewer.name, wanted.filters, 1)
    return await _queue_page(visit, cards, wanted, said=_told(fields))


async def finding(visit: Visit, finding_id: str) -> Response:
    """One finding with its card; a decision on it leads on to the queue."""
    fields = dict(visit.request.query_params)
    wanted = asked(fields, f"{base(visit)}/queue")
    card = await visit.ask(Desk.finding, finding_id, visit.reviewer.name)
    if fields.get("part") == "card":
        html = await card_forms(visit, [card], wanted)
        return review_page(visit.request, "cards.html", cards=html, queue=await _line(visit, wanted), **frame(visit, "findings"))
    return await _queue_page(visit, [card], wanted, alone=True, said=_told(fields))


async def findings(visit: Visit) -> Response:
    """A list of findings, whatever their state."""
    fields = dict(visit.request.query_params)
    wanted, first = asked(fields, f"{base(visit)}/findings", with_state=True), first_row(fields)
    page = await visit.ask(Desk.findings, wanted.filters, first, LIMIT, visit.reviewer.name)
    in_queue = {name: value for name, value in wanted.fields.items() if name != "state"}
    return review_page(
        visit.request, "findings.html", cards=[card_view(card) for card in page.rows], total=page.total, first=first, limit=LIMIT,
        asked=wanted, queue_address=f"{base(visit)}/queue?{query(in_queue)}", **await _facets(visit), **frame(visit, "findings"),
    )  # fmt: skip


async def paths(visit: Visit) -> Response:
    """Categories that have some letters in them, for the script's search."""
    text = visit.request.query_params.get("q", "").strip()[:200]
    found = await visit.ask(Desk.paths, text, MATCHES) if text else []
    return json_response(visit.request, {"paths": [known.path for known in found]})


async def patterns(visit: Visit) -> Response:
    """Findings that say the same, the worst first."""
    fields = dict(visit.request.query_params)
    kind, first = fields.get("kind", ""), first_row(fields)
    rows = await visit.ask(Desk.patterns, kind or None, first, LIMIT)
    return review_page(
        visit.request, "patterns.html", patterns=rows, chosen=kind, first=first, limit=LIMIT, **frame(visit, "patterns")
    )  # fmt: skip


async def pattern(visit: Visit, pattern_id: str) -> Response:
    """One pattern: a sample of it, and the form that settles all of it."""
    row, cards = await visit.ask(Desk.pattern, pattern_id, SAMPLE, visit.reviewer.name)
    fields = {
        FIELD: visit.csrf_token(),
        "pattern_id": pattern_id,
        "path": path_text(row.suggested_path or ()),
        "idempotency_key": new_key(),
    }
    return review_page(
        visit.request, "pattern.html", pattern=row, cards=[card_view(card) for card in cards], fields=fields,
        diff=path_diff(row.given_path or (), row.suggested_path or ()), said=_bulk_told(visit, pattern_id), **frame(visit, "patterns"),
    )  # fmt: skip


async def conflicts(visit: Visit) -> Response:
    """What reviewers disagree on, for the lead to settle."""
    first, found = first_row(visit.request.query_params), await visit.ask(Desk.conflicts)
    shown = [
        {"card": card_view(each.card), "sides": [_side(event) for event in each.decisions], "fields": decision_fields(visit, each.card)}
        for each in found[first : first + FEW]
    ]
    told = visit.request.query_params.get("did")
    said = {"text": "Settled.", "bad": False, "undo": None} if told else None
    return review_page(
        visit.request, "conflicts.html", conflicts=shown, said=said, first=first, limit=FEW, total=len(found), **frame(visit, "conflicts")
    )


async def history(visit: Visit) -> Response:
    """Every event, the last first; second reviews stay blind."""
    fields = dict(visit.request.query_params)
    reviewer, finding_id, first = fields.get("reviewer", "")[:256], fields.get("finding", "").strip()[:64], first_row(fields)
    every = bool(fields.get("every"))
    kinds = () if every else DEEDS
    events = await visit.ask(Desk.history, finding_id or None, reviewer or None, first, LIMIT, visit.reviewer.name, kinds)
    undone = {event.undoes for event in events if event.kind == "undo"}
    rows = [
        {"event": event, "words": _words(event), "undone": event.event_id in undone, "undo": _undo(visit, event, undone)}
        for event in events
    ]
    return review_page(
        visit.request, "history.html", events=rows, first=first, limit=LIMIT, finding=finding_id, said=_told(fields),
        reviewer=reviewer, every=every, **frame(visit, "history"),
    )  # fmt: skip


async def export(visit: Visit) -> Response:
    """The corrections as files."""
    at = f"{root_of(visit.request)}/v1/audits/{visit.audit}/export"
    exports = [{"address": f"{at}?format={name}", "title": title, "what": what} for name, title, what in EXPORTS]
    return review_page(visit.request, "export.html", exports=exports, **frame(visit, "export"))


async def settings(visit: Visit) -> Response:
    """How the audit is reviewed."""
    now = await visit.ask(Desk.review_settings)
    said = {"text": "Saved.", "bad": False, "undo": None} if visit.request.query_params.get("did") else None
    return review_page(
        visit.request, "settings.html", settings=now, fields={FIELD: visit.csrf_token()}, said=said, **frame(visit, "settings")
    )  # fmt: skip


def base(visit: Visit) -> str:
    """The address of an audit's pages."""
    return f"{root_of(visit.request)}/review/{visit.audit}"


def frame(visit: Visit, here: str) -> dict[str, Any]:
    """What stands around every page of an audit."""
    return {**around(visit.room, visit.reviewer, visit.audit, visit.csrf_token()), "base": base(visit), "here": here}


def new_key() -> str:
    """The idempotency key of a form."""
    return uuid.uuid4().hex


def around(room: ReviewRoom, reviewer: Reviewer, audit: str = "", csrf: str = "") -> dict[str, Any]:
    """What the frame shows: who looks, as what, and at which audit."""
    by_key = room.settings.auth == "keys"
    who = {"audit": audit, "lead": reviewer.leads, "csrf": csrf, "name": reviewer.name, "own_name": not by_key}
    return {"review": who, "caller": reviewer.name if by_key else None}


def decision_fields(visit: Visit, card: Card) -> dict[str, Any]:
    """What a form sends along with the verdict on a card."""
    return {
        FIELD: visit.csrf_token(), "finding_id": card.finding_id, "version": card.version, "arm": card.arm, "batch": card.batch,
        "idempotency_key": new_key(),
    }  # fmt: skip


async def card_forms(visit: Visit, cards: Sequence[Card], wanted: Asked) -> list[tuple[CardView, dict[str, Any], list[KnownPath]]]:
    """Cards, each with what its forms lead to, and the categories that were searched for."""
    text = visit.request.query_params.get("q", "").strip()[:200]
    found = await visit.ask(Desk.paths, text, MATCHES) if text else []
    shown = []
    for card in cards:
        form = {
            "action": f"{base(visit)}/decide", "fields": decision_fields(visit, card) | wanted.fields | {"shown_at": int(time.time())},
            "queue": f"{base(visit)}/queue?{query(wanted.fields)}", "open": takes_decisions(card, visit.reviewer.name),
            "search": visit.request.url.path, "search_fields": wanted.fields, "query": text,
        }  # fmt: skip
        shown.append((card_view(card), form, found))
    return shown


def takes_decisions(card: Card, reviewer: str) -> bool:
    """Whether a reviewer may still decide: nobody else has the card, and they have not judged it themselves."""
    if card.claimed_by not in (None, reviewer):
        return False
    return card.state in (*WAITING, "claimed") and all(event.by != reviewer for event in card.decisions)


async def _queue_page(visit: Visit, cards: list[Card], wanted: Asked, alone: bool = False, said: dict[str, Any] | None = None) -> Response:
    shown = await card_forms(visit, cards, wanted)
    return review_page(
        visit.request, "queue.html", cards=shown, queue={**await _line(visit, wanted), "alone": alone}, asked=wanted, keys=KEYS, said=said,
        **await _facets(visit), **frame(visit, "findings" if alone else "queue"),
    )  # fmt: skip


async def _line(visit: Visit, wanted: Asked) -> dict[str, Any]:
    """What stands above the card: how many are left, and where the script asks."""
    left = await visit.ask(Desk.findings, replace(wanted.filters, state="open"), 0, 0)
    here, rest = base(visit), f"?{query(wanted.fields)}" if wanted.fields else ""
    return {
        "left": left.total, "cards": f"{here}/queue?{query({**wanted.fields, 'part': 'cards'})}", "undo": f"{here}/undo{rest}",
        "paths": f"{here}/paths", "fields": {FIELD: visit.csrf_token()},
    }  # fmt: skip


async def _facets(visit: Visit) -> dict[str, Any]:
    return {"facets": await visit.ask(Desk.facets), "states": STATES}


def _words(event: Event) -> str:
    """An event in words."""
    return VERDICT_WORDS.get(event.verdict or "", "") or EVENT_WORDS.get(event.kind, event.kind)


def _undo(visit: Visit, event: Event, undone: set[int | None]) -> dict[str, Any] | None:
    """What a form sends to take an event back; None where that cannot be, or is not this reviewer's to do."""
    own = event.by == visit.reviewer.name
    if event.kind not in ("decision", "adjudication") or event.event_id in undone or not own:
        return None
    what = {"bulk": event.bulk} if event.bulk else {"event_id": event.event_id}
    return {FIELD: visit.csrf_token(), "back": "history", **what}


def _side(event: Event) -> dict[str, Any]:
    """One answer of a conflict, and the choice that agrees with it; who is unsure has none."""
    verdict = event.verdict or "unsure"
    choice = "" if verdict == "unsure" else f"{verdict}:{path_text(event.path)}" if event.path else verdict
    words = VERDICT_WORDS.get(verdict, verdict)
    return {"by": event.by, "at": event.at, "words": words, "path": event.path, "note": event.note, "choice": choice}


def _told(fields: Mapping[str, str]) -> dict[str, Any] | None:
    """What was just done, after a form without the script."""
    did = fields.get("did", "")
    if did == "undo":
        return {"text": "Taken back.", "bad": False, "undo": None}
    return {"text": f"{VERDICT_WORDS[did]}.", "bad": False, "undo": None} if did in VERDICT_WORDS else None


def _bulk_told(visit: Visit, pattern_id: str) -> dict[str, Any] | None:
    """What one action over a pattern did, with the offer to take it back."""
    fields = visit.request.query_params
    if fields.get("did") == "undo":
        return {"text": "All of it was taken back.", "bad": False, "undo": None}
    if not fields.get("bulk"):
        return None
    decided, left = whole_number(fields, "decided", MANY), {why: whole_number(fields, why, MANY) for why in LEFT_ALONE}
    alone = ", ".join(f"{number:,} {LEFT_ALONE[why]}" for why, number in left.items() if number)
    text = f"{decided:,} decided" + (f"; left alone: {alone}" if alone else "") + "."
    undo = {FIELD: visit.csrf_token(), "bulk": fields["bulk"][:256], "back": f"patterns/{pattern_id}"}
    return {"text": text, "bad": False, "undo": {"action": f"{base(visit)}/undo", "fields": undo}}
