"""Events as rows: read, added, and folded into the standing that the queue reads. Every change of a finding goes through `add_events`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from shelfcode.audit.decisions.decision import Arm, Event, Verdict
from shelfcode.audit.decisions.folding import WAITING, Standing, fold
from shelfcode.audit.decisions.tables import AUDITS, EVENTS, FINDINGS, STANDINGS
from shelfcode.audit.decisions.text_columns import path_of, path_text

V = TypeVar("V")

AT_ONCE = 500
"""So many findings are named in one statement."""


@dataclass(frozen=True)
class NewEvent:
    """What is to be added about one finding; fields as those of Event. `finding` is its row."""

    finding: int
    finding_id: str
    item_id: str
    text_hash: str
    kind: str
    by: str
    at: datetime
    verdict: Verdict | None = None
    path: tuple[str, ...] | None = None
    note: str = ""
    seconds: float | None = None
    p_shown: float | None = None
    arm: str | None = None
    batch: str = ""
    bulk: str | None = None
    undoes: int | None = None
    until: datetime | None = None
    wants_second: bool = False


def event_query() -> sa.Select[Any]:
    """Events with the name of their audit."""
    return sa.select(EVENTS, AUDITS.c.audit).join(AUDITS, AUDITS.c.audit_number == EVENTS.c.audit_number)


def event_of(row: sa.Row[Any]) -> Event:
    arm: Arm | None = row.arm
    return Event(
        event_id=row.event_id, audit=row.audit, finding_id=row.finding_id, item_id=row.item_id, kind=row.kind, by=row.by, at=row.at,
        verdict=row.verdict, path=path_of(row.path), note=row.note, seconds=row.seconds, p_shown=row.p_shown, arm=arm, batch=row.batch,
        bulk=row.bulk, undoes=row.undoes, text_hash=row.text_hash, until=row.until, wants_second=row.wants_second,
    )  # fmt: skip


def events_of(connection: sa.Connection, findings: Sequence[int]) -> dict[int, list[Event]]:
    """All events of each of these findings, oldest first."""
    events: dict[int, list[Event]] = defaultdict(list)
    for some in in_pieces(findings):
        for row in connection.execute(event_query().where(EVENTS.c.finding.in_(some)).order_by(EVENTS.c.event_id)):
            events[row.finding].append(event_of(row))
    return events


def add_events(connection: sa.Connection, audit_number: int, events: Sequence[NewEvent]) -> dict[int, Standing]:
    """Add events, and bring the standings of their findings up to date. Whoever calls this has locked the findings.

    Returns:
        The new standing of each finding.
    """
    if not events:
        return {}
    connection.execute(EVENTS.insert(), [{**vars(event), "audit_number": audit_number, "path": path_text(event.path)} for event in events])
    findings = list(dict.fromkeys(event.finding for event in events))
    all_events = events_of(connection, findings)
    standings = {finding: fold(all_events[finding]) for finding in findings}
    change = STANDINGS.update().where(STANDINGS.c.finding == sa.bindparam("of_finding"))
    rows = [{"of_finding": finding, **standing_columns(standing)} for finding, standing in standings.items()]
    connection.execute(change.values({name: sa.bindparam(name) for name in standing_columns(Standing("open", 0))}), rows)
    return standings


def standing_columns(standing: Standing) -> dict[str, Any]:
    """A standing as the columns of its row."""
    claim = standing.claim if standing.state in WAITING else None
    return {
        "state": standing.state, "version": standing.version, "verdict": standing.verdict, "path": path_text(standing.path),
        "arm": standing.arm, "answer_event": standing.event_id, "reviewers": names_text(standing.reviewers),
        "claimed_by": claim and claim.by, "claimed_until": claim and claim.until, "claim_event": claim and claim.event_id,
        "claim_arm": claim and claim.arm, "claim_batch": claim and claim.batch,
    }  # fmt: skip


def names_text(names: Iterable[str]) -> str:
    """Names as a text in which each can be looked for: a line each, none of which is cut off by the text's ends."""
    return "".join(f"\n{name}\n" for name in names)


def in_pieces(values: Sequence[V]) -> Iterable[Sequence[V]]:
    return (values[first : first + AT_ONCE] for first in range(0, len(values), AT_ONCE))


def differing(connection: sa.Connection, audit_number: int) -> list[str]:
    """The finding_id of each finding whose standing is not what its events come to; there should be none."""
    different, last = [], -1
    standing = (STANDINGS, FINDINGS.c.finding_id)
    some = sa.select(*standing).join(FINDINGS, FINDINGS.c.finding == STANDINGS.c.finding).order_by(STANDINGS.c.finding).limit(AT_ONCE)
    while rows := connection.execute(some.where(STANDINGS.c.audit_number == audit_number, STANDINGS.c.finding > last)).all():
        last = rows[-1].finding
        events = events_of(connection, [row.finding for row in rows])
        for row in rows:
            wanted = standing_columns(fold(events.get(row.finding, [])))
            if any(row._mapping[name] != value for name, value in wanted.items()):
                different.append(row.finding_id)
    return different
