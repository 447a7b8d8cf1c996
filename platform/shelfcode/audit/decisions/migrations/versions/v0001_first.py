"""The first version of the review store."""

import sqlalchemy as sa
from alembic import op

from shelfcode.audit.decisions.text_columns import UtcTime

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audits",
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("audit", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("taken_in", UtcTime, nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("second_review_share", sa.Float(), nullable=False),
        sa.Column("random_share", sa.Float(), nullable=False),
        sa.Column("claim_minutes", sa.Float(), nullable=False),
        sa.Column("first_finding", NUMBER, nullable=False),
        sa.Column("last_finding", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("audit_number"),
        sa.UniqueConstraint("audit"),
    )
    op.create_table(
        "requests",
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("idempotency_key"),
    )
    op.create_table(
        "findings",
        sa.Column("finding", NUMBER, nullable=False),
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=False),
        sa.Column("given_path", sa.Text(), nullable=False),
        sa.Column("suggested_path", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.PrimaryKeyConstraint("finding"),
        sa.UniqueConstraint("audit_number", "finding_id", name="uq_findings_audit_number_finding_id"),
    )
    op.create_index("ix_findings_finding_id", "findings", ["finding_id"], unique=False)
    op.create_index("ix_findings_item_id", "findings", ["item_id"], unique=False)
    op.create_table(
        "paths",
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("products", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.PrimaryKeyConstraint("audit_number", "path"),
    )
    op.create_table(
        "patterns",
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("pattern_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.PrimaryKeyConstraint("audit_number", "pattern_id"),
    )
    op.create_index("ix_patterns_kind", "patterns", ["audit_number", "kind", "place"], unique=False)
    op.create_table(
        "events",
        sa.Column("event_id", NUMBER, nullable=False),
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("finding", NUMBER, nullable=False),
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("p_shown", sa.Double(), nullable=True),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("bulk", sa.Text(), nullable=True),
        sa.Column("undoes", NUMBER, nullable=True),
        sa.Column("until", UtcTime, nullable=True),
        sa.Column("wants_second", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.ForeignKeyConstraint(
            ["finding"],
            ["findings.finding"],
        ),
        sa.ForeignKeyConstraint(
            ["undoes"],
            ["events.event_id"],
        ),
        sa.PrimaryKeyConstraint("event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_bulk", "events", ["bulk"], unique=False)
    op.create_index("ix_events_by", "events", ["audit_number", "by", "event_id"], unique=False)
    op.create_index("ix_events_finding", "events", ["finding", "event_id"], unique=False)
    op.create_index("ix_events_kind", "events", ["audit_number", "kind", "event_id"], unique=False)
    op.create_index("ix_events_undoes", "events", ["undoes"], unique=False)
    op.create_table(
        "pattern_findings",
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("pattern_id", sa.Text(), nullable=False),
        sa.Column("finding", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.ForeignKeyConstraint(
            ["finding"],
            ["findings.finding"],
        ),
        sa.PrimaryKeyConstraint("audit_number", "pattern_id", "finding"),
    )
    op.create_index("ix_pattern_findings_finding", "pattern_findings", ["finding", "pattern_id"], unique=False)
    op.create_table(
        "standings",
        sa.Column("finding", NUMBER, autoincrement=False, nullable=False),
        sa.Column("audit_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("arm", sa.Text(), nullable=True),
        sa.Column("answer_event", NUMBER, nullable=True),
        sa.Column("reviewers", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", UtcTime, nullable=True),
        sa.Column("claim_event", NUMBER, nullable=True),
        sa.Column("claim_arm", sa.Text(), nullable=True),
        sa.Column("claim_batch", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("issue", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("p_wrong", sa.Double(), nullable=False),
        sa.Column("popularity", sa.Double(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("shuffle", sa.Double(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_number"],
            ["audits.audit_number"],
        ),
        sa.ForeignKeyConstraint(
            ["finding"],
            ["findings.finding"],
        ),
        sa.PrimaryKeyConstraint("finding"),
    )
    op.create_index("ix_standings_brand", "standings", ["audit_number", "state", "brand", "priority", "finding"], unique=False)
    op.create_index("ix_standings_claimed_by", "standings", ["audit_number", "claimed_by", "claimed_until"], unique=False)
    op.create_index("ix_standings_department", "standings", ["audit_number", "state", "department", "priority", "finding"], unique=False)
    op.create_index("ix_standings_issue", "standings", ["audit_number", "state", "issue", "priority", "finding"], unique=False)
    op.create_index("ix_standings_priority", "standings", ["audit_number", "priority", "finding"], unique=False)
    op.create_index("ix_standings_queue", "standings", ["audit_number", "state", "priority", "finding", "claimed_until"], unique=False)
    op.create_index("ix_standings_shuffle", "standings", ["audit_number", "state", "shuffle"], unique=False)
