"""jobs/evaluate_flavor.py, run as its user would."""

import json
from collections.abc import Callable
from pathlib import Path

from running import SMALL, Done, Trained


def test_an_evaluation_again_gives_the_published_figures(trained: Trained, run_job: Callable[..., Done]) -> None:
    job = run_job("evaluate_flavor", "--release", "precision@v0001", "--workspace", str(trained.workspace))
    assert job.code == 0, job.told
    assert job.result["metrics"] == trained.job.result["metrics"]
    published = json.loads((trained.release / "evaluation.json").read_text())
    assert json.loads((Path(job.result["path"]) / "evaluation.json").read_text()) == published


def test_two_releases_side_by_side(trained: Trained, sample: Path, run_job: Callable[..., Done]) -> None:
    settings = (*SMALL, "name=coarse", "quantizer.codebook_sizes=[8, 8]")
    other = run_job(
        "train_flavor", "--flavor", "precision", "--catalog", str(sample), "--workspace", str(trained.workspace), settings=settings
    )
    assert other.code == 0, other.told
    job = run_job("evaluate_flavor", "--release", "precision@v0001", "--against", "coarse", "--workspace", str(trained.workspace))
    assert job.code == 0, job.told
    assert job.result["metrics"] == trained.job.result["metrics"]
    assert job.result["metrics_against"] == other.result["metrics"]
    page = Path(job.result["comparison"]).read_text()
    assert "precision@v0001" in page
    assert "coarse@v0001" in page


def test_an_unknown_release_lists_the_known_ones(trained: Trained, run_job: Callable[..., Done]) -> None:
    job = run_job("evaluate_flavor", "--release", "precision@v0042", "--workspace", str(trained.workspace))
    assert job.code == 2
    assert "precision@v0001" in job.told
