"""What people do to findings: decide, adjudicate, decide many at once, take back, give back, and mark what became of a decision.

Each of these runs within one transaction, which locks the findings it touches.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn, get_args

import msgspec
import sqlalchemy as sa
from xxhash import xxh3_64_intdigest

from shelfcode.audit.decisions.answers import BulkResult
from shelfcode.audit.decisions.decision import VERDICTS, Arm, Card, Changed, Decision, Event, NotFound, Verdict
from shelfcode.audit.decisions.events import NewEvent, add_events, event_of, event_query, events_of, in_pieces
from shelfcode.audit.decisions.folding import SETTLED, UNCOUNTED, WAITING, standing_events
from shelfcode.audit.decisions.reading import ONE, OPINIONS, Seen, cards, finding_row, listed_in
from shelfcode.audit.decisions.tables import EVENTS, FINDINGS, PATTERNS, STANDINGS
from shelfcode.audit.decisions.text_columns import path_of
from shelfcode.errors import ShelfcodeError

Mark = Literal["exported", "applied", "reverted"]

LONGEST_NOTE = 2000
LONGEST_NAME = 100


@dataclass(frozen=True)
class Desktop:
    """What every action needs: the open transaction, the audit's row, who sees it when, and the categories that are known."""

    connection: sa.Connection
    audit: sa.Row[Any]
    seen: Seen
    paths: Collection[tuple[str, ...]] = ()

    @property
    def now(self) -> datetime:
        return self.seen.at


