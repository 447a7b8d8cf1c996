"""What an audit consists of besides its findings: patterns, categories, report and manifest."""

from collections import Counter

import pyarrow as pa

from shelfcode.audit.audited_release import AuditedRelease
from shelfcode.audit.finding import FINDINGS
from shelfcode.audit.findings.categories import by_department, category_table, wrong_interval
from shelfcode.audit.findings.patterns import find_patterns, moves
from shelfcode.audit.findings.tally import Tally
from shelfcode.audit.published_audit import (
    CATEGORIES_FILE,
    PATTERNS_FILE,
    REPORT_FILE,
    AuditManifest,
    DepartmentRecord,
    WrongLabels,
)
from shelfcode.audit.report import report_html
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.parts import part_path
from shelfcode.versions import library_versions


def complete_audit(
    release: AuditedRelease, wrong: WrongLabels, tally: Tally, settings: AuditSettings, draft: str, created: str
) -> AuditManifest:
    """Write patterns, categories and report beside the findings of a draft, and give its manifest, which has no name yet.

    Args:
        wrong: how many of the labels are wrong.
    """
    workspace = release.workspace
    parts = workspace.parts(f"{draft}/findings")
    if not parts:  # readers expect a table, even of an audit that found nothing
        parts = [part_path(f"{draft}/findings", "000000")]
        workspace.write_table(parts[0], FINDINGS.empty_table())
    findings = pa.concat_tables(workspace.read_tables(parts))
    patterns = find_patterns(moves(findings, settings.pattern_p), settings.pattern_products)
    categories = category_table(tally, release.taxonomy.paths, release.spelled, wrong, settings)
    manifest = AuditManifest(
        audit="", created=created, release=release.manifest.name, beside=release.beside, snapshot=release.snapshot.folder,
        products=len(release), labelled=int(tally.products_P.sum()), findings=len(findings), wrong=wrong,
        departments=_departments(findings, tally, release, wrong), issues=dict(Counter(findings["issue"].to_pylist()).most_common()),
        labels=release.snapshot.labels.source if release.snapshot.labels else None, settings=settings.model_dump(mode="json"),
        libraries=library_versions(),
    )  # fmt: skip
    workspace.write_table(f"{draft}/{PATTERNS_FILE}", patterns)
    workspace.write_table(f"{draft}/{CATEGORIES_FILE}", categories)
    workspace.write_bytes(f"{draft}/{REPORT_FILE}", report_html(manifest, findings, patterns, categories).encode())
    return manifest


def _departments(findings: pa.Table, tally: Tally, release: AuditedRelease, wrong: WrongLabels) -> tuple[DepartmentRecord, ...]:
    """All departments with labelled products or findings, those with the most wrong labels first."""
    paths = release.taxonomy.paths
    shown = {name_key(path[0]): path[0] for path in paths}
    found = Counter(shown[name_key(path[0])] for path in findings["given_path"].to_pylist())
    products, expected, variance = (by_department(values, paths) for values in (tally.products_P, tally.expected_P, tally.variance_P))
    records = []
    for name in products:
        if products[name] or found[name]:
            low, high = wrong_interval(expected[name], variance[name], int(products[name]), wrong)
            about = WrongLabels(estimate=expected[name], low=low, high=high)
            records.append(DepartmentRecord(name=name, products=int(products[name]), findings=found[name], wrong=about))
    return tuple(sorted(records, key=lambda record: (-record.wrong.estimate, record.name)))
