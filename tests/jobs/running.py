"""Running jobs as a user does, and reading what they left."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.dataset as ds

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "quantizer.codebook_sizes=[16, 32, 64, 64]", "quantizer.hidden_sizes=[64]", "quantizer.latent_size=32", "quantizer.kmeans_iterations=5",
    "training.steps=60", "training.batch_size=256", "training.cpus_per_worker=1", "training.checkpoint_every=20",
    "encoder.max_tokens=16", "encoder.rows_per_part=256", "encoder.cpus_per_actor=1", "encoder.actors_max=1",
    "encoder.backend=torch",  # int8 is built once a node, and the tests' node is new each time
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a job left behind: exit code, the JSON object of its last line, and what it told the user."""

    code: int
    result: dict[str, Any]
    told: str


def job_command(name: str, *flags: str, settings: tuple[str, ...] = ()) -> list[str]:
    """The command line of a job."""
    return [sys.executable, f"jobs/{name}.py", *flags, *(word for setting in settings for word in ("--set", setting))]


@dataclass(frozen=True)
class RayCluster:
    """A cluster of one node: the addresses to join it, of its dashboard, the port of its metrics, and where its logs lie."""

    address: str
    dashboard: str
    metrics_port: int
    folder: str


@dataclass(frozen=True)
class Trained:
    """A workspace whose first release is precision@v0001, and the job that made its last one."""

    workspace: Path
    job: Done

    @property
    def release(self) -> Path:
        return self.workspace / "releases/precision/v0001"


def kill_in_training(job: "subprocess.Popen[str]", workspace: Path, checkpoints: int) -> None:
    """Kill a job with `kill -9` as soon as its training has left so many checkpoints."""
    deadline = time.monotonic() + 900
    while len(list(workspace.glob("runs/*/train/checkpoint_*/state.pt"))) < checkpoints:
        assert job.poll() is None, f"training ended before it could be killed: {job.communicate()[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate()


def codes_of(folder: Path) -> dict[str, str]:
    """item_id -> semantic ID of a release's folder."""
    table = ds.dataset(folder / "semantic_ids").to_table(columns=["item_id", "semantic_id"])
    return dict(zip(table["item_id"].to_pylist(), table["semantic_id"].to_pylist(), strict=True))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for server in sockets:
            server.bind(("127.0.0.1", 0))
        return [int(server.getsockname()[1]) for server in sockets]


def wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until a server answers; fails when its process ends first."""
    while True:
        assert process.poll() is None, f"the server at {url} did not start"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)


@contextlib.contextmanager
def ray_cluster(cpus: int = 4, **environment: str) -> Iterator[RayCluster]:
    """A cluster that `ray start` made. All its ports are its own: by default two clusters on a machine share some."""
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port", "metrics-export-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie below it
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--num-cpus={cpus}",
        f"--temp-dir={folder}",
        "--disable-usage-stats",
    ]
    cluster = subprocess.Popen(
        [*command, *(f"--{name}={port}" for name, port in ports.items())],
        env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    dashboard = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        wait_until_it_answers(f"{dashboard}/api/version", cluster)
        yield RayCluster(f"127.0.0.1:{ports['port']}", dashboard, ports["metrics-export-port"], folder)
    finally:
        end_with_children(cluster)
        shutil.rmtree(folder, ignore_errors=True)


def end_with_children(process: "subprocess.Popen[Any]", seconds: float = 3) -> None:
    """End a process and all that it started; Ray alone would take half a minute for it."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=seconds)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()
