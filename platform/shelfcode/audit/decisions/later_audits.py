"""What a later audit says of decisions made before: which were applied, reverted or outdated, and which it takes over.

Labels and texts are compared with those of the snapshot that the later audit was made of; where that was swept, with its findings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from shelfcode.audit.decisions.decision import Verdict
from shelfcode.audit.decisions.events import NewEvent, add_events
from shelfcode.audit.decisions.folding import SETTLED
from shelfcode.audit.decisions.reading import ONE
from shelfcode.audit.decisions.tables import AUDITS, EVENTS, FINDINGS, STANDINGS
from shelfcode.audit.decisions.text_columns import path_of
from shelfcode.audit.published_audit import AuditManifest
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.catalog.snapshot import load_snapshot
from shelfcode.keys import text_hash
from shelfcode.workspace import Workspace

ROSE = 0.2
"""A label that was kept is asked about again once `p_wrong` is higher by so much than what the reviewer was shown."""

SHOWN = ("title", "description", "brand")
"""What a reviewer reads of a product."""

FINDINGS_AT_ONCE = 2000

CATALOG = "the catalog"
"""Who did what a later audit found out."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class Product:
    """A product as it is now: its label, and a hash of what a reviewer would read of it."""

    path: Path
    text: str


@dataclass(frozen=True)
class CatalogNow:
    """Products by their item_id; where it is `complete`, one that is missing is no longer in the catalog."""

    products: dict[str, Product]
    complete: bool


def items_decided_on(connection: sa.Connection, manifest: AuditManifest) -> set[str]:
    """The products of findings in earlier audits, unless all about them is outdated already."""
    query = sa.select(FINDINGS.c.item_id).select_from(ONE).where(
        STANDINGS.c.audit_number.in_(_earlier(connection, manifest)), STANDINGS.c.state != "stale"
    )  # fmt: skip
    return set(connection.execute(query.distinct()).scalars())


def catalog_now(workspace: Workspace, manifest: AuditManifest, wanted: set[str]) -> CatalogNow:
    """These products as the audit saw them."""
    if not wanted:
        return CatalogNow({}, complete=False)
    snapshot = load_snapshot(workspace, manifest.snapshot)
    if snapshot is None:
        tables = workspace.read_tables(workspace.parts(f"{manifest.folder}/findings"), ["item_id", "given_path", *SHOWN])
        renamed = (table.rename_columns(["item_id", "category_path", *SHOWN]) for table in tables)
        return CatalogNow(_products(renamed, wanted), complete=False)
    parts = [part.path for part in snapshot.parts]
    there = workspace.read_schema(parts[0]).names if parts else []
    columns = [name for name in ("item_id", "category_path", *SHOWN) if name in there]
    return CatalogNow(_products(workspace.read_tables(parts, columns), wanted), complete=True)


def _products(tables: Iterable[pa.Table], wanted: set[str]) -> dict[str, Product]:
    wanted_ids, products = pa.array(sorted(wanted), pa.string()), {}
    for table in tables:
        there = pc.is_in(table["item_id"].cast(pa.string()), wanted_ids)
        for row in table.filter(there).to_pylist():
            products[str(row["item_id"])] = Product(tuple(row.get("category_path") or ()), _read_of(row))
    return products


def _read_of(row: dict[str, Any]) -> str:
    return text_hash("\x1f".join(row.get(name) or "" for name in SHOWN))


def mark_earlier(connection: sa.Connection, manifest: AuditManifest, now: CatalogNow, at: datetime) -> None:
    """Note in earlier audits which findings the catalog has changed under."""
    if not now.products and not now.complete:
        return
    for number in _earlier(connection, manifest):
        last = -1
        while rows := _some_findings(connection, number, last):
            last = rows[-1].finding
            events = [_event(row, *change, manifest, at) for row in rows if (change := _change(row, now))]
            add_events(connection, number, events)


def _some_findings(connection: sa.Connection, number: int, after: int) -> Sequence[sa.Row[Any]]:
    query = (
        sa.select(STANDINGS, FINDINGS.c.finding_id, FINDINGS.c.item_id, FINDINGS.c.text_hash, FINDINGS.c.given_path, FINDINGS.c.content)
        .select_from(ONE)
        .where(STANDINGS.c.audit_number == number, STANDINGS.c.finding > after, STANDINGS.c.state != "stale")
        .order_by(STANDINGS.c.finding)
        .limit(FINDINGS_AT_ONCE)
        .with_for_update(of=STANDINGS)
    )
    return connection.execute(query).all()


