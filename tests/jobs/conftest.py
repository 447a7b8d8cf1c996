"""Jobs as a user runs them, by their command lines, against the tests' Ray."""

import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from running import ROOT, SMALL, Done, Trained, job_command

from shelfcode.job.command import run_job as run_as_command
from shelfcode.sample.catalog import write_sample


@pytest.fixture(scope="session")
def job_environment(local_ray: None, s3: str) -> dict[str, str]:
    """Joins the tests' Ray instead of starting one a job; `s3` keeps its server up for jobs that want it."""
    import ray

    return {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}


@pytest.fixture(scope="session")
def run_job(local_ray: None, s3: str) -> Callable[..., Done]:
    """Run a job by its command line within this process, where Ray's workers are warm already."""

    def run(name: str, *flags: str, settings: tuple[str, ...] = ()) -> Done:
        out, told, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(told):
            patch.setattr(sys, "argv", job_command(name, *flags, settings=settings)[1:])
            try:
                run_as_command(importlib.import_module(name).main)
            except SystemExit as stop:
                code = int(stop.code or 0)
        lines = out.getvalue().strip().splitlines()
        return Done(code, json.loads(lines[-1]) if lines and code == 0 else {}, told.getvalue())

    return run


@pytest.fixture(scope="session")
def start_job(job_environment: dict[str, str]) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a job in a process of its own, as a user does; it joins the tests' Ray."""

    def start(name: str, *flags: str, settings: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        command = job_command(name, *flags, settings=settings)
        return subprocess.Popen(command, cwd=ROOT, env=job_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 products of the sample catalog."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, 1000, seed=1)
    return folder / "catalog"


@pytest.fixture(scope="session")
def trained(sample: Path, run_job: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A workspace with precision@v0001. Tests that publish there work on a copy."""
    workspace = tmp_path_factory.mktemp("trained")
    job = run_job("train_flavor", "--flavor", "precision", "--catalog", str(sample), "--workspace", str(workspace), settings=SMALL)
    assert job.code == 0, job.told
    return Trained(workspace, job)


@pytest.fixture(scope="session")
def warm(trained: Trained, sample: Path, run_job: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A copy of the workspace in which two workers trained precision@v0002 from precision@v0001, with decided labels and a few pairs of
    products that are taken together; it is held.
    """
    workspace = tmp_path_factory.mktemp("warm")
    labels = workspace / "labels.parquet"
    rows = ds.dataset(sample).to_table(columns=["item_id", "category_path"]).slice(0, 3).to_pylist()
    decided = [
        {"item_id": row["item_id"], "from_path": row["category_path"], "to_path": ["Decided", "By hand"], "verdict": verdict}
        for row, verdict in zip(rows, ("relabel", "exclude", "keep"), strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(decided), labels)
    one, two, three = (row["item_id"] for row in rows)
    engagement, ends = workspace / "bought.parquet", [(one, two), (two, three), (one, one), (one, "nobody's")]
    pq.write_table(pa.Table.from_pylist([{"item_id": left, "other_item_id": right} for left, right in ends]), engagement)
    for folder in ("catalog", "embeddings", "releases"):
        shutil.copytree(trained.workspace / folder, workspace / folder)
    settings = (*SMALL, "stability=warm", "training.seed=7", "training.workers=2")
    flags = ("--flavor", "precision", "--catalog", str(sample), "--workspace", str(workspace), "--hold", "--labels", str(labels))
    job = run_job("train_flavor", *flags, "--engagement", str(engagement), settings=settings)
    assert job.code == 0, job.told
    return Trained(workspace, job)
