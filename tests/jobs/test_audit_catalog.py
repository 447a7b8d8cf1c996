"""jobs/audit_catalog.py, run as its user would."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from running import Done, Trained

import shelfcode
from shelfcode.audit.finding import FINDINGS, finding_id
from shelfcode.audit.published_audit import CATEGORIES, CATEGORIES_FILE, PATTERNS, PATTERNS_FILE, REPORT_FILE, load_audit
from shelfcode.workspace import Workspace

QUICK = ("scoring.folds=2",)


@pytest.fixture(scope="module")
def audited(trained: Trained, run_job: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Done]:
    """A copy of the trained workspace with an audit of its release."""
    folder = tmp_path_factory.mktemp("audited")
    for name in ("catalog", "embeddings", "releases"):
        shutil.copytree(trained.workspace / name, folder / name)
    job = run_job("audit_catalog", "--release", "precision@current", "--workspace", str(folder), settings=QUICK)
    assert job.code == 0, job.told
    return Workspace(str(folder)), job


def unjudged(workspace: Workspace, snapshot: str) -> set[str]:
    """Products whose label fewer than three have."""
    table = ds.dataset(f"{workspace.url}/{snapshot}", exclude_invalid_files=True).to_table(columns=["item_id", "category_path"])
    rows = table.to_pylist()
    of_path = Counter(tuple(row["category_path"]) for row in rows)
    return {row["item_id"] for row in rows if of_path[tuple(row["category_path"])] < 3}


def test_an_audit_finds_what_the_sample_catalog_has_misfiled(audited: tuple[Workspace, Done], sample: Path) -> None:
    workspace, job = audited
    audit = load_audit(workspace, job.result["audit"])
    assert (audit.audit, audit.release, job.result["path"]) == ("precision-v0001-001", "precision@v0001", workspace.address(audit.folder))
    assert job.result["rows"] == {"products": 1000, "labelled": audit.labelled, "findings": audit.findings}
    assert 800 < audit.labelled < 1000  # the others have labels that hardly any other product has
    assert {file.path for file in workspace.files(audit.folder)} == {f"{audit.folder}/{name}" for name in (*audit.files, "manifest.json")}
    assert not workspace.names("runs")
    assert workspace.read_schema(f"{audit.folder}/{PATTERNS_FILE}").equals(PATTERNS)
    assert workspace.read_schema(f"{audit.folder}/{CATEGORIES_FILE}").equals(CATEGORIES)

    findings = shelfcode.load_audit(workspace.url, audit.audit).findings
    assert findings.schema.equals(FINDINGS)
    rows = findings.to_pylist()
    assert len({row["finding_id"] for row in rows}) == len({row["item_id"] for row in rows}) == audit.findings
    assert all(row["finding_id"] == finding_id(row["item_id"], row["text_hash"], row["given_path"]) for row in rows)
    assert all(0 <= row["p_wrong"] <= 1 and 0 <= row["cluster_fit"] <= 1 and row["evidence"]["reason"].endswith(".") for row in rows)
    assert all(row["given_path"] not in row["suggested_paths"] for row in rows)

    misfiled = set(ds.dataset(sample.parent / "facts/misfiled").to_table()["item_id"].to_pylist()) - unjudged(workspace, audit.snapshot)
    first = {row["item_id"] for row in rows[: 2 * len(misfiled)]}
    assert len(first & misfiled) > 0.6 * len(misfiled)
    assert "Labels that are wrong" in (Path(job.result["path"]) / REPORT_FILE).read_text()
    told = " ".join(job.told.split())
    assert f"of {audit.labelled:,} labels are wrong" in told
    assert any(row["item_id"] in told for row in rows[:3])


def test_flags_that_cannot_be_meant_are_refused_and_nothing_is_published(
    audited: tuple[Workspace, Done], run_job: Callable[..., Done]
) -> None:
    workspace, _ = audited

    def refused(*flags: str, settings: tuple[str, ...] = (), release: str = "precision@current") -> str:
        job = run_job("audit_catalog", "--release", release, "--workspace", workspace.url, *flags, settings=settings)
        assert job.code == 2, job.told
        return " ".join(job.told.split())

    assert "'p_min'" in refused(settings=("p_mni=0.1",))
    assert "the catalog has no such column; it has item_id, title" in refused(settings=("image_column=picture",))
    assert "popularity is a number" in refused(settings=("popularity_column=title",))
    assert "an audit hears one release of a flavor" in refused("--with", "precision@v0001")
    assert "no release discovery@current" in refused("--with", "discovery@current")
    assert "precision@v0001" in refused(release="precision@v0042")
    assert workspace.names("audits") == ["precision-v0001-001"]
