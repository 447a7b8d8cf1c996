"""The queue: which finding a reviewer is handed next, and for how long it is nobody else's."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from shelfcode.audit.decisions.decision import Arm, Card, Filters
from shelfcode.audit.decisions.events import NewEvent, add_events
from shelfcode.audit.decisions.folding import WAITING
from shelfcode.audit.decisions.reading import ONE, Seen, cards, is_claimed, matching
from shelfcode.audit.decisions.tables import EVENTS, FINDINGS, STANDINGS

SKIPPED_FOR = timedelta(hours=8)
"""A skipped finding comes last for so long."""

AGAIN_AFTER = timedelta(minutes=10)
"""Where nothing else is left, a skipped finding is offered again after this."""

MOST_CARDS = 100
"""So many findings are claimed by one call at the most."""


@dataclass(frozen=True)
class Asked:
    """Who asks for findings of which audit; `now` is when."""

    connection: sa.Connection
    audit: sa.Row[Any]
    reviewer: str
    filters: Filters
    seen: Seen

    @property
    def now(self) -> datetime:
        return self.seen.at

    @property
    def lease(self) -> timedelta:
        return timedelta(minutes=self.audit.claim_minutes)


def claim_next(asked: Asked, count: int, arm: Arm | None, rng: random.Random) -> list[Card]:
    """Hand out findings: first those that the reviewer holds already, then others by priority, or by chance for the random arm's share.

    Each is claimed by an event, and is nobody else's until the claim ends. A claim that ends soon is renewed.
    """
    count = min(max(0, count), MOST_CARDS)
    held = _held(asked, count)
    batch = uuid.uuid4().hex[:12]
    ending = [row for row in held if row.claimed_until - asked.now < asked.lease / 2]
    claims = [_claim(asked, row, row.claim_arm, row.claim_batch) for row in ending]
    new = _choose(asked, count - len(held), arm, rng)
    claims += [_claim(asked, row, chosen, batch) for row, chosen in new]
    add_events(asked.connection, asked.audit.audit_number, claims)
    return cards(asked.connection, asked.audit.audit, [row.finding for row in (*held, *(row for row, _ in new))], asked.seen)


def _held(asked: Asked, count: int) -> Sequence[sa.Row[Any]]:
    """Findings that the reviewer holds, in the order in which they were handed out."""
    filters = replace(asked.filters, state=None)
    query = (
        _rows(asked)
        .where(is_claimed(asked.now), STANDINGS.c.claimed_by == asked.reviewer, *matching(asked.audit.audit_number, filters, asked.seen))
        .order_by(STANDINGS.c.claim_event)
        .limit(count)
        .with_for_update(of=STANDINGS)
    )
    return asked.connection.execute(query).all()


def _choose(asked: Asked, count: int, arm: Arm | None, rng: random.Random) -> list[tuple[sa.Row[Any], Arm]]:
    """New findings for a reviewer, each with its arm."""
    if count <= 0:
        return []
    share = asked.audit.random_share if asked.filters == Filters() else 0.0  # what is drawn among some findings is no sample of all
    arms: list[Arm] = [arm or ("random" if rng.random() < share else "ranked") for _ in range(count)]
    by_chance = arms.count("random")
    drawn = [row for _, row in _offered(asked, "open", by_chance, by_chance=True)] if by_chance else []
    ranked = _ranked(asked, count) if arm != "random" else []
    taken: set[int] = set()
    chosen: list[tuple[sa.Row[Any], Arm]] = []
    for wanted in arms:
        row = next((row for row in (drawn if wanted == "random" else ranked) if row.finding not in taken), None)
        if row is None:  # nothing is left that is open, but perhaps something that waits for a second opinion
            wanted, row = "ranked", next((row for row in ranked if row.finding not in taken), None)
        if row is not None:
            taken.add(row.finding)
            chosen.append((row, wanted))
    return chosen


def _ranked(asked: Asked, count: int) -> list[sa.Row[Any]]:
    """Findings by priority, open ones and those that wait for a second opinion alike; skipped ones last."""
    rows = [offered for state in WAITING for offered in _offered(asked, state, count)]
    return [row for _, row in sorted(rows, key=lambda offered: (offered[0], -offered[1].priority, -offered[1].finding))[:count]]


def _offered(asked: Asked, state: str, count: int, by_chance: bool = False) -> list[tuple[bool, sa.Row[Any]]]:
    """Findings in one state that nobody holds and that this reviewer has not judged; and of each whether the reviewer has skipped it.

    A skipped one is among them where there are not enough others, and some time has passed.
    """
    free = _rows(asked).where(
        STANDINGS.c.state == state,
        sa.or_(STANDINGS.c.claimed_until.is_(None), STANDINGS.c.claimed_until <= asked.now),
        *matching(asked.audit.audit_number, asked.filters, asked.seen),
    )
    free = free.order_by(STANDINGS.c.shuffle) if by_chance else free.order_by(STANDINGS.c.priority.desc(), STANDINGS.c.finding.desc())
    if state == "second_review":
        free = free.where(sa.not_(STANDINGS.c.reviewers.contains(f"\n{asked.reviewer}\n", autoescape=True)))
    rows: list[tuple[bool, sa.Row[Any]]] = []
    passes = [free.where(sa.not_(_skipped(asked.reviewer, asked.now - ago))) for ago in (SKIPPED_FOR, AGAIN_AFTER)]
    for again, left in enumerate(passes if _has_skipped(asked) else [free]):
        if rows:
            left = left.where(STANDINGS.c.finding.not_in([row.finding for _, row in rows]))
        # Findings that another transaction is handing out at this moment are passed over; SQLite has no such moment.
        found = asked.connection.execute(left.limit(count - len(rows)).with_for_update(of=STANDINGS, skip_locked=True)).all()
        rows += [(bool(again), row) for row in found]
        if len(rows) >= count:
            break
    return rows


def _rows(asked: Asked) -> sa.Select[Any]:
    return (
        sa.select(STANDINGS, FINDINGS.c.finding_id, FINDINGS.c.item_id, FINDINGS.c.text_hash)
        .select_from(ONE)
        .where(STANDINGS.c.audit_number == asked.audit.audit_number)
    )


def _has_skipped(asked: Asked) -> bool:
    """Whether the reviewer gave anything back lately; mostly not, and the queue need not look for it then."""
    lately = EVENTS.c.audit_number == asked.audit.audit_number, EVENTS.c.kind == "release", EVENTS.c.at > asked.now - SKIPPED_FOR
    return asked.connection.execute(sa.select(EVENTS.c.event_id).where(*lately, EVENTS.c.by == asked.reviewer).limit(1)).first() is not None


def _skipped(reviewer: str, since: datetime) -> sa.Exists:
    """Whether the reviewer gave a finding back, since a time."""
    return sa.exists().where(
        EVENTS.c.finding == STANDINGS.c.finding, EVENTS.c.kind == "release", EVENTS.c.by == reviewer, EVENTS.c.at > since
    )


def _claim(asked: Asked, row: sa.Row[Any], arm: Arm, batch: str) -> NewEvent:
    return NewEvent(
        row.finding, row.finding_id, row.item_id, row.text_hash, "claim", asked.reviewer, asked.now, arm=arm, batch=batch,
        until=asked.now + asked.lease,
    )  # fmt: skip
