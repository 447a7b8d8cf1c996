"""Audits of a workspace: immutable folders `audits/<audit>/`, whose manifest is written last."""

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

REPORT_FILE, PATTERNS_FILE, CATEGORIES_FILE = "report.html", "patterns.parquet", "categories.parquet"

PATTERNS = pa.schema([
    ("pattern_id", pa.string()), ("kind", pa.string()), ("given_path", pa.list_(pa.string())), ("suggested_path", pa.list_(pa.string())),
    ("brand", pa.string()), ("prefix", pa.string()), ("products", pa.int32()), ("expected_wrong", pa.float64()), ("sentence", pa.string()),
    ("finding_ids", pa.list_(pa.string())),
])  # fmt: skip
"""Findings that say the same: kind is path_pair, brand or prefix. The worst first; brand and prefix are null where they play no part."""

CATEGORIES = pa.schema([
    ("path", pa.list_(pa.string())), ("products", pa.int32()), ("expected_wrong", pa.float64()), ("wrong_low", pa.float64()),
    ("wrong_high", pa.float64()), ("issue", pa.string()), ("other_path", pa.list_(pa.string())), ("score", pa.float64()),
    ("sentence", pa.string()),
])  # fmt: skip
"""One row per leaf; where `issue` is overlap, incoherent or spelling, that is a suspicion about the category itself, and overlap and
spelling name the other one. A category with several has several rows; `issue` is null where there is none."""


class WrongLabels(BaseModel):
    """How many labels are wrong, estimated, with a 95% interval; in products."""

    model_config = ConfigDict(frozen=True)

    estimate: float
    low: float
    high: float


class DepartmentRecord(BaseModel):
    """What an audit says of one department: the first name of a path."""

    model_config = ConfigDict(frozen=True)

    name: str
    products: int
    findings: int
    wrong: WrongLabels


class AuditManifest(BaseModel):
    """What an audit says of itself.

    Attributes:
        audit: its name.
        release, beside: the release that was audited, and others whose views were heard too, such as discovery@v0001.
        products: of the release; `labelled` of them have a path.
        wrong: among the labelled products.
        issues: how many findings there are of each issue.
        labels: where decided labels came from; None without any.
        settings: of the audit.
        files: bytes of each file, by its path within the folder.
    """

    model_config = ConfigDict(frozen=True)

    audit: str
    created: str
    release: str
    beside: tuple[str, ...] = ()
    snapshot: str
    products: int
    labelled: int
    findings: int
    wrong: WrongLabels
    departments: tuple[DepartmentRecord, ...]
    issues: dict[str, int]
    labels: str | None = None
    settings: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    files: dict[str, int] = {}

    @property
    def folder(self) -> str:
        return audit_folder(self.audit)


def audit_folder(audit: str) -> str:
    return f"audits/{audit}"


def published_audits(workspace: Workspace) -> list[AuditManifest]:
    """All finished audits, oldest first."""
    names = [name for name in workspace.names("audits") if workspace.exists(f"{audit_folder(name)}/manifest.json")]
    return sorted((load_audit(workspace, name) for name in names), key=lambda audit: (audit.created, audit.audit))


def load_audit(workspace: Workspace, audit: str) -> AuditManifest:
    """The manifest of an audit.

    Raises:
        ShelfcodeError: there is no such audit, with a list of those there are; or its manifest is damaged.
    """
    path = f"{audit_folder(audit)}/manifest.json"
    if not audit or "/" in audit or not workspace.exists(path):
        names = workspace.names("audits")
        there = f"there are {', '.join(names)}" if names else "jobs/audit_catalog.py makes one"
        raise ShelfcodeError(f"no audit {audit[:100]!r} in {workspace.url}; {there}")
    return workspace.read_record(path, AuditManifest)


def read_findings(workspace: Workspace, audit: AuditManifest) -> pa.Table:
    """All findings of an audit, the first of the queue first."""
    parts = workspace.parts(f"{audit.folder}/findings")
    return pa.concat_tables(workspace.read_tables(parts)).sort_by([("priority", "descending")])


def publish_audit(workspace: Workspace, draft: str, manifest: AuditManifest) -> AuditManifest:
    """Move a complete draft, which holds findings/, patterns.parquet, categories.parquet and report.html, to the next free name.

    An audit is called after its release and a number: `precision-v0001-001`.

    Args:
        draft: folder within the workspace.
        manifest: its name and its files are set here.
    """
    stem = manifest.release.replace("@", "-")
    files = {file.path.removeprefix(f"{draft}/"): file.bytes for file in workspace.files(draft)}
    number = 1 + max((int(name.rpartition("-")[2]) for name in workspace.names("audits") if name.rpartition("-")[0] == stem), default=0)
    while not workspace.claim(f"audits/.{stem}-{number:03d}"):
        number += 1
    published = manifest.model_copy(update={"audit": f"{stem}-{number:03d}", "files": files})
    workspace.move_folder(draft, published.folder)
    workspace.write_json(f"{published.folder}/manifest.json", published.model_dump(mode="json"))
    return published
