"""What the desk answers with, besides cards and events: plain data for pages, the endpoint and jobs."""

from dataclasses import dataclass

from shelfcode.audit.decisions.decision import Card, Event, State
from shelfcode.audit.decisions.estimates import Agreement, Precision, StopLine, WrongEstimate
from shelfcode.audit.published_audit import AuditManifest


@dataclass(frozen=True)
class AuditRow:
    """An audit in the store, and how many of its findings are in each state; states without any are left out."""

    manifest: AuditManifest
    states: dict[State, int]


@dataclass(frozen=True)
class Page:
    """Some of the findings that were asked for, by priority, and how many there are in all."""

    rows: list[Card]
    total: int


@dataclass(frozen=True)
class Facet:
    """One value that findings can be filtered by: how many have it, and how many of these wait for somebody."""

    value: str
    findings: int
    waiting: int


@dataclass(frozen=True)
class Facets:
    """What can be filtered by, the most frequent first; brands without a name are left out."""

    departments: list[Facet]
    issues: list[Facet]
    brands: list[Facet]


@dataclass(frozen=True)
class PatternRow:
    """A pattern of an audit (published_audit.py: PATTERNS), and how many of its findings nobody has decided yet."""

    pattern_id: str
    kind: str
    given_path: tuple[str, ...] | None
    suggested_path: tuple[str, ...] | None
    brand: str | None
    prefix: str | None
    products: int
    expected_wrong: float
    sentence: str
    findings: int
    open: int


@dataclass(frozen=True)
class BulkResult:
    """What one action over a pattern did.

    Attributes:
        bulk: its name, to undo it by.
        decided: how many findings.
        passed_over: how many were left alone, by the reason.
    """

    bulk: str
    decided: int
    passed_over: dict[str, int]


@dataclass(frozen=True)
class Conflict:
    """A finding on which reviewers contradict each other, and what they said, in the order in which they did."""

    card: Card
    decisions: tuple[Event, ...]


@dataclass(frozen=True)
class ReviewSettings:
    """How an audit is reviewed.

    Attributes:
        second_review_share: of decisions that another reviewer is asked about, too, without seeing the first.
        random_share: of cards drawn by chance among all open findings rather than by priority, so that both can be told apart.
        claim_minutes: for so long a card that was handed out is nobody else's.
    """

    second_review_share: float = 0.0
    random_share: float = 0.05
    claim_minutes: float = 15.0


@dataclass(frozen=True)
class KnownPath:
    """A category of the catalog, and how many products it has."""

    path: tuple[str, ...]
    products: int


@dataclass(frozen=True)
class DepartmentSummary:
    """One department: wrong labels as they are estimated now, and how far its findings are reviewed."""

    name: str
    products: int
    findings: int
    reviewed: int
    wrong: WrongEstimate


@dataclass(frozen=True)
class ReviewerSummary:
    """What one reviewer did in an audit; seconds are the median over decisions whose time is known."""

    name: str
    decisions: int
    verdicts: dict[str, int]
    seconds: float | None


@dataclass(frozen=True)
class Summary:
    """The figures of an audit's overview.

    Attributes:
        states: how many findings are in each state; states without any are left out.
        reviewed: findings that at least one reviewer has judged.
        wrong: wrong labels of the whole catalog, with an interval.
        ranked, random: precision of what was reviewed by priority, and of what was drawn by chance.
        stop: what the next findings of the queue are expected to hold.
        agreement: of first and second reviewers.
    """

    manifest: AuditManifest
    findings: int
    reviewed: int
    states: dict[State, int]
    wrong: WrongEstimate
    departments: list[DepartmentSummary]
    ranked: Precision
    random: Precision
    stop: StopLine
    agreement: Agreement
    reviewers: list[ReviewerSummary]
