"""What the review answers over HTTP: /v1/audits for tools and for the script of the pages, and /review for people.

Whoever calls with a key in the header needs nothing else; a browser that has signed in may call these addresses, too, and sends along the
token of its page with whatever changes something. The room is what `app.state.review` gives.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import StringConstraints
from starlette.responses import StreamingResponse

from shelfcode.audit.decisions.desk import Desk
from shelfcode.audit.decisions.exchange.corrections import chosen_corrections, csv_bytes, parquet_bytes
from shelfcode.serving.api import request_limits as most
from shelfcode.serving.api.http_wire import json_response, request_id
from shelfcode.serving.api.problems import ProblemDetails
from shelfcode.serving.api.requests import body_of
from shelfcode.serving.review import responses as told
from shelfcode.serving.review.pages import ReviewPages
from shelfcode.serving.review.requests import (
    BulkRequest,
    DecisionRequest,
    ExportQuery,
    FindingsQuery,
    HistoryQuery,
    MarkRequest,
    NextRequest,
    PatternsQuery,
    SettingsRequest,
    SkipRequest,
    UndoRequest,
    read_request,
)
from shelfcode.serving.review.room import ReviewRoom
from shelfcode.serving.review.visits import let_in, visit

CHANGED: dict[int | str, dict[str, Any]] = {409: {"model": ProblemDetails, "description": "it has changed since it was shown"}}
SAMPLE = 10
CHUNK_BYTES = 2**18
EXPORTS: dict[str, tuple[Callable[[pa.Table], bytes], str]] = {
    "parquet": (parquet_bytes, "application/vnd.apache.parquet"), "csv": (csv_bytes, "text/csv; charset=utf-8"),
}  # fmt: skip
"""Format -> what writes it, and its media type."""

Word = Annotated[str, StringConstraints(max_length=most.NAME_CHARACTERS)]
Limit = Annotated[int, Query(ge=1, le=most.PAGE, description="paths at most")]

router = APIRouter()


def room_of(request: Request) -> ReviewRoom:
    """The room that the application has."""
    room: ReviewRoom = request.app.state.review()
    return room


def exported(desk: Desk, audit: str, written: Callable[[pa.Table], bytes], only_agreed: bool, only_new: bool) -> bytes:
    """The file of an audit's decisions that stand."""
    return written(chosen_corrections(desk.corrections(audit), only_agreed, only_new))


def in_chunks(file: bytes) -> Iterator[memoryview]:
    """A file piece by piece, so that a slow reader does not make the server hold a second copy of it."""
    view = memoryview(file)
    return (view[start : start + CHUNK_BYTES] for start in range(0, len(view), CHUNK_BYTES))


Room = Annotated[ReviewRoom, Depends(room_of)]


# What there is to review.


@router.get("/v1/audits", response_model=told.AuditsResponse, summary="The audits of the workspace")
async def audits(request: Request, room: Room) -> Response:
    let_in(room, request)
    rows, others = await room.audits()
    every = [told.listed(row.manifest, row.states) for row in rows] + [told.listed(manifest, None) for manifest in others]
    every.sort(key=lambda audit: (str(audit["created"]), str(audit["audit"])))
    return json_response(request, {"request_id": request_id(request), "audits": every})


@router.get("/v1/audits/{audit}/summary", response_model=told.SummaryResponse, summary="Wrong labels, and how far the review has come")
async def summary(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, await visitor.ask(Desk.summary))


@router.get("/v1/audits/{audit}/curve", response_model=told.CurveResponse, summary="Findings reviewed against wrong labels found")
async def curve(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, {"audit": visitor.audit, "points": await visitor.ask(Desk.curve)})


@router.get("/v1/audits/{audit}/findings", response_model=told.FindingsResponse, summary="Findings by priority")
async def findings(request: Request, room: Room, audit: Word, asked: Annotated[FindingsQuery, Query()]) -> Response:
    visitor = await visit(room, request, audit)
    limit = min(asked.limit, room.settings.limits.page)
    page = await visitor.ask(Desk.findings, asked.filters(), asked.first, limit, visitor.reviewer.name)
    return json_response(request, {"request_id": request_id(request), "audit": visitor.audit, "total": page.total, "rows": page.rows})


