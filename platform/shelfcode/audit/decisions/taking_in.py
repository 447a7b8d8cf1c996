"""Copies a published audit into the store, in one transaction: findings, patterns and the catalog's categories."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa
import sqlalchemy as sa
from xxhash import xxh3_64_intdigest

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.database import Database
from shelfcode.audit.decisions.events import standing_columns
from shelfcode.audit.decisions.folding import Standing
from shelfcode.audit.decisions.tables import AUDITS, FINDINGS, PATHS, PATTERN_FINDINGS, PATTERNS, STANDINGS
from shelfcode.audit.decisions.text_columns import path_text, without_nulls
from shelfcode.audit.published_audit import CATEGORIES_FILE, PATTERNS_FILE, AuditManifest
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

ROWS_AT_ONCE = 1000

LONGEST_FILTER = 300
"""Characters of a brand or department that are kept to filter by; an index of PostgreSQL takes no long ones."""


def is_taken_in(connection: sa.Connection, manifest: AuditManifest) -> bool:
    """Whether the store has an audit.

    Raises:
        ShelfcodeError: it has another one of the same name.
    """
    row = connection.execute(sa.select(AUDITS).where(AUDITS.c.audit == manifest.audit)).first()
    if row is not None and AuditManifest.model_validate_json(row.manifest) != manifest:
        raise ShelfcodeError(
            f"the review store has an audit {manifest.audit} of another catalog, taken in from {row.workspace}: use a store of its own "
            "for each catalog (--review-store)"
        )
    return row is not None


def copy_audit(database: Database, connection: sa.Connection, workspace: Workspace, manifest: AuditManifest, now: datetime) -> int | None:
    """Copy an audit. None where another process was faster; otherwise its number in the store."""
    settings = ReviewSettings()
    row = {
        "audit": manifest.audit, "created": manifest.created, "workspace": workspace.url, "taken_in": now,
        "manifest": manifest.model_dump_json(), "first_finding": 0, "last_finding": -1, **vars(settings),
    }  # fmt: skip
    added = database.insert(AUDITS).values(row).on_conflict_do_nothing(index_elements=["audit"]).returning(AUDITS.c.audit_number)
    number = connection.execute(added).scalar()
    if number is None:
        is_taken_in(connection, manifest)
        return None
    finding_of = _copy_findings(connection, workspace, manifest, number)
    if finding_of:
        ends = {"first_finding": min(finding_of.values()), "last_finding": max(finding_of.values())}
        connection.execute(AUDITS.update().where(AUDITS.c.audit_number == number).values(ends))
    _copy_patterns(connection, workspace, manifest, number, finding_of)
    _copy_paths(connection, workspace, manifest, number)
    return int(number)


def _copy_findings(connection: sa.Connection, workspace: Workspace, manifest: AuditManifest, number: int) -> dict[str, int]:
    """Findings and their standings, all open; the row number of each finding_id."""
    finding_of: dict[str, int] = {}
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE findings IN SHARE ROW EXCLUSIVE MODE"))  # two audits at once must not number alike
    first = 1 + (connection.execute(sa.select(sa.func.max(FINDINGS.c.finding))).scalar() or 0)
    for rows in _batches(workspace.read_tables(workspace.parts(f"{manifest.folder}/findings"))):
        findings, standings = [], []
        for row in rows:
            finding = first + len(finding_of)
            if finding_of.setdefault(row["finding_id"], finding) != finding:
                raise ShelfcodeError(f"{manifest.folder} has two findings {row['finding_id']} (item_id {row['item_id']}): audit again")
            findings.append(_finding(row, finding, number))
            standings.append(_standing(row, finding, number))
        connection.execute(FINDINGS.insert(), findings)
        connection.execute(STANDINGS.insert(), standings)
    return finding_of


def _finding(row: dict[str, Any], finding: int, number: int) -> dict[str, Any]:
    suggested = row["suggested_paths"] or []
    return {
        "finding": finding, "audit_number": number, "finding_id": row["finding_id"], "item_id": without_nulls(row["item_id"]),
        "text_hash": row["text_hash"] or "", "given_path": path_text(row["given_path"] or []),
        "suggested_path": path_text(suggested[0]) if suggested else None, "content": msgspec.json.encode(row).decode(),
    }  # fmt: skip


def _standing(row: dict[str, Any], finding: int, number: int) -> dict[str, Any]:
    words = " ".join(filter(None, (row["title"], row["brand"], row["item_id"])))
    department = row["given_path"][0] if row["given_path"] else ""
    return {
        **standing_columns(Standing("open", 0)), "finding": finding, "audit_number": number, "issue": row["issue"],
        "department": without_nulls(department)[:LONGEST_FILTER], "brand": without_nulls(row["brand"])[:LONGEST_FILTER],
        "p_wrong": _number(row["p_wrong"]), "popularity": _number(row["popularity"]), "priority": _number(row["priority"]),
        "shuffle": xxh3_64_intdigest(f"shuffle {row['finding_id']}".encode()) / 2**64, "words": without_nulls(words).casefold(),
    }  # fmt: skip


def _copy_patterns(
    connection: sa.Connection, workspace: Workspace, manifest: AuditManifest, number: int, finding_of: dict[str, int]
) -> None:
    rows, members = [], []
    for place, row in enumerate(workspace.read_table(f"{manifest.folder}/{PATTERNS_FILE}").to_pylist()):
        named = {"audit_number": number, "pattern_id": row["pattern_id"]}
        listed = [finding_of[finding_id] for finding_id in dict.fromkeys(row["finding_ids"]) if finding_id in finding_of]
        members += [{**named, "finding": finding} for finding in listed]
        rows.append({**named, "place": place, "kind": row["kind"], "findings": len(listed), "content": _without_ids(row)})
    if rows:
        connection.execute(PATTERNS.insert(), rows)
    if members:
        connection.execute(PATTERN_FINDINGS.insert(), members)


def _without_ids(pattern: dict[str, Any]) -> str:
    return msgspec.json.encode({name: value for name, value in pattern.items() if name != "finding_ids"}).decode()


def _copy_paths(connection: sa.Connection, workspace: Workspace, manifest: AuditManifest, number: int) -> None:
    table = workspace.read_table(f"{manifest.folder}/{CATEGORIES_FILE}", columns=["path", "products"])
    products_of: dict[str, int] = {}
    for path, products in zip(table["path"].to_pylist(), table["products"].to_pylist(), strict=True):
        if path:
            products_of[path_text(path) or ""] = products or 0
    rows = [{"audit_number": number, "path": path, "products": products} for path, products in products_of.items()]
    if rows:
        connection.execute(PATHS.insert(), rows)


def _batches(tables: Iterator[pa.Table]) -> Iterator[list[dict[str, Any]]]:
    for table in tables:
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            if batch.num_rows:
                yield batch.to_pylist()


def _number(value: float | None) -> float:
    """A finite number: neither database sorts NaN as people expect."""
    return value if value is not None and value == value and abs(value) != float("inf") else 0.0
