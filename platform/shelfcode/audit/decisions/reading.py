"""What is read of the store: cards, pages of findings, facets, patterns, history, conflicts, corrections, paths."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import msgspec
import pyarrow as pa
import sqlalchemy as sa

from shelfcode.audit.decisions.answers import AuditRow, Conflict, Facet, Facets, KnownPath, Page, PatternRow, ReviewSettings
from shelfcode.audit.decisions.decision import STATES, Arm, Card, Event, Filters, NotFound, State
from shelfcode.audit.decisions.events import event_of, event_query, events_of, in_pieces
from shelfcode.audit.decisions.folding import SETTLED, WAITING, standing_events
from shelfcode.audit.decisions.tables import AUDITS, EVENTS, FINDINGS, PATHS, PATTERN_FINDINGS, PATTERNS, STANDINGS
from shelfcode.audit.decisions.text_columns import path_of
from shelfcode.audit.published_audit import AuditManifest

ONE = STANDINGS.join(FINDINGS, FINDINGS.c.finding == STANDINGS.c.finding)
"""A finding with where it stands."""

DONE = tuple(state for state in STATES if state not in (*WAITING, "claimed"))
"""States in which nobody is to decide."""

OPINIONS = ("decision", "carried", "adjudication")

CORRECTIONS = pa.schema([
    ("item_id", pa.string()), ("text_hash", pa.string()), ("from_path", pa.list_(pa.string())), ("to_path", pa.list_(pa.string())),
    ("verdict", pa.string()), ("reviewers", pa.list_(pa.string())), ("decision_ids", pa.list_(pa.int64())),
    ("at", pa.timestamp("us", "UTC")), ("note", pa.string()), ("finding_id", pa.string()), ("state", pa.string()),
])  # fmt: skip
"""One row per finding whose answer stands. `to_path` is null for `exclude`, and the given path where the label is right."""


def audit_row(connection: sa.Connection, audit: str) -> sa.Row[Any]:
    """The row of an audit.

    Raises:
        NotFound: the store does not have it; lists those it has.
    """
    row = connection.execute(sa.select(AUDITS).where(AUDITS.c.audit == audit)).first()
    if row is None:
        names = connection.execute(sa.select(AUDITS.c.audit).order_by(AUDITS.c.created)).scalars().all()
        there = f"there are {', '.join(names)}" if names else "it has none yet"
        raise NotFound(f"no audit {audit[:100]!r} in the review store; {there}")
    return row


def settings_of(audit: sa.Row[Any]) -> ReviewSettings:
    return ReviewSettings(audit.second_review_share, audit.random_share, audit.claim_minutes)


def audit_rows(connection: sa.Connection, now: datetime) -> list[AuditRow]:
    """All audits, oldest first."""
    audits = connection.execute(sa.select(AUDITS).order_by(AUDITS.c.created, AUDITS.c.audit)).all()
    return [AuditRow(AuditManifest.model_validate_json(row.manifest), count_states(connection, row.audit_number, now)) for row in audits]


def count_states(connection: sa.Connection, audit_number: int, now: datetime) -> dict[State, int]:
    """How many findings are in each state; those without any are left out."""
    here = STANDINGS.c.audit_number == audit_number
    query = sa.select(STANDINGS.c.state, sa.func.count()).where(here).group_by(STANDINGS.c.state)
    counts = {cast(State, state): int(count) for state, count in connection.execute(query)}
    for state in connection.execute(sa.select(STANDINGS.c.state).where(here, is_claimed(now))).scalars():
        counts[state] -= 1
        counts["claimed"] = counts.get("claimed", 0) + 1
    return {state: counts[state] for state in STATES if counts.get(state)}


def is_claimed(now: datetime) -> sa.ColumnElement[bool]:
    """Somebody's claim lasts."""
    return sa.and_(STANDINGS.c.claimed_by.is_not(None), STANDINGS.c.claimed_until > now)


@dataclass(frozen=True)
class Seen:
    """Who reads, when, and how the audit's probabilities are shown by now.

    Attributes:
        by: whom a verdict that waits for a second opinion is shown to, if it is their own; None is nobody.
        p: the audit's probability -> the one that is shown.
        lowest: the lowest probability of the audit that is shown as so much.
    """

    at: datetime
    by: str | None = None
    p: Callable[[float], float] = float
    lowest: Callable[[float], float] = float