@router.get("/v1/audits/{audit}/findings/{finding_id}", response_model=told.CardResponse, summary="One finding as it stands")
async def finding(request: Request, room: Room, audit: Word, finding_id: Word) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, await visitor.ask(Desk.finding, finding_id, visitor.reviewer.name))


@router.get("/v1/audits/{audit}/facets", response_model=told.FacetsResponse, summary="What findings can be filtered by")
async def facets(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, await visitor.ask(Desk.facets))


@router.get("/v1/audits/{audit}/patterns", response_model=told.PatternsResponse, summary="Findings that say the same, the worst first")
async def patterns(request: Request, room: Room, audit: Word, asked: Annotated[PatternsQuery, Query()]) -> Response:
    visitor = await visit(room, request, audit)
    rows = await visitor.ask(Desk.patterns, asked.kind, asked.first, min(asked.limit, room.settings.limits.page))
    return json_response(request, {"request_id": request_id(request), "audit": visitor.audit, "patterns": rows})


@router.get("/v1/audits/{audit}/patterns/{pattern_id}", response_model=told.PatternResponse, summary="A pattern, and a sample to check")
async def pattern(request: Request, room: Room, audit: Word, pattern_id: Word) -> Response:
    visitor = await visit(room, request, audit)
    row, sample = await visitor.ask(Desk.pattern, pattern_id, SAMPLE, visitor.reviewer.name)
    return json_response(request, {"request_id": request_id(request), "pattern": row, "sample": sample})


@router.get("/v1/audits/{audit}/paths", response_model=told.PathsResponse, summary="Categories by words of their names")
async def paths(request: Request, room: Room, audit: Word, text: Word = "", limit: Limit = 20) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, {"paths": await visitor.ask(Desk.paths, text, min(limit, room.settings.limits.page))})


@router.get("/v1/audits/{audit}/history", response_model=told.HistoryResponse, summary="What happened, the latest first")
async def history(request: Request, room: Room, audit: Word, asked: Annotated[HistoryQuery, Query()]) -> Response:
    visitor = await visit(room, request, audit)
    limit, seen_by = min(asked.limit, room.settings.limits.page), visitor.reviewer.name
    events = await visitor.ask(Desk.history, asked.finding_id, asked.reviewer, asked.first, limit, seen_by)
    return json_response(request, {"request_id": request_id(request), "events": events})


# Reviewing.


@router.post(
    "/v1/audits/{audit}/queue/next", response_model=told.CardsResponse, openapi_extra=body_of(NextRequest),
    summary="Be handed findings, which are nobody else's for a while",
)  # fmt: skip
async def hand_out(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, changes=True)
    asked = await read_request(request, NextRequest, room.settings.limits)
    cards = await visitor.ask(Desk.next, visitor.reviewer.name, asked.filters.filters(), asked.count, asked.arm)
    return json_response(request, {"request_id": request_id(request), "cards": cards})


@router.post(
    "/v1/audits/{audit}/queue/skip", response_model=told.CardResponse, openapi_extra=body_of(SkipRequest), responses=CHANGED,
    summary="Give a finding back undecided",
)  # fmt: skip
async def skip(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, changes=True)
    asked = await read_request(request, SkipRequest, room.settings.limits)
    await visitor.ask(Desk.skip, visitor.reviewer.name, asked.finding_id)
    return json_response(request, await visitor.ask(Desk.finding, asked.finding_id, visitor.reviewer.name))


@router.post(
    "/v1/audits/{audit}/decisions", response_model=told.CardResponse, openapi_extra=body_of(DecisionRequest), responses=CHANGED,
    summary="Decide a finding",
)  # fmt: skip
async def decide(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, changes=True)
    asked = await read_request(request, DecisionRequest, room.settings.limits)
    return json_response(request, await visitor.ask(Desk.decide, visitor.reviewer.name, asked.decision()))


@router.post(
    "/v1/audits/{audit}/decisions/bulk", response_model=told.BulkResponse, openapi_extra=body_of(BulkRequest),
    summary="Decide all open findings of a pattern",
)  # fmt: skip
async def decide_all(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, changes=True)
    asked = await read_request(request, BulkRequest, room.settings.limits)
    path = None if asked.path is None else tuple(asked.path)
    by, key = visitor.reviewer.name, asked.idempotency_key
    return json_response(request, await visitor.ask(Desk.decide_all, by, asked.pattern_id, asked.verdict, path, key, asked.note))


