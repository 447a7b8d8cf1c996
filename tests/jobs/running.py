"""Running jobs as a user does, and reading what they left."""

import contextlib
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
class Trained:
    """A workspace with one release of precision, and the job that made it."""

    workspace: Path
    job: Done

    @property
    def release(self) -> Path:
        return self.workspace / "releases/precision/v0001"


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
