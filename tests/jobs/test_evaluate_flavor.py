"""jobs/evaluate_flavor.py, run as its user would."""

import json
from collections.abc import Callable
from pathlib import Path

from running import Done, Trained


def test_an_evaluation_again_gives_the_published_figures(trained: Trained, run_job: Callable[..., Done]) -> None:
    job = run_job("evaluate_flavor", "--release", "precision@v0001", "--workspace", str(trained.workspace))
    assert job.code == 0, job.told
    assert job.result["metrics"] == trained.job.result["metrics"]
    assert "behavioural_alignment" not in job.result
    assert "Behavioural alignment" not in (Path(job.result["path"]) / "report.html").read_text()
    published = json.loads((trained.release / "evaluation.json").read_text())
    assert json.loads((Path(job.result["path"]) / "evaluation.json").read_text()) == published


def lifts(job: Done, side: str) -> list[float]:
    (relation,) = job.result[f"behavioural_alignment{side}"]["relations"]
    return [depth["lift"] for depth in relation["depths"]]


def test_two_releases_side_by_side(trained: Trained, warm: Trained, sample: Path, run_job: Callable[..., Done]) -> None:
    flags = ("--release", "precision@v0001", "--against", "precision@v0002", "--workspace", str(warm.workspace))
    job = run_job("evaluate_flavor", *flags, "--pairs", str(sample.parent / "facts/substitutes"))
    assert job.code == 0, job.told
    assert job.result["metrics"] == trained.job.result["metrics"]
    assert job.result["metrics_against"] == warm.job.result["metrics"]
    page = Path(job.result["comparison"]).read_text()
    assert "precision@v0001" in page
    assert "precision@v0002" in page
    (ratio,) = job.result["lift_ratio"]
    assert [depth["depth"] for depth in ratio["depths"]] == [1, 2, 3, 4]
    for depth, a, b in zip(ratio["depths"], *(lifts(job, side) for side in ("", "_against")), strict=False):
        assert (depth["lift_a"], depth["lift_b"]) == (a, b)
        assert depth["ratio_low"] <= depth["ratio"] <= depth["ratio_high"]
    assert f"substitute</td><td>L{len(ratio['depths'])}</td>" in page
    assert "Behavioural alignment" not in (warm.release / "report.html").read_text()


def test_a_release_is_held_against_pairs_that_belong_together(trained: Trained, sample: Path, run_job: Callable[..., Done]) -> None:
    facts, workspace = str(sample.parent / "facts"), str(trained.workspace)
    job = run_job("evaluate_flavor", "--release", "precision@v0001", "--workspace", workspace, "--pairs", facts)
    assert job.code == 0, job.told
    found = {relation["relation"]: relation for relation in job.result["behavioural_alignment"]["relations"]}
    assert list(found) == ["complement", "substitute", "query_EE", "query_ES", "query_EC", "query_EI", "same_basket"]
    assert found["substitute"]["depths"][0]["lift_low"] > 3
    assert job.result["behavioural_alignment"]["passed_over"] == ["attributes", "misfiled"]
    folder = Path(job.result["path"])
    assert json.loads((folder / "behavioural_alignment.json").read_text()) == job.result["behavioural_alignment"]
    assert "Behavioural alignment" in (folder / "report.html").read_text()
    assert "substitute L1" in job.told

    missing = run_job("evaluate_flavor", "--release", "precision@v0001", "--workspace", workspace, "--pairs", f"{facts}/nothing")
    assert missing.code == 2
    assert "does not exist" in missing.told


def test_an_unknown_release_lists_the_known_ones(trained: Trained, run_job: Callable[..., Done]) -> None:
    job = run_job("evaluate_flavor", "--release", "precision@v0042", "--workspace", str(trained.workspace))
    assert job.code == 2
    assert "precision@v0001" in job.told