@router.post(
    "/v1/audits/{audit}/undo", response_model=told.CardsResponse, openapi_extra=body_of(UndoRequest), responses=CHANGED,
    summary="Take back one's own last decision, or another one, or a whole pattern's",
)  # fmt: skip
async def undo(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, changes=True)
    asked = await read_request(request, UndoRequest, room.settings.limits)
    cards = await visitor.ask(Desk.undo, visitor.reviewer.name, asked.event_id, asked.bulk)
    return json_response(request, {"request_id": request_id(request), "cards": cards})


# What a lead does.


@router.get("/v1/audits/{audit}/conflicts", response_model=told.ConflictsResponse, summary="Where reviewers contradict each other")
async def conflicts(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, "lead")
    return json_response(request, {"request_id": request_id(request), "conflicts": await visitor.ask(Desk.conflicts)})


@router.post(
    "/v1/audits/{audit}/adjudications", response_model=told.CardResponse, openapi_extra=body_of(DecisionRequest), responses=CHANGED,
    summary="Settle a conflict, or correct an answer",
)  # fmt: skip
async def adjudicate(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, "lead", changes=True)
    asked = await read_request(request, DecisionRequest, room.settings.limits)
    return json_response(request, await visitor.ask(Desk.adjudicate, visitor.reviewer.name, asked.decision()))


@router.get(
    "/v1/audits/{audit}/export", response_class=StreamingResponse, summary="Decisions that stand, as a file for whoever sets the labels",
    responses={200: {"description": "the file", "content": {EXPORTS[name][1]: {} for name in EXPORTS}}},
)  # fmt: skip
async def export(request: Request, room: Room, audit: Word, asked: Annotated[ExportQuery, Query()]) -> Response:
    visitor = await visit(room, request, audit, "lead")
    written, kind = EXPORTS[asked.format]
    file = await visitor.ask(exported, written, asked.only_agreed, asked.only_new)
    headers = {"X-Request-Id": request_id(request), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    headers["Content-Disposition"] = f'attachment; filename="{visitor.audit}.{asked.format}"'
    headers["Content-Length"] = str(len(file))
    return StreamingResponse(in_chunks(file), headers=headers, media_type=kind)


@router.post(
    "/v1/audits/{audit}/marks", response_model=told.MarkedResponse, openapi_extra=body_of(MarkRequest), responses=CHANGED,
    summary="Note that decisions were exported, set in the catalog, or taken back there",
)  # fmt: skip
async def mark(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, "lead", changes=True)
    asked = await read_request(request, MarkRequest, room.settings.limits)
    await visitor.ask(Desk.mark, visitor.reviewer.name, asked.kind, asked.finding_ids)
    return json_response(request, {"audit": visitor.audit, "kind": asked.kind, "findings": len(set(asked.finding_ids))})


@router.get("/v1/audits/{audit}/settings", response_model=told.ReviewSettingsResponse, summary="How the audit is reviewed")
async def settings(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit)
    return json_response(request, await visitor.ask(Desk.review_settings))


@router.post(
    "/v1/audits/{audit}/settings", response_model=told.ReviewSettingsResponse, openapi_extra=body_of(SettingsRequest),
    summary="Change how the audit is reviewed",
)  # fmt: skip
async def change_settings(request: Request, room: Room, audit: Word) -> Response:
    visitor = await visit(room, request, audit, "lead", changes=True)
    asked = await read_request(request, SettingsRequest, room.settings.limits)
    new = replace(await visitor.ask(Desk.review_settings), **asked.model_dump(exclude_none=True))
    await visitor.ask(Desk.set_review_settings, new)
    return json_response(request, new)


# What people look at.


@router.get("/review", include_in_schema=False)
@router.get("/review/{path:path}", include_in_schema=False)
async def page(request: Request, room: Room, path: Word = "") -> Response:
    return await ReviewPages(room).show(request, path)


@router.post("/review", include_in_schema=False)
@router.post("/review/{path:path}", include_in_schema=False)
async def form(request: Request, room: Room, path: Word = "") -> Response:
    return await ReviewPages(room).posted(request, path)
