"""What an audit consists of besides its findings."""

from pathlib import Path as Folder

import numpy as np
import pytest
from planted_audit import plant_audit
from scored_products import scored
from small_release import publish_release

from shelfcode.audit.audited_release import check_release, read_release
from shelfcode.audit.completion import complete_audit
from shelfcode.audit.findings.tally import take_tally
from shelfcode.audit.published_audit import CATEGORIES_FILE, PATTERNS_FILE, REPORT_FILE, WrongLabels, load_audit, publish_audit
from shelfcode.audit.settings import AuditSettings
from shelfcode.workspace import Workspace

CANDY, SPORTS, OTHER = ("Snacks", "Candy"), ("Health", "Sports Nutrition", "Protein Bars"), ("Snacks", "Other")


def test_a_draft_becomes_an_audit_that_can_be_loaded(tmp_path: Folder) -> None:
    workspace, settings = Workspace(str(tmp_path)), AuditSettings()
    planted = plant_audit(workspace, 40)
    publish_release(workspace, [CANDY] * 9 + [SPORTS] * 9 + [OTHER] * 2)
    release = read_release(workspace, *check_release(workspace, "small@current", []), settings)
    p = np.array([0.5] * 9 + [0.1] * 9 + [np.nan] * 2)
    tally = take_tally([scored(p.tolist(), (1 - p).tolist(), [[(0, 0.5), (1, 0.5)]] * 20)], release.label_N, 3, settings)
    ours = [row for row in planted.findings.to_pylist() if tuple(row["given_path"]) == CANDY]
    workspace.write_table("runs/x/draft/findings/part-000000.parquet", planted.findings.take([
        number for number, row in enumerate(planted.findings.to_pylist()) if row in ours
    ]))  # fmt: skip
    wrong = WrongLabels(estimate=5.4, low=4, high=8)
    draft = complete_audit(release, wrong, tally, settings, "runs/x/draft", "2026-02-03T04:05:06+00:00")
    audit = publish_audit(workspace, "runs/x/draft", draft)
    assert load_audit(workspace, audit.audit) == audit
    assert audit.audit == "small-v0001-001"
    assert (audit.products, audit.labelled, audit.findings, audit.labels) == (20, 18, len(ours), None)
    assert sum(audit.issues.values()) == len(ours)
    assert {each.name: (each.products, each.findings) for each in audit.departments} == {"Snacks": (9, len(ours)), "Health": (9, 0)}
    assert audit.departments[0].wrong.estimate == pytest.approx(4.5)
    assert audit.departments[0].wrong.low < 4.5 < audit.departments[0].wrong.high
    assert set(audit.files) == {"findings/part-000000.parquet", PATTERNS_FILE, CATEGORIES_FILE, REPORT_FILE}
    assert len(workspace.read_table(f"{audit.folder}/{CATEGORIES_FILE}")) == 2  # a placeholder is no category that could be wrong


def test_an_audit_that_found_nothing_has_a_table_of_findings(tmp_path: Folder) -> None:
    workspace, settings = Workspace(str(tmp_path)), AuditSettings()
    publish_release(workspace, [CANDY] * 5 + [SPORTS] * 5)
    release = read_release(workspace, *check_release(workspace, "small@current", []), settings)
    tally = take_tally([scored([0.0] * 10, [1.0] * 10, [[(0, 1.0)]] * 10)], release.label_N, 2, settings)
    draft = complete_audit(release, WrongLabels(estimate=0, low=0, high=1), tally, settings, "runs/x/draft", "2026-02-03T04:05:06+00:00")
    assert draft.findings == 0
    assert len(workspace.read_table("runs/x/draft/findings/part-000000.parquet")) == 0
