"""jobs/train_retriever.py and jobs/evaluate_retriever.py, run as a user would on the sessions of the sample catalog."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from running import Done, Trained, kill_in_training
from safetensors.numpy import load_file

QUICK = (
    "interactions.ordered=false", "split.kind=users", "split.test_share=0.2", "model.width=32", "model.layers=1", "model.heads=2",
    "model.hidden=48", "training.cpus_per_worker=1", "training.epochs=6", "training.sessions_per_batch=16", "training.evaluations=3",
    "training.validation_cases=20",
)  # fmt: skip


@dataclass(frozen=True)
class Retrievers:
    """A workspace with generator@v0001, whose training was killed and went on, and cr@v0001."""

    workspace: Path
    sessions: Path
    generator: Done
    cr: Done


@pytest.fixture(scope="session")
def sessions(sample: Path) -> Path:
    return sample.parent / "facts" / "sessions"


def flags(kind: str, sessions: Path, workspace: Path) -> tuple[str, ...]:
    return ("--kind", kind, "--interactions", str(sessions), "--workspace", str(workspace), "--release", "precision@v0001")


def copy_of(trained: Trained, target: Path) -> Path:
    for folder in ("catalog", "embeddings", "releases"):
        shutil.copytree(trained.workspace / folder, target / folder)
    return target


@pytest.fixture(scope="session")
def retrievers(
    trained: Trained, sessions: Path, start_job: Callable[..., "subprocess.Popen[str]"], run_job: Callable[..., Done],
    tmp_path_factory: pytest.TempPathFactory,
) -> Retrievers:  # fmt: skip
    workspace = copy_of(trained, tmp_path_factory.mktemp("retrievers"))
    settings = (*QUICK, "training.checkpoint_every=5")
    killed = start_job("train_retriever", *flags("generator", sessions, workspace), settings=settings)
    kill_in_training(killed, workspace, checkpoints=1)
    assert not (workspace / "retrievers").exists(), "half a retriever is visible"
    generator = run_job("train_retriever", *flags("generator", sessions, workspace), settings=settings)
    assert generator.code == 0, generator.told
    cr = run_job("train_retriever", *flags("cr", sessions, workspace), settings=QUICK)
    assert cr.code == 0, cr.told
    return Retrievers(workspace, sessions, generator, cr)


def test_a_training_that_was_killed_comes_to_the_same_weights(
    retrievers: Retrievers, trained: Trained, run_job: Callable[..., Done], tmp_path: Path
) -> None:
    assert "going on from its last checkpoint" in retrievers.generator.told
    workspace = copy_of(trained, tmp_path / "undisturbed")
    job = run_job("train_retriever", *flags("generator", retrievers.sessions, workspace), settings=QUICK)
    assert job.code == 0, job.told
    assert "going on" not in job.told
    ours, theirs = (load_file(folder / "retrievers/generator/v0001/model.safetensors") for folder in (retrievers.workspace, workspace))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_array_equal(weight, theirs[name], err_msg=name)


@pytest.mark.parametrize("kind", ["generator", "cr"])
def test_a_retriever_is_published_as_the_contract_says(retrievers: Retrievers, kind: str) -> None:
    job, folder = getattr(retrievers, kind), retrievers.workspace / f"retrievers/{kind}/v0001"
    assert (job.result["retriever"], job.result["kind"], job.result["release"]) == (f"{kind}@v0001", kind, "precision@v0001")
    assert Path(job.result["path"]) == folder
    assert json.loads((folder.parent / "CURRENT").read_text()) == {"version": "v0001", "previous": None}
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "model.safetensors", "vocabulary"}
    card = json.loads((folder / "manifest.json").read_text())
    events = ds.dataset(retrievers.sessions).count_rows()
    counts = card["interactions"]["events"]
    assert counts["read"] == events == sum(counts.values()) - counts["read"]
    assert (card["release"], card["recipe"]["model"]["width"]) == ("precision@v0001", 32)
    assert 0 < card["parameters"]["embedding"] < card["parameters"]["all"]
    assert card["training"]["kept_step"] in dict(card["training"]["evaluations"])


def test_retrievers_are_held_against_controls_on_what_was_kept_apart(retrievers: Retrievers, run_job: Callable[..., Done]) -> None:
    job = run_job(
        "evaluate_retriever", "--retriever", "generator@current", "--retriever", "cr@v0001", "--interactions", str(retrievers.sessions),
        "--workspace", str(retrievers.workspace),
    )  # fmt: skip
    assert job.code == 0, job.told
    evaluation = json.loads((Path(job.result["path"]) / "evaluation.json").read_text())
    names = [each["name"] for each in evaluation["retrievers"]]
    assert names[:3] == ["generator", "cr", "union"]
    assert {"popularity", "item-item cosine", "text neighbours"} <= set(names)
    assert job.result["rows"]["cases"] == evaluation["cases"] > 20
    for each in evaluation["retrievers"]:
        assert 0 <= each["figures"]["recall@20"]["low"] <= each["figures"]["recall@20"]["value"] <= each["figures"]["recall@20"]["high"]
        assert {name: count for name, count in each["faults"].items() if name not in ("undefined", "results") and count} == {}, each["name"]
    assert Path(job.result["report"]).read_text().count("generator") > 3


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--release": "precision@v0009"}, "no release precision@v0009"),
        ({"--interactions": "nowhere.parquet"}, "--interactions nowhere.parquet"),
        ({"--recipe": "nothing"}, "--recipe nothing"),
        ({"--set": "training.epoch=3"}, "the nearest known one is 'training.epochs'"),
    ],
)
def test_what_is_wrong_with_the_flags_is_said(
    retrievers: Retrievers, run_job: Callable[..., Done], changed: dict[str, str], told: str
) -> None:
    asked = dict(zip(*[iter(flags("generator", retrievers.sessions, retrievers.workspace))] * 2, strict=True)) | changed
    job = run_job("train_retriever", *(word for pair in asked.items() for word in pair))
    assert job.code == 2
    assert told in " ".join(job.told.split())


def test_a_retriever_without_a_test_cannot_be_evaluated(retrievers: Retrievers, run_job: Callable[..., Done]) -> None:
    job = run_job(
        "evaluate_retriever", "--retriever", "missing@v0001", "--interactions", str(retrievers.sessions), "--workspace",
        str(retrievers.workspace),
    )  # fmt: skip
    assert job.code == 2
    assert "generator@v0001" in job.told
