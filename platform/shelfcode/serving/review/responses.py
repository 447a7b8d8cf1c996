"""What the review answers: the shapes that OpenAPI shows. Answers are the desk's own values, which have these fields, or dicts of them."""

from datetime import datetime

from pydantic import Field

from shelfcode.audit.decisions.decision import Arm, State, Verdict
from shelfcode.audit.finding import Issue
from shelfcode.audit.published_audit import AuditManifest, WrongLabels
from shelfcode.serving.api.responses import Answer

Path = list[str]


class PrefixLabel(Answer):
    """A label of products that share a prefix, and how many have it."""

    path: Path | None
    products: int | None


class NearProduct(Answer):
    """One of the products nearest to that of a finding."""

    item_id: str | None
    title: str | None
    path: Path | None
    cosine: float | None


class ViewOpinion(Answer):
    """What one view says: the probability of the given path, and the likeliest path."""

    view: str | None
    given_p: float | None
    path: Path | None
    p: float | None


class Evidence(Answer):
    """Why a label is suspected."""

    fault: str | None = Field(description="label, code or ambiguous")
    reason: str | None = Field(description="one sentence")
    also: list[str] | None = Field(description="other issues of the same product")
    prefix: str | None = Field(description="of its semantic ID")
    prefix_products: int | None
    prefix_given: int | None = Field(description="how many of them have the given path")
    prefix_labels: list[PrefixLabel] | None
    nearest: list[NearProduct] | None
    views: list[ViewOpinion] | None
    margin: float | None = Field(description="of the code; the least over its levels")
    missing: list[str] | None = Field(description="columns or attributes that would tell more")


class FindingRow(Answer):
    """One suspicion about the label of one product, as the audit found it."""

    finding_id: str
    item_id: str
    text_hash: str
    issue: Issue
    given_path: Path | None
    suggested_paths: list[Path] | None = Field(description="the best first")
    suggested_p: list[float] | None
    p_wrong: float
    score: float | None
    cluster_fit: float | None
    priority: float
    evidence: Evidence | None
    semantic_id: str | None
    title: str | None
    description: str | None
    brand: str | None
    image: str | None
    popularity: float | None


class EventRow(Answer):
    """One thing that happened to a finding."""

    event_id: int
    audit: str
    finding_id: str
    item_id: str
    text_hash: str
    kind: str = Field(description="decision, carried, adjudication, undo, claim, release, exported, applied, reverted, stale, gold")
    by: str
    at: datetime
    verdict: Verdict | None
    path: Path | None
    note: str
    seconds: float | None
    p_shown: float | None
    arm: str | None
    batch: str
    bulk: str | None
    undoes: int | None
    until: datetime | None
    wants_second: bool


class CardResponse(Answer):
    """A finding as it stands now."""

    audit: str
    finding_id: str
    finding: FindingRow
    state: State
    version: int = Field(description="to be sent back with a decision")
    arm: Arm = Field(description="to be sent back with a decision")
    batch: str = Field(description="to be sent back with a decision")
    p_shown: float = Field(description="probability that the label is wrong, with what decisions have taught since")
    claimed_by: str | None
    claimed_until: datetime | None
    decisions: list[EventRow] = Field(description="those that stand; a second reviewer does not see the first one's")


class CardsResponse(Answer):
    """Findings that the caller holds now, or that were changed."""

    request_id: str
    cards: list[CardResponse]


class AuditListed(Answer):
    """An audit of the workspace."""

    audit: str
    created: str
    release: str
    products: int
    findings: int
    wrong: WrongLabels = Field(description="wrong labels as the audit estimates them, in products, with a 95% interval")
    states: dict[State, int] | None = Field(description="findings by state; null until somebody asks for the audit")


class AuditsResponse(Answer):
    """All audits, oldest first."""

    request_id: str
    audits: list[AuditListed]


class WrongEstimate(Answer):
    """How many labels are wrong, in products, with a 95% interval."""

    estimate: float
    low: float
    high: float
    found: int = Field(description="found wrong by decisions")
    open: float = Field(description="expected among the findings that are still open")
    unseen: float = Field(description="expected among products without a finding")


