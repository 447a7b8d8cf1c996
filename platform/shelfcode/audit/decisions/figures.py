"""What the decisions of an audit come to: its summary, its curve, and the probabilities that findings are shown with by now."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from shelfcode.audit.decisions import estimates
from shelfcode.audit.decisions.answers import DepartmentSummary, ReviewerSummary, Summary
from shelfcode.audit.decisions.decision import Event
from shelfcode.audit.decisions.estimates import Agreement, CurvePoint, Reviewed
from shelfcode.audit.decisions.events import event_of, event_query
from shelfcode.audit.decisions.folding import standing_events
from shelfcode.audit.decisions.reading import count_states
from shelfcode.audit.decisions.tables import EVENTS, STANDINGS
from shelfcode.audit.published_audit import AuditManifest


@dataclass(frozen=True)
class AuditedFindings:
    """The F findings of an audit as it was published, by row number."""

    finding_F: NDArray[np.int64]
    p_F: NDArray[np.float64]
    priority_F: NDArray[np.float64]
    department_F: NDArray[np.str_]
    placeholder_F: NDArray[np.bool_]


def audited_findings(connection: sa.Connection, audit: sa.Row[Any]) -> AuditedFindings:
    """Columns of all findings of an audit; they never change."""
    columns = (STANDINGS.c.finding, STANDINGS.c.p_wrong, STANDINGS.c.priority, STANDINGS.c.department, STANDINGS.c.issue)
    query = sa.select(*columns).where(STANDINGS.c.finding.between(audit.first_finding, audit.last_finding)).order_by(STANDINGS.c.finding)
    rows = connection.execute(query).all()
    finding, p, priority, department, issue = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return AuditedFindings(
        np.array(finding, np.int64), np.array(p, np.float64), np.array(priority, np.float64), np.array(department, str),
        np.array(issue, str) == "placeholder",
    )  # fmt: skip


def last_change(connection: sa.Connection, audit_number: int) -> int:
    """The number of the last event that changes figures; 0 before the first."""
    kinds = ("decision", "carried", "adjudication", "undo", "stale")
    of_kind = [
        sa.select(sa.func.max(EVENTS.c.event_id)).where(EVENTS.c.audit_number == audit_number, EVENTS.c.kind == kind).scalar_subquery()
        for kind in kinds
    ]
    return max(number or 0 for number in connection.execute(sa.select(*of_kind)).one())


def reviewed_findings(connection: sa.Connection, audit_number: int, audited: AuditedFindings) -> Reviewed:
    """All findings with the verdict that stands for each; one that went stale undecided is out of all counts."""
    columns = (STANDINGS.c.finding, STANDINGS.c.state, STANDINGS.c.verdict, STANDINGS.c.arm, STANDINGS.c.answer_event)
    query = sa.select(*columns).where(STANDINGS.c.audit_number == audit_number, STANDINGS.c.state.in_(_REVIEWED))
    findings = len(audited.finding_F)
    verdict_F, arm_F, order_F = np.full(findings, "", dtype="U10"), np.full(findings, "", dtype="U7"), np.zeros(findings, np.int64)
    rows = connection.execute(query).all()
    for at, row in zip(np.searchsorted(audited.finding_F, [row.finding for row in rows]), rows, strict=True):
        verdict_F[at] = row.verdict or "exclude"
        arm_F[at], order_F[at] = row.arm or "", row.answer_event or 0
    return Reviewed(audited.p_F, audited.priority_F, audited.department_F, verdict_F, arm_F, order_F, audited.placeholder_F)


_REVIEWED = ("second_review", "decided", "agreed", "conflict", "adjudicated", "exported", "applied", "reverted", "stale")


def summary(connection: sa.Connection, audit: sa.Row[Any], reviewed: Reviewed, now: datetime) -> Summary:
    """The figures of the overview."""
    manifest = AuditManifest.model_validate_json(audit.manifest)
    by_department = estimates.wrong_by_department(reviewed, manifest.wrong, manifest.departments)
    seen_of = Counter(reviewed.department_F[reviewed.order_F > 0].tolist())
    departments = [
        DepartmentSummary(each.name, each.products, each.findings, seen_of[each.name], by_department[each.name])
        for each in manifest.departments
    ]
    events = _opinions(connection, audit.audit_number)
    return Summary(
        manifest=manifest, findings=len(reviewed.p_F), reviewed=int((reviewed.order_F > 0).sum()),
        states=count_states(connection, audit.audit_number, now), wrong=estimates.wrong_labels(reviewed, manifest.wrong),
        departments=departments, ranked=estimates.precision(reviewed, "ranked"), random=estimates.precision(reviewed, "random"),
        stop=estimates.stop_line(reviewed, manifest.wrong), agreement=_agreement(events), reviewers=_reviewers(events),
    )  # fmt: skip


def curve(audit: sa.Row[Any], reviewed: Reviewed) -> list[CurvePoint]:
    """Reviewed against found."""
    return estimates.curve(reviewed, AuditManifest.model_validate_json(audit.manifest).wrong)


def _opinions(connection: sa.Connection, audit_number: int) -> list[Event]:
    """Decisions that were not taken back."""
    query = event_query().where(EVENTS.c.audit_number == audit_number, EVENTS.c.kind.in_(("decision", "undo"))).order_by(EVENTS.c.event_id)
    return [event for event in standing_events([event_of(row) for row in connection.execute(query)]) if event.kind == "decision"]


def _agreement(events: list[Event]) -> Agreement:
    """Of the first two opinions on each finding."""
    opinions: dict[str, list[str]] = defaultdict(list)
    for event in events:
        opinions[event.finding_id].append(event.verdict or "")
    pairs = [of_one[:2] for of_one in opinions.values() if len(of_one) > 1]
    return estimates.agreement([first for first, _ in pairs], [second for _, second in pairs])


def _reviewers(events: list[Event]) -> list[ReviewerSummary]:
    """What each reviewer did, the busiest first."""
    decisions: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        decisions[event.by].append(event)
    rows = []
    for name, made in decisions.items():
        seconds = [event.seconds for event in made if event.seconds is not None]
        verdicts = dict(Counter[str](event.verdict or "" for event in made))
        rows.append(ReviewerSummary(name, len(made), verdicts, median(seconds) if seconds else None))
    return sorted(rows, key=lambda row: (-row.decisions, row.name))


@dataclass(frozen=True)
class Shown:
    """How the audit's probabilities are shown by now. Without decisions that is as they are.

    Attributes:
        p: the audit's probability -> the one with what decisions taught, in the same order.
        lowest: the lowest probability of the audit that is shown as so much.
    """

    p: Callable[[float], float] = float
    lowest: Callable[[float], float] = float


def shown(reviewed: Reviewed) -> Shown:
    """What the decisions made so far teach of the probabilities."""
    order = np.argsort(reviewed.p_F, kind="stable")
    p_F, shown_F = reviewed.p_F[order], np.maximum.accumulate(reviewed.p_shown_F[order])

    def lowest(p: float) -> float:
        place = int(np.searchsorted(shown_F, p))
        return float(p_F[place]) if place < len(p_F) else np.inf

    return Shown(lambda p: float(np.interp(p, p_F, shown_F)), lowest) if len(p_F) else Shown()
