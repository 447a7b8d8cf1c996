"""The report of an audit."""

from pathlib import Path

import pyarrow as pa
import pytest
from planted_audit import PlantedAudit, plant_audit

from shelfcode.audit.finding import FINDINGS
from shelfcode.audit.published_audit import CATEGORIES, CATEGORIES_FILE, PATTERNS, PATTERNS_FILE
from shelfcode.audit.report import expected_curve, report_html
from shelfcode.workspace import Workspace

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def planted(workspace: Workspace) -> PlantedAudit:
    return plant_audit(workspace, 120)


def page(workspace: Workspace, planted: PlantedAudit, findings: pa.Table) -> str:
    tables = (workspace.read_table(f"{planted.manifest.folder}/{name}") for name in (PATTERNS_FILE, CATEGORIES_FILE))
    return report_html(planted.manifest, findings, *tables)


def test_it_tells_how_many_labels_are_wrong_and_shows_the_first_findings(workspace: Workspace, planted: PlantedAudit) -> None:
    html = page(workspace, planted, planted.findings)
    assert f"{planted.manifest.wrong.estimate:,.0f}</div>" in html
    assert "Protein Bars" in html
    first = max(planted.findings.to_pylist(), key=lambda row: (row["issue"] in ("wrong_branch", "wrong_leaf"), row["priority"]))
    assert first["title"].replace("&", "&amp;").replace("'", "&#39;") in html
    assert "These two hold the same products" in html
    assert "sparse text" in html


def test_text_of_the_catalog_is_shown_as_text(workspace: Workspace, planted: PlantedAudit) -> None:
    rows = [
        {**row, "title": HOSTILE, "given_path": [HOSTILE], "evidence": {**row["evidence"], "reason": HOSTILE}}
        for row in planted.findings.to_pylist()
    ]
    html = page(workspace, planted, pa.Table.from_pylist(rows, FINDINGS))
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_an_audit_that_found_nothing_has_a_report(workspace: Workspace, planted: PlantedAudit) -> None:
    nothing = planted.manifest.model_copy(update={"findings": 0, "issues": {}, "departments": (), "products": 0, "labelled": 0})
    html = report_html(nothing, FINDINGS.empty_table(), PATTERNS.empty_table(), CATEGORIES.empty_table())
    assert "nothing was found" in html
    assert "There are none." in html


def test_the_curve_of_a_long_queue_has_few_points_and_ends_where_the_findings_do() -> None:
    ranks, expected = expected_curve(pa.chunked_array([[0.9] * 3000 + [0.1] * 2000]))
    assert len(ranks) <= 200
    assert (ranks[0], expected[0]) == (0, 0.0)
    assert (ranks[-1], round(expected[-1], 6)) == (5000, 2900.0)
