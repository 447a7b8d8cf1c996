"""jobs/promote_release.py, run as its user would, on a copy of a trained release and two that differ from it in their figures."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from running import ROOT, Done, Trained

from shelfcode.job import screen
from shelfcode.versions import move_current
from shelfcode.workspace import Workspace

Promote = Callable[..., Done]


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    written = json.loads(path.read_text())
    change(written)
    path.write_text(json.dumps(written))


@pytest.fixture
def workspace(trained: Trained, tmp_path: Path) -> Path:
    """precision@v0001 to v0003, of which v0002 is current and v0003 is held; v0002 has fewer distinct IDs, they say."""
    folder = tmp_path / "releases/precision"
    for version in ("v0001", "v0002", "v0003"):
        shutil.copytree(trained.release, folder / version)
        edit(folder / version / "manifest.json", lambda manifest: manifest.update(version=version))  # noqa: B023
    edit(folder / "v0002/manifest.json", lambda manifest: manifest["metrics"].update(distinct_share=0.25))
    for version in ("v0001", "v0002"):
        move_current(Workspace(str(tmp_path)), "releases/precision", version, "published")
    return tmp_path


@pytest.fixture
def promote(workspace: Path, run_job: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> Promote:
    monkeypatch.setattr(screen, "console", Console(stderr=True, width=200))
    return lambda action, *flags: run_job("promote_release", action, "--workspace", str(workspace), *flags)


def current(workspace: Path) -> tuple[str, str | None]:
    written = json.loads((workspace / "releases/precision/CURRENT").read_text())
    return written["version"], written["previous"]


def rows_of(told: str) -> dict[str, list[str]]:
    """First cell of each row of the tables -> the other ones."""
    lines = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in told.splitlines() if line.startswith("│")]
    return {cells[0]: cells[1:] for cells in lines}


def test_all_releases_are_listed_and_the_current_one_is_marked(trained: Trained, workspace: Path, promote: Promote) -> None:
    job = promote("list")
    assert job.code == 0, job.told
    assert [(row["release"], row["current"]) for row in job.result["releases"]] == [
        ("precision@v0001", False), ("precision@v0002", True), ("precision@v0003", False),
    ]  # fmt: skip
    first, second, _ = job.result["releases"]
    assert first["metrics"] == trained.job.result["metrics"]
    assert second["metrics"]["distinct_share"] == 0.25
    assert first["rows"] == {"read": 1000, "coded": 1000, "rejected": 0}
    assert Path(second["path"]) == workspace / "releases/precision/v0002"
    cells = rows_of(job.told)
    assert {name: cells[f"precision@{name}"][0] for name in ("v0001", "v0002", "v0003")} == {"v0001": "", "v0002": "current", "v0003": ""}
    assert cells["precision@v0002"][2] == "1,000"
    assert cells["precision@v0002"][-1] == "0.2500"


def test_one_flavor_is_listed_or_refused(workspace: Path, promote: Promote) -> None:
    shutil.copytree(workspace / "releases/precision/v0001", workspace / "releases/mine/v0001")
    edit(workspace / "releases/mine/v0001/manifest.json", lambda manifest: manifest.update(flavor="mine"))
    assert len(promote("list").result["releases"]) == 4
    assert [row["release"] for row in promote("list", "--flavor", "mine").result["releases"]] == ["mine@v0001"]
    job = promote("list", "--flavor", "yours")
    assert job.code == 2
    assert "no release of yours" in job.told
    assert "mine@v0001, precision@v0001" in job.told


def test_an_empty_workspace_has_an_empty_list(tmp_path: Path, run_job: Callable[..., Done]) -> None:
    job = run_job("promote_release", "list", "--workspace", str(tmp_path / "nothing"))
    assert (job.code, job.result) == (0, {"releases": []})


def test_a_release_is_shown_with_the_moves_of_its_flavor(trained: Trained, promote: Promote) -> None:
    promote("promote", "--release", "precision@v0003")
    job = promote("show", "--release", "precision@v0001")
    assert job.code == 0, job.told
    manifest = json.loads((trained.release / "manifest.json").read_text())
    for field in ("created", "catalog", "parent", "embeddings", "rows", "metrics", "libraries"):
        assert job.result[field] == manifest[field]
    assert job.result["current"] is False
    assert [(move["why"], move["version"], move["previous"]) for move in job.result["history"]] == [
        ("published", "v0001", None), ("published", "v0002", "v0001"), ("promoted", "v0003", "v0002"),
    ]  # fmt: skip
    cells = rows_of(job.told)
    assert cells["rows coded"] == ["1,000"]
    assert cells["distinct_share"] == [f"{manifest['metrics']['distinct_share']:.4f}"]
    assert [cells[move["at"]] for move in job.result["history"]] == [["published", "v0001"], ["published", "v0002"], ["promoted", "v0003"]]
    assert promote("show", "--release", "precision").result["release"] == "precision@v0003"


def test_current_moves_to_a_release_and_back(workspace: Path, promote: Promote) -> None:
    there = promote("promote", "--release", "precision@v0003")
    assert there.code == 0, there.told
    assert current(workspace) == ("v0003", "v0002")
    assert (there.result["release"], there.result["previous"]) == ("precision@v0003", "v0002")
    assert {"path", "rows", "metrics"} <= there.result.keys()
    assert "precision@v0003 is current; before it was v0002" in there.told
    back = promote("rollback", "--flavor", "precision")
    assert back.code == 0, back.told
    assert current(workspace) == ("v0002", "v0003")
    assert (back.result["release"], back.result["previous"]) == ("precision@v0002", "v0003")
    assert len(list((workspace / "releases/precision/history").iterdir())) == 4


def test_a_damaged_release_is_not_promoted(workspace: Path, promote: Promote) -> None:
    part = next((workspace / "releases/precision/v0003/semantic_ids").iterdir())
    part.write_bytes(part.read_bytes()[:-100])
    job = promote("promote", "--release", "precision@v0003")
    assert job.code == 2
    assert job.result == {}
    assert f"{part} cannot be read" in job.told
    assert "CURRENT of precision was not moved" in job.told
    assert "Traceback" not in job.told
    assert current(workspace) == ("v0002", "v0001")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("show", "show needs --release"),
        ("promote", "promote needs --release"),
        ("promote --flavor precision", "promote needs --release"),
        ("rollback", "rollback needs --flavor"),
        ("rollback --flavor precision --release precision@v0001", "rollback takes no --release"),
        ("compare --release precision@v0001", "'compare' is not one of"),
        ("list --release precision@v0001", "list takes no --release"),
        ("promote --release precision", "precision does not say which release"),
        ("promote --release precision@v0042", "there are precision@v0001, precision@v0002, precision@v0003"),
        ("rollback --flavor yours", "CURRENT of yours was not moved"),
        ("delete", "'delete' is not one of"),
    ],
)
def test_what_is_missing_or_odd_is_named(words: str, told: str, workspace: Path, promote: Promote) -> None:
    job = promote(*words.split())
    assert job.code == 2
    assert told in " ".join(job.told.split())
    assert "Traceback" not in job.told
    assert current(workspace) == ("v0002", "v0001")


def test_no_ray_is_needed(workspace: Path) -> None:
    """A Ray that cannot be started is never asked for, and the last line on stdout is the result."""
    without_ray = "import ray, runpy; ray.init = None; runpy.run_path('jobs/promote_release.py', run_name='__main__')"
    flags = ("promote", "--release", "precision@v0003", "--workspace", str(workspace))
    done = subprocess.run(
        [sys.executable, "-c", without_ray, *flags], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["release"] == "precision@v0003"
    assert current(workspace) == ("v0003", "v0002")