def check_name(name: str) -> None:
    """Raises ShelfcodeError for what is no reviewer's name."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ShelfcodeError(f"reviewer {name[:50]!r}: expected a name of 1 to {LONGEST_NAME} printable characters")


def decide(desktop: Desktop, reviewer: str, decision: Decision) -> int:
    """Add one decision; the finding's row number comes back.

    Raises:
        NotFound: the audit has no such finding.
        Changed: it is not what the reviewer was shown, or is somebody else's.
        ShelfcodeError: the decision says nothing sensible; the message names the field.
    """
    row = _locked_one(desktop, decision.finding_id)
    verdict, path = _answer(desktop, row, decision)
    problem = _changed_since(desktop, row, reviewer, decision)
    if problem:
        _refuse(desktop, row, problem, reviewer)
    held = _is_held(row, desktop.now) and row.claimed_by == reviewer
    arm: Arm = row.claim_arm if held and decision.arm != "gold" else decision.arm
    second = row.state == "open" and _wants_second(row, desktop.audit.second_review_share)
    event = _event(
        row, "decision", reviewer, desktop.now, verdict=verdict, path=path, note=decision.note, seconds=decision.seconds,
        p_shown=desktop.seen.p(row.p_wrong), arm=arm, batch=decision.batch or (row.claim_batch if held else ""), wants_second=second,
    )  # fmt: skip
    add_events(desktop.connection, desktop.audit.audit_number, [event])
    return int(row.finding)


def adjudicate(desktop: Desktop, lead: str, decision: Decision) -> int:
    """Settle a finding on which reviewers contradict each other, or correct an answer that stands; raises as `decide` does."""
    row = _locked_one(desktop, decision.finding_id)
    verdict, path = _answer(desktop, row, decision)
    if verdict == "unsure":
        raise ShelfcodeError("verdict unsure settles nothing: accept, relabel, keep, code_wrong or exclude")
    if row.version != decision.version:
        _refuse(desktop, row, _what_happened(desktop, row, decision.version), None)
    if row.state not in ("conflict", "second_review", "decided", "agreed", "adjudicated", "exported"):
        _refuse(desktop, row, f"it is {row.state}: there is nothing to settle", None)
    event = _event(
        row, "adjudication", lead, desktop.now, verdict=verdict, path=path, note=decision.note, seconds=decision.seconds,
        p_shown=desktop.seen.p(row.p_wrong), arm=decision.arm, batch=decision.batch,
    )  # fmt: skip
    add_events(desktop.connection, desktop.audit.audit_number, [event])
    return int(row.finding)


def decide_all(desktop: Desktop, reviewer: str, pattern_id: str, verdict: Verdict, path: tuple[str, ...] | None, note: str) -> BulkResult:
    """Give all findings of a pattern one verdict; those that are decided, or somebody else's, are passed over and counted.

    Raises:
        NotFound: the audit has no such pattern.
        ShelfcodeError: the verdict says nothing sensible about any of them.
    """
    listed = PATTERNS.c.audit_number == desktop.audit.audit_number, PATTERNS.c.pattern_id == pattern_id
    if desktop.connection.execute(sa.select(PATTERNS.c.place).where(*listed)).first() is None:
        raise NotFound(f"no pattern {pattern_id[:100]!r} in the audit {desktop.audit.audit}")
    bulk, passed_over, events, problems = uuid.uuid4().hex, Counter[str](), list[NewEvent](), list[ShelfcodeError]()
    for row in _locked(desktop, STANDINGS.c.finding.in_(listed_in(desktop.audit.audit_number, pattern_id))):
        reason = _why_not(row, reviewer, desktop.now)
        if reason:
            passed_over[reason] += 1
            continue
        try:
            said, to = _answer(desktop, row, Decision(row.finding_id, verdict, row.version, "", path, note))
        except ShelfcodeError as error:
            problems.append(error)
            passed_over["has another suggestion" if verdict == "accept" else "has this path already"] += 1
            continue
        second = row.state == "open" and _wants_second(row, desktop.audit.second_review_share)
        said_by = {"verdict": said, "path": to, "note": note, "p_shown": desktop.seen.p(row.p_wrong), "arm": "ranked", "bulk": bulk}
        events.append(_event(row, "decision", reviewer, desktop.now, wants_second=second, **said_by))
    if problems and not events:
        raise problems[0]
    add_events(desktop.connection, desktop.audit.audit_number, events)
    return BulkResult(bulk, len(events), dict(passed_over))


def undo(desktop: Desktop, reviewer: str, event_id: int | None, bulk: str | None) -> list[int]:
    """Take back one decision or adjudication, all of one action over many, or the reviewer's last; the findings' row numbers come back.

    A finding whose decision is taken back alone is handed to the reviewer again. Of an action over many those are left alone on which
    somebody else has built since.

    Raises:
        NotFound: there is no such decision, or none of this reviewer.
        Changed: it was taken back before, or somebody else has built on it.
    """
    events = _to_undo(desktop, reviewer, event_id, bulk)
    rows = {row.finding: row for row in _locked(desktop, STANDINGS.c.finding.in_([finding for finding, _ in events]))}
    histories = events_of(desktop.connection, list(rows))
    new: list[NewEvent] = []
    problems: list[tuple[sa.Row[Any], str]] = []
    for finding, event in events:
        problem = _built_upon(histories[finding], event)
        if problem:
            problems.append((rows[finding], problem))
            continue
        new.append(_event(rows[finding], "undo", reviewer, desktop.now, undoes=event.event_id, bulk=event.bulk))
    if problems and not new:
        _refuse(desktop, *problems[0], reviewer)
    standings = add_events(desktop.connection, desktop.audit.audit_number, new)
    if len(new) == 1 and bulk is None and standings[new[0].finding].state in WAITING:
        taken = next(event for _, event in events)
        claim = _event(
            rows[new[0].finding], "claim", reviewer, desktop.now, arm=taken.arm or "ranked", batch=taken.batch,
            until=desktop.now + timedelta(minutes=desktop.audit.claim_minutes),
        )  # fmt: skip
        add_events(desktop.connection, desktop.audit.audit_number, [claim])
    return [event.finding for event in new]


def skip(desktop: Desktop, reviewer: str, finding_id: str) -> None:
    """Give a claimed finding back, so that others may have it; this reviewer is offered others first."""
    row = _locked_one(desktop, finding_id)
    if _is_held(row, desktop.now) and row.claimed_by != reviewer:
        _refuse(desktop, row, _whose(row), reviewer)
    add_events(desktop.connection, desktop.audit.audit_number, [_event(row, "release", reviewer, desktop.now, note="skipped")])


def mark(desktop: Desktop, by: str, kind: Mark, finding_ids: Sequence[str]) -> None:
    """Note what became of answers that stand.

    Raises:
        NotFound: one of the findings is none of this audit.
        Changed: one of them has no answer that stands; nothing is marked then.
    """
    if kind not in get_args(Mark):
        raise ShelfcodeError(f"mark {kind!r}: expected one of {', '.join(get_args(Mark))}")
    wanted, rows = set(finding_ids), list[sa.Row[Any]]()
    for some in in_pieces(sorted(wanted)):
        rows += _locked(desktop, FINDINGS.c.finding_id.in_(some))
    missing = wanted - {row.finding_id for row in rows}
    if missing:
        raise NotFound(f"no finding {min(missing)[:100]!r} in the audit {desktop.audit.audit}")
    unsettled = [row for row in rows if row.state not in (*SETTLED, "reverted")]
    if unsettled:
        _refuse(desktop, unsettled[0], f"it is {unsettled[0].state}, so no answer stands that could be {kind}", None)
    events = [_event(row, kind, by, desktop.now) for row in rows if row.state != kind]
    add_events(desktop.connection, desktop.audit.audit_number, events)


def _locked(desktop: Desktop, *conditions: sa.ColumnElement[bool]) -> Sequence[sa.Row[Any]]:
    """Findings, locked in one order, so that two transactions over many of them do not wait for each other for ever."""
    query = (
        sa.select(
            STANDINGS, FINDINGS.c.finding_id, FINDINGS.c.item_id, FINDINGS.c.text_hash, FINDINGS.c.given_path, FINDINGS.c.content
        )
        .select_from(ONE)
        .where(STANDINGS.c.audit_number == desktop.audit.audit_number, *conditions)
        .order_by(STANDINGS.c.finding)
        .with_for_update(of=STANDINGS)
    )  # fmt: skip
    return desktop.connection.execute(query).all()


def _locked_one(desktop: Desktop, finding_id: str) -> sa.Row[Any]:
    return _locked(desktop, STANDINGS.c.finding == finding_row(desktop.connection, desktop.audit, finding_id))[0]


def _answer(desktop: Desktop, row: sa.Row[Any], decision: Decision) -> tuple[Verdict, tuple[str, ...] | None]:
    """Verdict and path as they are kept: the first suggestion where none is named, and `accept` for every suggested path.

    Raises:
        ShelfcodeError: they do not fit each other, the finding or the catalog.
    """
    if decision.verdict not in VERDICTS:
        raise ShelfcodeError(f"verdict {str(decision.verdict)[:50]!r}: expected one of {', '.join(VERDICTS)}")
    if len(decision.note) > LONGEST_NOTE or "\0" in decision.note:
        raise ShelfcodeError(f"note: expected at most {LONGEST_NOTE} characters, without character 0")
    if decision.seconds is not None and not 0 <= decision.seconds < 10**6:
        raise ShelfcodeError(f"seconds {decision.seconds}: expected the time spent on one finding")
    if decision.verdict not in ("accept", "relabel"):
        if decision.path is not None:
            raise ShelfcodeError(f"path: verdict {decision.verdict} names none; accept or relabel do")
        return decision.verdict, None
    suggested = [tuple(path) for path in msgspec.json.decode(row.content)["suggested_paths"] or ()]
    path = decision.path if decision.path is not None or decision.verdict == "relabel" else next(iter(suggested), None)
    if path is None:
        what = "relabel names the right path" if decision.verdict == "relabel" else "this finding suggests none; relabel names one"
        raise ShelfcodeError(f"path: {what}")
    if path == path_of(row.given_path):
        raise ShelfcodeError(f"path: {' > '.join(path)} is the label that the product has already; keep says that it is right")
    if path in suggested:
        return "accept", path
    if decision.verdict == "accept":
        raise ShelfcodeError(f"path: {' > '.join(path)} is none of the suggestions; relabel names any other path")
    if not path or not all(name.strip() and "\0" not in name for name in path):
        raise ShelfcodeError("path: expected names from the department down to the leaf, none of them blank")
    if path not in desktop.paths and not decision.new_path:
        raise ShelfcodeError(
            f"path: no product of the catalog is filed under {' > '.join(path)}; new_path says that a new category is meant"
        )
    return "relabel", path


def _changed_since(desktop: Desktop, row: sa.Row[Any], reviewer: str, decision: Decision) -> str | None:
    """What a reviewer did not know when deciding."""
    if row.version != decision.version:
        return _what_happened(desktop, row, decision.version)
    if _is_held(row, desktop.now) and row.claimed_by != reviewer:
        return _whose(row)
    if row.state == "second_review" and f"\n{reviewer}\n" in row.reviewers:
        return "you have decided it, and another reviewer is asked for a second opinion"
    return None if row.state in WAITING else f"it is {row.state} already"


def _why_not(row: sa.Row[Any], reviewer: str, now: datetime) -> str | None:
    """Why one action over many leaves a finding alone."""
    if row.state not in WAITING:
        return "stale" if row.state == "stale" else "decided"
    if _is_held(row, now) and row.claimed_by != reviewer:
        return "claimed by another"
    return "decided" if f"\n{reviewer}\n" in row.reviewers else None


def _what_happened(desktop: Desktop, row: sa.Row[Any], version: int) -> str:
    """In words, what was done to a finding since somebody saw it; a verdict that must not be seen is left out."""
    events = events_of(desktop.connection, [row.finding])[row.finding]
    counted = [event for event in events if event.kind not in UNCOUNTED]
    if version > len(counted) or version < 0:
        return f"version {version} was never shown; it is at {row.version}"
    said = []
    for event in counted[version:]:
        verdict = "" if row.state == "second_review" or not event.verdict else f" ({event.verdict}{_arrow(event)})"
        what = {"undo": "took a decision back", "stale": "its text or label changed", "decision": f"decided it{verdict}"}
        said.append(f"{event.by}: {what.get(event.kind, event.kind + verdict)}")
    return "meanwhile " + "; ".join(said)


def _arrow(event: Event) -> str:
    return f" -> {' > '.join(event.path)}" if event.path else ""


def _built_upon(events: Sequence[Event], event: Event) -> str | None:
    """Why a decision can no longer be taken back."""
    live = standing_events(events)
    if event not in live:
        return "this decision was taken back before"
    later = [other for other in live if other.event_id > event.event_id and other.kind in (*OPINIONS, "applied", "stale")]
    if not later:
        return None
    what = {"applied": "the correction was applied", "stale": "its text or label changed"}
    return what.get(later[-1].kind, f"{later[-1].by} has decided it, too") + " since"


def _to_undo(desktop: Desktop, reviewer: str, event_id: int | None, bulk: str | None) -> list[tuple[int, Event]]:
    """The reviewer's events that are meant, with the findings' row numbers; a bulk is taken back whole."""
    undone = EVENTS.alias()
    query = event_query().where(
        EVENTS.c.audit_number == desktop.audit.audit_number, EVENTS.c.by == reviewer, EVENTS.c.kind.in_(("decision", "adjudication"))
    )
    if event_id is not None:
        query = query.where(EVENTS.c.event_id == event_id)
    elif bulk is not None:
        query = query.where(EVENTS.c.bulk == bulk)
    else:
        taken_back = sa.exists().where(undone.c.undoes == EVENTS.c.event_id)
        query = query.where(sa.not_(taken_back)).order_by(EVENTS.c.event_id.desc()).limit(1)
    rows = desktop.connection.execute(query).all()
    if not rows:
        named = f"event {event_id}" if event_id is not None else f"bulk {bulk!r}" if bulk else "nothing"
        raise NotFound(f"{reviewer} has decided {named} in the audit {desktop.audit.audit} that could be taken back")
    if event_id is None and bulk is None and rows[0].bulk:
        return _to_undo(desktop, reviewer, None, rows[0].bulk)
    return [(row.finding, event_of(row)) for row in rows]


def _refuse(desktop: Desktop, row: sa.Row[Any], problem: str, reviewer: str | None) -> NoReturn:
    card: Card = cards(desktop.connection, desktop.audit.audit, [row.finding], replace(desktop.seen, by=reviewer))[0]
    raise Changed(f"finding {row.finding_id} of {row.item_id}: {problem}", card)


def _whose(row: sa.Row[Any]) -> str:
    return f"{row.claimed_by} holds it until {row.claimed_until:%H:%M:%S} UTC"


def _is_held(row: sa.Row[Any], now: datetime) -> bool:
    return row.claimed_by is not None and row.claimed_until > now


def _wants_second(row: sa.Row[Any], share: float) -> bool:
    """Whether a finding is among the share that two reviewers decide. Its name says so, so that nobody can choose."""
    return xxh3_64_intdigest(f"second {row.finding_id}".encode()) < share * 2**64


def _event(row: sa.Row[Any], kind: str, by: str, at: datetime, **fields: Any) -> NewEvent:
    return NewEvent(row.finding, row.finding_id, row.item_id, row.text_hash, kind, by, at, **fields)
