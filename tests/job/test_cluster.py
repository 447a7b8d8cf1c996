"""The Ray that a job runs on."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from shelfcode.errors import ShelfcodeError
from shelfcode.job.cluster import has_gpu, start_ray

LIBRARY = Path(__file__).parents[2] / "platform"


@pytest.mark.parametrize(("resources", "there"), [({"CPU": 4.0}, False), ({"CPU": 4.0, "GPU": 2.0}, True), ({"GPU": 0.0}, False)])
def test_a_gpu_is_there_when_ray_has_one(resources: dict[str, float], there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    assert has_gpu() is there


REPORT = """
import sys, ray
from shelfcode.job.cluster import start_ray
start_ray(cpus=float(sys.argv[1]))
print(ray.get_runtime_context().gcs_address, ray.cluster_resources()["CPU"], flush=True)
if sys.stdin.readline():
    print(ray.get(ray.remote(lambda: "still here").remote()), flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def started(cpus: float = 0, **environment: str) -> Iterator[tuple[str, float, "subprocess.Popen[str]"]]:
    """Address and CPUs of the Ray that a job in a process of its own is on, and that process."""
    surroundings = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | environment
    command = [sys.executable, "-c", REPORT, str(cpus)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=LIBRARY, env=surroundings)
    try:
        address, cpus_there = process.stdout.readline().split()  # type: ignore[union-attr]
        yield address, float(cpus_there), process
    finally:
        if process.poll() is None:
            process.communicate()


def test_without_an_address_a_job_has_a_ray_of_its_own_and_with_one_it_joins(local_ray: None) -> None:
    """Beside the tests' Ray, which a job would have joined that looks around on its machine."""
    least = max(4, os.cpu_count() or 1)
    with started(cpus=least + 1.5) as (own, own_cpus, first), started() as (other, _, second):
        assert len({own, other, ray.get_runtime_context().gcs_address}) == 3
        assert own_cpus == least + 2
        with started(RAY_ADDRESS=other) as (joined, joined_cpus, _):
            assert (joined, joined_cpus) == (other, least)
        first.kill()
        first.wait()
        second.stdin.write("go on\n")  # type: ignore[union-attr]
        second.stdin.flush()  # type: ignore[union-attr]
        assert second.stdout.readline() == "still here\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("address", [None, "", "local"])
def test_local_is_a_ray_of_the_jobs_own_with_room_for_ray_data(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: options.update(given))
    monkeypatch.delenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", raising=False)
    start_ray()
    assert os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"
    assert options["address"] == "local"
    assert options["num_cpus"] == max(4, os.cpu_count() or 1)


def test_an_address_where_no_ray_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise ConnectionError

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ShelfcodeError, match=re.escape("RAY_ADDRESS=10.0.0.1:6379: no Ray answers there")):
        start_ray()
