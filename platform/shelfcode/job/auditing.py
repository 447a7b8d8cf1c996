"""Auditing a release from end to end: read, fitted, scored, found, published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shelfcode.audit.audited_release import check_release
from shelfcode.audit.findings.finding_rows import ShownColumns
from shelfcode.audit.findings.patterns import RELABELS
from shelfcode.audit.pipeline import AuditInput, complete, fit, open_audit, score, write_findings
from shelfcode.audit.published_audit import REPORT_FILE, AuditManifest, publish_audit, read_findings
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.decided_labels import read_decided_labels
from shelfcode.catalog.label_overlay import overlay_labels
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.errors import ShelfcodeError
from shelfcode.job.cluster import start_ray
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, show_lines, stage
from shelfcode.recipe_file import apply_overrides, validate_settings
from shelfcode.reporting.plots import shorten
from shelfcode.workspace import Workspace, new_run

IMAGE_COLUMNS, POPULARITY_COLUMNS = ("image", "image_url"), ("popularity",)
BEST = 3


@dataclass(frozen=True)
class PublishedAudit:
    """An audit just published."""

    workspace: Workspace
    manifest: AuditManifest

    @property
    def report(self) -> str:
        """Where the report is."""
        return self.workspace.address(f"{self.manifest.folder}/{REPORT_FILE}")

    def best(self, number: int = BEST) -> list[dict[str, Any]]:
        """The first findings of the queue that suggest another label."""
        findings = read_findings(self.workspace, self.manifest)
        return findings.filter(pc.is_in(findings["issue"], pa.array(sorted(RELABELS)))).slice(0, number).to_pylist()

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        manifest = self.manifest
        return {
            "audit": manifest.audit, "release": manifest.release, "with": list(manifest.beside),
            "path": self.workspace.address(manifest.folder), "report": self.report,
            "rows": {"products": manifest.products, "labelled": manifest.labelled, "findings": manifest.findings},
            "wrong": manifest.wrong.model_dump(), "issues": manifest.issues,
        }  # fmt: skip


def audit_release(
    release: str, workspace: str, beside: Sequence[str] = (), overrides: Sequence[str] = (), labels: str | None = None
) -> PublishedAudit:
    """Audit a release and publish what was found. What is wrong with the flags is said before a Ray is started.

    Args:
        release: precision@v0001, or precision@current.
        beside: releases of other flavors whose codes are heard, too.
        overrides: `key.sub=value` of any setting of the audit.
        labels: decided labels (catalog/decided_labels.py) to lay over the catalog of the release.

    Raises:
        ShelfcodeError: whatever the user can mend.
    """
    decided = read_decided_labels(labels) if labels else None
    settings = validate_settings(AuditSettings, apply_overrides({}, overrides), "settings of the audit")
    unopened = Workspace(workspace)
    manifest, others, snapshot = check_release(unopened, release, beside)
    columns = shown_columns(unopened, snapshot, settings)
    start_ray()
    run = new_run(f"audit-{manifest.flavor}")
    with open_workspace(workspace, run, run) as (opened, lease):
        folder = f"runs/{run}"
        try:
            if decided:
                with stage("laying the decided labels over the catalog"):
                    snapshot = overlay_labels(opened, snapshot, decided)
            audit = _audit(AuditInput(opened, manifest, tuple(others), snapshot, settings, columns), folder)
            lease.check()
            published = publish_audit(opened, f"{folder}/draft", audit)
        finally:
            opened.remove(folder)
        return PublishedAudit(opened, published)


def _audit(of: AuditInput, folder: str) -> AuditManifest:
    with stage("reading the release"):
        audit = open_audit(of, folder)
    if audit.products < of.manifest.rows.coded:
        say(
            f"{of.manifest.rows.coded - audit.products:,} products without a code in {' and '.join(o.name for o in of.others)} are left out"
        )
    with stage("fitting the auditor"):
        auditor, fitted = fit(audit)
    with stage("scoring", audit.products) as progress:
        score(audit, auditor, progress)
    with stage("finding", audit.products) as progress:
        tally = write_findings(audit, fitted, progress)
    with stage("patterns, categories and report"):
        return complete(audit, auditor, tally)


def shown_columns(workspace: Workspace, snapshot: Snapshot, settings: AuditSettings) -> ShownColumns:
    """The columns of a catalog with an image and a popularity.

    Raises:
        ShelfcodeError: the settings name a column that is not there, or one of no numbers.
    """
    schema = workspace.read_schema(snapshot.parts[0].path)
    for field, name in (("image_column", settings.image_column), ("popularity_column", settings.popularity_column)):
        if name is not None and name not in schema.names:
            there = ", ".join(column for column in schema.names if not column.startswith("_"))
            raise ShelfcodeError(f"--set {field}={name}: the catalog has no such column; it has {there}")
    image = settings.image_column or next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    popularity = settings.popularity_column or next((name for name in POPULARITY_COLUMNS if _is_number(schema, name)), None)
    if popularity is not None and not _is_number(schema, popularity):
        raise ShelfcodeError(
            f"--set popularity_column={popularity}: it holds {schema.field(popularity).type}, and a popularity is a number"
        )
    return ShownColumns(image, popularity)


def _is_number(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def show_audit(audit: PublishedAudit) -> None:
    """What an audit found, on stderr: how many labels are wrong, findings by issue, the first findings, where the report is."""
    manifest, wrong = audit.manifest, audit.manifest.wrong
    show_figures(
        f"findings of {manifest.audit}", {"findings": {issue: f"{count:,}" for issue, count in manifest.issues.items()}}, row="issue"
    )
    say(
        f"about {wrong.estimate:,.0f} of {manifest.labelled:,} labels are wrong ({wrong.estimate / max(1, manifest.labelled):.1%}; "
        f"95% interval {wrong.low:,.0f} to {wrong.high:,.0f}); {manifest.findings:,} findings"
    )
    for number, row in enumerate(audit.best(), start=1):
        title = f"{number}. {shorten(row['title'], 100)} ({row['item_id']})"
        to = f"{' > '.join(row['suggested_paths'][0])} ({row['suggested_p'][0]:.0%})"
        show_lines(
            title, [("is filed under", " > ".join(row["given_path"])), ("may belong under", to), ("because", row["evidence"]["reason"])]
        )
    say(f"report: {audit.report}")
