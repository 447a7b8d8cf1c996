"""Rows that could not be used, kept with the reason: rejected/<run>/part-*.parquet."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shelfcode.parts import part_path
from shelfcode.workspace import Workspace

REJECTED_SCHEMA = pa.schema([("item_id", pa.string()), ("stage", pa.string()), ("reason", pa.string()), ("row", pa.string())])


@dataclass(frozen=True)
class RejectedRow:
    """A row that was turned away, at which stage, and why."""

    item_id: str | None
    stage: str
    reason: str
    row: dict[str, Any]


def rejected_table(rows: Iterable[RejectedRow]) -> pa.Table:
    """Rejected rows as the contract's table; the row itself is kept as JSON text."""
    return pa.Table.from_pylist(
        [{"item_id": row.item_id, "stage": row.stage, "reason": row.reason, "row": row_json(row.row)} for row in rows], REJECTED_SCHEMA
    )


def row_json(row: dict[str, Any]) -> str:
    """A row as JSON text; bytes that are not UTF-8 show as replacement characters."""
    text = json.dumps(
        row, ensure_ascii=False, default=lambda value: value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    )
    return text.encode("utf-8", "replace").decode()


def write_rejected(workspace: Workspace, run: str, name: str, rows: Sequence[RejectedRow]) -> None:
    """Keep the rejected rows of one task under a name that is the same when the task runs again."""
    if rows:
        workspace.write_table(part_path(f"rejected/{run}", name), rejected_table(rows))


def count_reasons(rows: Iterable[RejectedRow]) -> Counter[str]:
    """How often each reason occurs, without what is particular to one row (after the colon)."""
    return Counter(row.reason.split(":", 1)[0] for row in rows)