def _change(row: sa.Row[Any], now: CatalogNow) -> tuple[str, str] | None:
    """What became of a finding: the kind of an event and a note; None where nothing did."""
    product = now.products.get(row.item_id)
    if product is None:
        return ("stale", "the product is no longer in the catalog") if now.complete else None
    exact = row.issue == "spelling"
    given, answer = path_of(row.given_path) or (), path_of(row.path)
    if row.verdict in ("accept", "relabel") and row.state in (*SETTLED, "reverted") and _same(product.path, answer or (), exact):
        return None if row.state == "applied" else ("applied", "")
    if not _same(product.path, given, exact):
        return "stale", f"its label is {' > '.join(product.path) or 'gone'} now"
    if row.state == "applied" and row.verdict in ("accept", "relabel"):
        return "reverted", "its label is what it was before"
    return ("stale", "its text changed") if product.text != _read_of(msgspec.json.decode(row.content)) else None


def _same(one: Path, other: Path, exact: bool) -> bool:
    """Whether two paths are one category; letter case and spaces count only where they are what the finding is about."""
    return one == other or (not exact and [name_key(name) for name in one] == [name_key(name) for name in other])


def take_over(connection: sa.Connection, number: int) -> None:
    """Take over answers that other audits have about the same text under the same label, so that nobody is asked twice.

    A label that was kept is asked about again where the first suggestion is another one by now, or the probability rose by ROSE.
    """
    new, old, standing, old_audit = FINDINGS.alias("new"), FINDINGS.alias("old"), STANDINGS.alias(), AUDITS.alias()
    p_new = sa.select(STANDINGS.c.p_wrong).where(STANDINGS.c.finding == new.c.finding).scalar_subquery()
    query = (
        sa.select(
            new.c.finding, new.c.finding_id, new.c.item_id, new.c.text_hash, new.c.suggested_path, p_new.label("p_new"),
            old.c.suggested_path.label("old_suggestion"), old_audit.c.audit, EVENTS.c.by, EVENTS.c.at, EVENTS.c.note, EVENTS.c.p_shown,
            EVENTS.c.arm, standing.c.verdict, standing.c.path,
        )
        .join(old, sa.and_(old.c.finding_id == new.c.finding_id, old.c.audit_number != new.c.audit_number))
        .join(standing, standing.c.finding == old.c.finding)
        .join(EVENTS, EVENTS.c.event_id == standing.c.answer_event)
        .join(old_audit, old_audit.c.audit_number == old.c.audit_number)
        .where(new.c.audit_number == number, standing.c.state.in_(SETTLED), standing.c.verdict != "unsure")
        .order_by(standing.c.answer_event)
    )  # fmt: skip
    rows: list[Any] = list(connection.execute(query))
    latest: dict[int, Any] = {row.finding: row for row in rows}
    add_events(connection, number, [_carried(row) for row in latest.values() if _still_says(row)])


def _still_says(row: sa.Row[Any]) -> bool:
    kept = row.verdict in ("keep", "code_wrong")
    return not kept or (row.suggested_path == row.old_suggestion and (row.p_shown is None or row.p_new - row.p_shown < ROSE))


def _carried(row: sa.Row[Any]) -> NewEvent:
    verdict: Verdict = row.verdict
    note = row.note if row.note.startswith("in ") else f"in {row.audit}: {row.note}".rstrip(": ")
    return NewEvent(
        row.finding, row.finding_id, row.item_id, row.text_hash, "carried", row.by, row.at, verdict=verdict, path=path_of(row.path),
        note=note, p_shown=row.p_shown, arm=row.arm,
    )  # fmt: skip


def _event(row: sa.Row[Any], kind: str, note: str, manifest: AuditManifest, at: datetime) -> NewEvent:
    told = f"{note} ({manifest.audit})" if note else f"seen by {manifest.audit}"
    return NewEvent(row.finding, row.finding_id, row.item_id, row.text_hash, kind, CATALOG, at, note=told)


def _earlier(connection: sa.Connection, manifest: AuditManifest) -> list[int]:
    """Numbers of the audits before this one."""
    rows = connection.execute(sa.select(AUDITS.c.audit_number, AUDITS.c.created, AUDITS.c.audit)).all()
    return [row.audit_number for row in rows if (row.created, row.audit) < (manifest.created, manifest.audit)]