def matching(audit_number: int, filters: Filters, seen: Seen) -> list[sa.ColumnElement[bool]]:
    """Conditions on STANDINGS for what is filtered by."""
    conditions: list[sa.ColumnElement[bool]] = []
    for column, value in (("department", filters.department), ("issue", filters.issue), ("brand", filters.brand)):
        if value:
            conditions.append(STANDINGS.c[column] == value)
    if filters.p_min is not None:
        conditions.append(STANDINGS.c.p_wrong >= seen.lowest(filters.p_min))
    if filters.popularity_min is not None:
        conditions.append(STANDINGS.c.popularity >= filters.popularity_min)
    if filters.text:
        conditions.extend(STANDINGS.c.words.contains(word, autoescape=True) for word in filters.text.casefold().split())
    if filters.pattern:
        conditions.append(STANDINGS.c.finding.in_(listed_in(audit_number, filters.pattern)))
    if filters.state == "claimed":
        conditions.append(is_claimed(seen.at))
    elif filters.state:
        conditions.append(STANDINGS.c.state == filters.state)
        if filters.state in WAITING:
            conditions.append(sa.not_(sa.func.coalesce(is_claimed(seen.at), sa.false())))
    return conditions


def listed_in(audit_number: int, pattern_id: str) -> sa.Select[tuple[int]]:
    """The findings of a pattern."""
    of_pattern = PATTERN_FINDINGS.c.audit_number == audit_number, PATTERN_FINDINGS.c.pattern_id == pattern_id
    return sa.select(PATTERN_FINDINGS.c.finding).where(*of_pattern)


def cards(connection: sa.Connection, audit: str, findings: Sequence[int], seen: Seen) -> list[Card]:
    """Cards of these findings, in this order."""
    rows: dict[int, sa.Row[Any]] = {}
    for some in in_pieces(findings):
        query = sa.select(STANDINGS, FINDINGS.c.finding_id, FINDINGS.c.content).select_from(ONE).where(STANDINGS.c.finding.in_(some))
        rows |= {row.finding: row for row in connection.execute(query)}
    events = events_of(connection, [finding for finding in findings if rows[finding].version])
    return [_card(audit, rows[finding], events.get(finding, []), seen) for finding in findings]


def _card(audit: str, row: sa.Row[Any], events: Sequence[Event], seen: Seen) -> Card:
    claimed = row.claimed_by is not None and row.claimed_until > seen.at
    opinions = tuple(event for event in standing_events(events) if event.kind in OPINIONS)
    blind = row.state == "second_review" and seen.by not in {event.by for event in opinions}
    arm: Arm = row.claim_arm if claimed else "ranked"
    return Card(
        audit=audit, finding_id=row.finding_id, finding=msgspec.json.decode(row.content), state="claimed" if claimed else row.state,
        version=row.version, arm=arm, batch=row.claim_batch if claimed else "", p_shown=seen.p(row.p_wrong),
        claimed_by=row.claimed_by if claimed else None, claimed_until=row.claimed_until if claimed else None,
        decisions=() if blind else opinions,
    )  # fmt: skip


def finding_row(connection: sa.Connection, audit: sa.Row[Any], finding_id: str) -> int:
    """The row number of a finding.

    Raises:
        NotFound: the audit has no such finding.
    """
    query = sa.select(FINDINGS.c.finding).where(FINDINGS.c.audit_number == audit.audit_number, FINDINGS.c.finding_id == finding_id)
    finding = connection.execute(query).scalar()
    if finding is None:
        raise NotFound(f"no finding {finding_id[:100]!r} in the audit {audit.audit}")
    return int(finding)


def page(connection: sa.Connection, audit: str, filters: Filters, first: int, limit: int, seen: Seen) -> Page:
    """Findings by priority."""
    number = audit_row(connection, audit).audit_number
    wanted = [STANDINGS.c.audit_number == number, *matching(number, filters, seen)]
    query = sa.select(STANDINGS.c.finding).where(*wanted).order_by(STANDINGS.c.priority.desc(), STANDINGS.c.finding.desc())
    rows = connection.execute(query.offset(max(0, first)).limit(max(0, limit))).scalars().all()
    total = connection.execute(sa.select(sa.func.count()).select_from(STANDINGS).where(*wanted)).scalar_one()
    return Page(cards(connection, audit, rows, seen), total)


