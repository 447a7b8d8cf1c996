"""How paths and times stand in columns of either database."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcTime(sa.TypeDecorator[datetime]):
    """A time in UTC: TIMESTAMP WITH TIME ZONE in PostgreSQL, text that sorts by time in SQLite, which knows no time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def path_text(path: Sequence[str] | None) -> str | None:
    """A path as a JSON list. Equal paths are equal texts."""
    return None if path is None else json.dumps(list(path), ensure_ascii=False)


def path_of(text: Any) -> tuple[str, ...] | None:
    return None if text is None else tuple(json.loads(text))


def without_nulls(text: str | None) -> str:
    """A text that PostgreSQL can hold: it knows no character 0."""
    return (text or "").replace("\0", "�")