class DepartmentRow(Answer):
    """One department: wrong labels as they are estimated now, and how far its findings are reviewed."""

    name: str
    products: int
    findings: int
    reviewed: int
    wrong: WrongLabels


class Precision(Answer):
    """The share of judged findings whose label was wrong, with a 95% interval; null where nothing was judged."""

    reviewed: int
    wrong: int
    share: float | None
    low: float | None
    high: float | None


class StopLine(Answer):
    """So many wrong labels the next findings of the queue are expected to hold, with a 95% interval."""

    findings: int
    expected: float
    low: float
    high: float


class Agreement(Answer):
    """How far first and second reviewers agree; kappa is Cohen's, null where it cannot be told."""

    pairs: int
    same: int
    kappa: float | None


class ReviewerRow(Answer):
    """What one reviewer did; `seconds` is the median for one decision."""

    name: str
    decisions: int
    verdicts: dict[str, int]
    seconds: float | None


class SummaryResponse(Answer):
    """The figures of an audit and of its review."""

    manifest: AuditManifest
    findings: int
    reviewed: int
    states: dict[State, int] = Field(description="findings by state")
    wrong: WrongEstimate
    departments: list[DepartmentRow]
    ranked: Precision = Field(description="of what was reviewed by priority")
    random: Precision = Field(description="of what was drawn by chance")
    stop: StopLine = Field(description="what the next findings of the queue will hold")
    agreement: Agreement
    reviewers: list[ReviewerRow]


class CurvePoint(Answer):
    """After so many findings were reviewed, so many wrong labels were found, or are expected to be."""

    reviewed: int
    found: float
    low: float
    high: float
    expected: bool = Field(description="whether this lies ahead")


class CurveResponse(Answer):
    """Findings reviewed against wrong labels found."""

    audit: str
    points: list[CurvePoint]


class FindingsResponse(Answer):
    """A page of findings, by priority."""

    request_id: str
    audit: str
    total: int
    rows: list[CardResponse]


class FacetRow(Answer):
    """A value to filter by."""

    value: str
    findings: int
    waiting: int = Field(description="how many of them wait for a reviewer")


class FacetsResponse(Answer):
    """What findings can be filtered by, the most frequent first."""

    departments: list[FacetRow]
    issues: list[FacetRow]
    brands: list[FacetRow]


class PatternRow(Answer):
    """Findings that say the same."""

    pattern_id: str
    kind: str
    given_path: Path | None
    suggested_path: Path | None
    brand: str | None
    prefix: str | None
    products: int
    expected_wrong: float
    sentence: str
    findings: int
    open: int


class PatternsResponse(Answer):
    """A page of patterns, the worst first."""

    request_id: str
    audit: str
    patterns: list[PatternRow]


class PatternResponse(Answer):
    """A pattern, and some of its findings drawn by chance."""

    request_id: str
    pattern: PatternRow
    sample: list[CardResponse]


class BulkResponse(Answer):
    """What one action over a pattern did."""

    bulk: str = Field(description="to undo it by")
    decided: int
    passed_over: dict[str, int] = Field(description="reason: findings that were left alone")


class ConflictRow(Answer):
    """A finding on which reviewers contradict each other."""

    card: CardResponse
    decisions: list[EventRow]


class ConflictsResponse(Answer):
    """All conflicts of an audit."""

    request_id: str
    conflicts: list[ConflictRow]


class HistoryResponse(Answer):
    """A page of events, the latest first."""

    request_id: str
    events: list[EventRow]


class KnownPathRow(Answer):
    """A category of the catalog."""

    path: Path
    products: int


class PathsResponse(Answer):
    """Categories that were found, the best first."""

    paths: list[KnownPathRow]


class MarkedResponse(Answer):
    """How many findings were marked."""

    audit: str
    kind: str
    findings: int


class ReviewSettingsResponse(Answer):
    """How an audit is reviewed."""

    second_review_share: float
    random_share: float
    claim_minutes: float


def listed(manifest: AuditManifest, states: dict[State, int] | None) -> dict[str, object]:
    """An AuditListed."""
    return {
        "audit": manifest.audit, "created": manifest.created, "release": manifest.release, "products": manifest.products,
        "findings": manifest.findings, "wrong": manifest.wrong, "states": states,
    }  # fmt: skip
