"""Jobs as a user runs them: in a process of their own, against the tests' Ray."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from running import ROOT, SMALL, Done, Trained, job_command

from shelfcode.catalog.sample import write_sample


@pytest.fixture(scope="session")
def job_environment(local_ray: None, s3: str) -> dict[str, str]:
    """Joins the tests' Ray instead of starting one a job; `s3` keeps its server up for jobs that want it."""
    import ray

    return {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}


@pytest.fixture(scope="session")
def run_job(job_environment: dict[str, str]) -> Callable[..., Done]:
    def run(name: str, *flags: str, settings: tuple[str, ...] = ()) -> Done:
        done = subprocess.run(
            job_command(name, *flags, settings=settings), cwd=ROOT, env=job_environment, capture_output=True, text=True, timeout=400
        )
        lines = done.stdout.strip().splitlines()
        return Done(done.returncode, json.loads(lines[-1]) if lines and done.returncode == 0 else {}, done.stderr)

    return run


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,500 products of the sample catalog."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, 1500, seed=1)
    return folder / "catalog"


@pytest.fixture(scope="session")
def trained(sample: Path, run_job: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    workspace = tmp_path_factory.mktemp("trained")
    job = run_job("train_flavor", "--flavor", "precision", "--catalog", str(sample), "--workspace", str(workspace), settings=SMALL)
    assert job.code == 0, job.told
    return Trained(workspace, job)
