"""The tables of the review store, for SQLite and PostgreSQL alike. The migrations make them; a test compares the two."""

import sqlalchemy as sa

from shelfcode.audit.decisions.text_columns import UtcTime

METADATA = sa.MetaData()

# SQLite numbers rows by itself only where the key is called INTEGER.
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

AUDITS = sa.Table(
    "audits", METADATA,
    sa.Column("audit_number", sa.Integer, primary_key=True),
    sa.Column("audit", sa.Text, nullable=False, unique=True),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("taken_in", UtcTime, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("second_review_share", sa.Float, nullable=False),
    sa.Column("random_share", sa.Float, nullable=False),
    sa.Column("claim_minutes", sa.Float, nullable=False),
    # Rows of an audit's findings are numbered one after the other.
    sa.Column("first_finding", Number, nullable=False),
    sa.Column("last_finding", Number, nullable=False),
)  # fmt: skip

# What an audit found. Never changed.
FINDINGS = sa.Table(
    "findings", METADATA,
    sa.Column("finding", Number, primary_key=True),
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), nullable=False),
    sa.Column("finding_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("text_hash", sa.Text, nullable=False),
    sa.Column("given_path", sa.Text, nullable=False),
    sa.Column("suggested_path", sa.Text),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("audit_number", "finding_id", name="uq_findings_audit_number_finding_id"),
    sa.Index("ix_findings_finding_id", "finding_id"),
    sa.Index("ix_findings_item_id", "item_id"),
)  # fmt: skip

# What its events come to (folding.py), beside what the queue sorts and filters by.
STANDINGS = sa.Table(
    "standings", METADATA,
    sa.Column("finding", sa.ForeignKey("findings.finding"), primary_key=True, autoincrement=False),
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("arm", sa.Text),
    sa.Column("answer_event", Number),
    sa.Column("reviewers", sa.Text, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", UtcTime),
    sa.Column("claim_event", Number),
    sa.Column("claim_arm", sa.Text),
    sa.Column("claim_batch", sa.Text),
    sa.Column("department", sa.Text, nullable=False),
    sa.Column("issue", sa.Text, nullable=False),
    sa.Column("brand", sa.Text, nullable=False),
    sa.Column("p_wrong", sa.Double, nullable=False),
    sa.Column("popularity", sa.Double, nullable=False),
    sa.Column("priority", sa.Double, nullable=False),
    sa.Column("shuffle", sa.Double, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Index("ix_standings_priority", "audit_number", "priority", "finding"),
    sa.Index("ix_standings_queue", "audit_number", "state", "priority", "finding", "claimed_until"),
    sa.Index("ix_standings_department", "audit_number", "state", "department", "priority", "finding"),
    sa.Index("ix_standings_issue", "audit_number", "state", "issue", "priority", "finding"),
    sa.Index("ix_standings_brand", "audit_number", "state", "brand", "priority", "finding"),
    sa.Index("ix_standings_shuffle", "audit_number", "state", "shuffle"),
    sa.Index("ix_standings_claimed_by", "audit_number", "claimed_by", "claimed_until"),
)  # fmt: skip

# What happened. Rows are added, never changed nor removed.
EVENTS = sa.Table(
    "events", METADATA,
    sa.Column("event_id", Number, primary_key=True),
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), nullable=False),
    sa.Column("finding", sa.ForeignKey("findings.finding"), nullable=False),
    sa.Column("finding_id", sa.Text, nullable=False),
    sa.Column("item_id", sa.Text, nullable=False),
    sa.Column("text_hash", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("seconds", sa.Double),
    sa.Column("p_shown", sa.Double),
    sa.Column("arm", sa.Text),
    sa.Column("batch", sa.Text, nullable=False, default=""),
    sa.Column("bulk", sa.Text),
    sa.Column("undoes", sa.ForeignKey("events.event_id")),
    sa.Column("until", UtcTime),
    sa.Column("wants_second", sa.Boolean, nullable=False, default=False),
    sa.Index("ix_events_finding", "finding", "event_id"),
    sa.Index("ix_events_by", "audit_number", "by", "event_id"),
    sa.Index("ix_events_kind", "audit_number", "kind", "event_id"),
    sa.Index("ix_events_bulk", "bulk"),
    sa.Index("ix_events_undoes", "undoes"),
    sqlite_autoincrement=True,
)  # fmt: skip

# Every change that was asked for, by its idempotency key: the same one sent twice counts once.
REQUESTS = sa.Table(
    "requests", METADATA,
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("answer", sa.Text),
)  # fmt: skip

PATTERNS = sa.Table(
    "patterns", METADATA,
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), primary_key=True),
    sa.Column("pattern_id", sa.Text, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("findings", sa.Integer, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Index("ix_patterns_kind", "audit_number", "kind", "place"),
)  # fmt: skip

PATTERN_FINDINGS = sa.Table(
    "pattern_findings", METADATA,
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), primary_key=True),
    sa.Column("pattern_id", sa.Text, primary_key=True),
    sa.Column("finding", sa.ForeignKey("findings.finding"), primary_key=True),
    sa.Index("ix_pattern_findings_finding", "finding", "pattern_id"),
)  # fmt: skip

PATHS = sa.Table(
    "paths", METADATA,
    sa.Column("audit_number", sa.ForeignKey("audits.audit_number"), primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("products", sa.Integer, nullable=False),
)  # fmt: skip