def facets(connection: sa.Connection, audit: str) -> Facets:
    """Values to filter by, with counts."""
    number = audit_row(connection, audit).audit_number

    def of(column: str) -> list[Facet]:
        value, waiting = STANDINGS.c[column], sa.func.sum(sa.case((STANDINGS.c.state.in_(WAITING), 1), else_=0))
        query = sa.select(value, sa.func.count(), waiting).where(STANDINGS.c.audit_number == number).group_by(value)
        found = [Facet(name, count, int(open_)) for name, count, open_ in connection.execute(query) if name]
        return sorted(found, key=lambda facet: (-facet.findings, facet.value))

    return Facets(of("department"), of("issue"), of("brand"))


def pattern_rows(
    connection: sa.Connection, audit: sa.Row[Any], kind: str | None = None, pattern_id: str | None = None, first: int = 0, limit: int = 50
) -> list[PatternRow]:
    """Patterns in the order of the audit, the worst first."""
    query = sa.select(PATTERNS).where(PATTERNS.c.audit_number == audit.audit_number).order_by(PATTERNS.c.place)
    if kind:
        query = query.where(PATTERNS.c.kind == kind)
    if pattern_id:
        query = query.where(PATTERNS.c.pattern_id == pattern_id)
    rows = connection.execute(query.offset(max(0, first)).limit(max(0, limit))).all()
    decided = (  # counted from what is decided, which is little of a large audit
        sa.select(PATTERN_FINDINGS.c.pattern_id, sa.func.count())
        .select_from(STANDINGS.join(PATTERN_FINDINGS, PATTERN_FINDINGS.c.finding == STANDINGS.c.finding))
        .where(STANDINGS.c.audit_number == audit.audit_number, STANDINGS.c.state.in_(DONE))
        .group_by(PATTERN_FINDINGS.c.pattern_id)
    )
    done = {row.pattern_id: row[1] for row in connection.execute(decided)}
    return [_pattern(row, row.findings - done.get(row.pattern_id, 0)) for row in rows]


def _pattern(row: sa.Row[Any], waiting: int) -> PatternRow:
    content = msgspec.json.decode(row.content)
    given, suggested = (None if path is None else tuple(path) for path in (content["given_path"], content["suggested_path"]))
    return PatternRow(
        row.pattern_id, row.kind, given, suggested, content["brand"], content["prefix"], content["products"] or 0,
        content["expected_wrong"] or 0.0, content["sentence"] or "", row.findings, waiting,
    )  # fmt: skip


def pattern_with_sample(connection: sa.Connection, audit: str, pattern_id: str, sample: int, seen: Seen) -> tuple[PatternRow, list[Card]]:
    """A pattern, and some of its findings drawn by chance, those first that wait for somebody.

    Raises:
        NotFound: the audit has no such pattern.
    """
    row = audit_row(connection, audit)
    patterns = pattern_rows(connection, row, pattern_id=pattern_id)
    if not patterns:
        raise NotFound(f"no pattern {pattern_id[:100]!r} in the audit {audit}")
    query = (
        sa.select(STANDINGS.c.finding)
        .where(STANDINGS.c.audit_number == row.audit_number, *matching(row.audit_number, Filters(pattern=pattern_id), seen))
        .order_by(STANDINGS.c.state.in_(WAITING).desc(), STANDINGS.c.shuffle)
        .limit(max(0, sample))
    )
    return patterns[0], cards(connection, audit, connection.execute(query).scalars().all(), seen)


