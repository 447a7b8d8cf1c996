"""jobs/evaluate_retriever.py on impressions. What it asks retrievers is tested where they are trained."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from running import Done

import evaluate_retriever
from shelfcode.interactions.impressions import Chosen, Shown, chosen_table, shown_table, write_impressions
from shelfcode.job.command import run_job
from shelfcode.workspace import Workspace

AT = datetime(2026, 1, 31, tzinfo=UTC)


def run(*flags: str) -> Done:
    """The job by its command line, within this process; it starts no Ray."""
    out, told, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(told):
        patch.setattr(sys, "argv", ["evaluate_retriever.py", *flags])
        try:
            run_job(evaluate_retriever.main)
        except SystemExit as stop:
            code = int(stop.code or 0)
    lines = out.getvalue().strip().splitlines()
    return Done(code, json.loads(lines[-1]) if lines and code == 0 else {}, told.getvalue())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """200 users at a surface that is split, of whom each fourth chooses, and some at one that is not."""
    workspace = Workspace(str(tmp_path / "workspace"))
    shown, chosen = [], []
    for number in range(240):
        side, share = ("cr", 0.25) if number % 4 == 1 else ("generator", 0.75)
        surface, side, share = ("cart", side, share) if number < 200 else ("aisle", "generator", 1.0)
        shown.append(Shown(f"r{number}", surface, AT, side, share, ("a", "b"), (2.0, 1.0), (side, side), user_id=f"u{number}"))
        if number % 8 < 2:
            chosen.append(Chosen(f"r{number}", ("b",), AT, surface))
    write_impressions(workspace, pa.concat_tables([shown_table(shown), chosen_table(chosen)]))
    return workspace


def test_the_sides_of_a_split_are_compared_and_the_page_is_written(workspace: Workspace) -> None:
    job = run("--impressions", f"{workspace.url}/impressions", "--workspace", workspace.url)
    assert job.code == 0, job.told
    assert job.result["rows"] == {"requests": 240, "repeated": 0, "chosen": 60, "unshown": 0, "elsewhere": 0}
    assert job.result["metrics"]["cart"]["cr"]["hit"] == pytest.approx(0.5)
    assert job.result["metrics"]["cart"]["generator"]["hit/self_normalised"] == pytest.approx(25 / 150)
    assert set(job.result["metrics"]["aisle"]) == {"generator"}
    kept = json.loads((Path(job.result["path"]) / "evaluation.json").read_text())
    assert [each["surface"] for each in kept["surfaces"]] == ["aisle", "cart"]
    assert "self-normalised" in Path(job.result["report"]).read_text()
    for said in ("cr over generator", "surface aisle is not compared", "carry-over", "hit rate, by inverse propensity", "report: "):
        assert said in job.told, said


def test_without_a_workspace_nothing_is_written_and_what_cannot_be_compared_is_an_error(workspace: Workspace) -> None:
    job = run("--impressions", f"{workspace.url}/impressions/*/*.parquet", "--clip", "2")
    assert job.code == 0, job.told
    assert "path" not in job.result
    assert "were clipped at 2" in job.told
    assert workspace.names("") == ["impressions"]
    alone = Workspace(f"{workspace.url}-alone")
    write_impressions(alone, shown_table([Shown("r", "cart", AT, "cr", 1.0, ("a",), (1.0,), ("cr",))]))
    job = run("--impressions", f"{alone.url}/impressions")
    assert job.code == 2
    assert "error: surface 'cart': every list is by cr" in job.told
    assert "as shown" in job.told  # it is described all the same


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--retriever and --interactions and --workspace missing"),
        (["--retriever", "cr@v0001", "--workspace", "ws"], "--interactions missing"),
        (["--impressions", "x", "--retriever", "cr@v0001", "--cases", "y"], "so --retriever and --cases cannot be given with it"),
        (["--impressions", "nowhere"], "--impressions nowhere: there is nothing there"),
    ],
)
def test_what_is_wrong_with_the_flags_is_said(flags: list[str], told: str) -> None:
    job = run(*flags)
    assert job.code == 2
    assert told in job.told