def history(
    connection: sa.Connection, audit: str, finding_id: str | None, by: str | None, first: int, limit: int, seen_by: str | None,
    kinds: Sequence[str] = (),
) -> list[Event]:  # fmt: skip
    """Events, the latest first. While a finding waits for a second opinion, the first verdict is shown only to whoever gave it."""
    row = audit_row(connection, audit)
    query = event_query().where(EVENTS.c.audit_number == row.audit_number).order_by(EVENTS.c.event_id.desc())
    if finding_id is not None:
        query = query.where(EVENTS.c.finding == finding_row(connection, row, finding_id))
    if by is not None:
        query = query.where(EVENTS.c.by == by)
    if kinds:
        query = query.where(EVENTS.c.kind.in_(kinds))
    rows = connection.execute(query.offset(max(0, first)).limit(max(0, limit))).all()
    waiting = sa.select(STANDINGS.c.finding).where(
        STANDINGS.c.state == "second_review", STANDINGS.c.finding.in_({row.finding for row in rows})
    )
    blind = set(connection.execute(waiting).scalars())
    return [event_of(row) if row.finding not in blind or row.by == seen_by else _blinded(event_of(row)) for row in rows]


def _blinded(event: Event) -> Event:
    return replace(event, verdict=None, path=None, note="", p_shown=None) if event.kind in OPINIONS else event


def conflicts(connection: sa.Connection, audit: str, seen: Seen) -> list[Conflict]:
    """Findings on which reviewers contradict each other, by priority."""
    number = audit_row(connection, audit).audit_number
    query = sa.select(STANDINGS.c.finding).where(STANDINGS.c.audit_number == number, STANDINGS.c.state == "conflict")
    rows = connection.execute(query.order_by(STANDINGS.c.priority.desc(), STANDINGS.c.finding.desc())).scalars().all()
    return [Conflict(card, card.decisions) for card in cards(connection, audit, rows, seen)]


def corrections(connection: sa.Connection, audit: str) -> pa.Table:
    """CORRECTIONS of an audit, in the order of the answers."""
    number = audit_row(connection, audit).audit_number
    query = (
        sa.select(STANDINGS, FINDINGS.c.finding_id, FINDINGS.c.item_id, FINDINGS.c.text_hash, FINDINGS.c.given_path)
        .select_from(ONE)
        .where(STANDINGS.c.audit_number == number, STANDINGS.c.state.in_(SETTLED))
        .order_by(STANDINGS.c.answer_event)
    )
    rows = connection.execute(query).all()
    events = events_of(connection, [row.finding for row in rows])
    return pa.Table.from_pylist([_correction(row, events[row.finding]) for row in rows], CORRECTIONS)


def _correction(row: sa.Row[Any], events: Sequence[Event]) -> dict[str, Any]:
    opinions = [event for event in standing_events(events) if event.kind in OPINIONS]
    given = path_of(row.given_path)
    to_path = path_of(row.path) if row.verdict in ("accept", "relabel") else None if row.verdict == "exclude" else given
    return {
        "item_id": row.item_id, "text_hash": row.text_hash, "from_path": given, "to_path": to_path, "verdict": row.verdict,
        "reviewers": list(dict.fromkeys(event.by for event in opinions)), "decision_ids": [event.event_id for event in opinions],
        "at": opinions[-1].at, "note": "; ".join(filter(None, (event.note for event in opinions))), "finding_id": row.finding_id,
        "state": row.state,
    }  # fmt: skip


def known_paths(connection: sa.Connection, audit_number: int) -> list[KnownPath]:
    """The categories of an audit's catalog."""
    rows = connection.execute(sa.select(PATHS.c.path, PATHS.c.products).where(PATHS.c.audit_number == audit_number))
    return [KnownPath(path_of(path) or (), products) for path, products in rows]


def find_paths(paths: Iterable[KnownPath], text: str, limit: int) -> list[KnownPath]:
    """Categories that have each of the words in one of their names; those whose last name begins with one first, then the largest."""
    words = text.casefold().split()

    def rank(known: KnownPath) -> tuple[int, int, tuple[str, ...]]:
        leaf = known.path[-1].casefold() if known.path else ""
        place = (
            0
            if leaf == text.casefold().strip()
            else 1
            if any(map(leaf.startswith, words))
            else 2
            if any(word in leaf for word in words)
            else 3
        )
        return place, -known.products, known.path

    found = [known for known in paths if all(word in "\n".join(known.path).casefold() for word in words)]
    return sorted(found, key=rank)[: max(0, limit)]
