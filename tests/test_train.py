"""A training in Ray Train goes on where it stopped, gives the state that it ended with, and has a folder of its own."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from shelfcode.optimisation import Worker
from shelfcode.train import fit_in_ray, has_checkpoint, report_state, resume, run_folder
from shelfcode.workspace import Workspace

STEPS = 4


@dataclass(frozen=True)
class Two:
    """Settings of two workers."""

    workers: int = 2
    cpus_per_worker: int = 1
    use_gpu: bool = False
    max_failures: int = 1


@dataclass
class Counting:
    """A training that writes down its steps."""

    step: int = 0
    seen: tuple[int, ...] = ()

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "seen": torch.tensor(self.seen)}

    def load(self, state: dict[str, Any]) -> None:
        self.step, self.seen = state["step"], tuple(state["seen"].tolist())


def count_up(folder: Path, worker: Worker) -> None:
    """Breaks down once, after the second step."""
    state = Counting()
    resumed = resume(state, worker, STEPS)
    (
        folder / f"{worker.rank} of {worker.world_size}, {torch.get_num_threads()} thread, from {state.step if resumed else 'the start'}"
    ).touch()
    while state.step < STEPS:
        state.step, state.seen = state.step + 1, (*state.seen, state.step + 1)
        report_state(state, worker, {"loss": 0.0})
        if state.step == 2 and not resumed:
            raise RuntimeError("broken down")


@pytest.mark.usefixtures("local_ray")
def test_a_run_that_breaks_down_goes_on_from_its_last_checkpoint_on_every_worker(tmp_path: Path) -> None:
    workspace, told = Workspace(str(tmp_path / "ws")), tmp_path / "told"
    told.mkdir()
    folder = run_folder("counting", b"all")
    assert not has_checkpoint(workspace, folder)
    state = fit_in_ray(partial(count_up, told), Two(), workspace, folder)
    assert (state["step"], state["seen"].tolist()) == (4, [1, 2, 3, 4])
    assert has_checkpoint(workspace, folder)
    # A worker may break down before what it reported last is taken; then both go on from the checkpoint before.
    starts = [[f"{rank} of 2, 1 thread, from {start}" for rank in (0, 1) for start in (last, "the start")] for last in ("1", "2")]
    assert sorted(path.name for path in told.iterdir()) in starts


def test_a_run_is_named_after_all_that_decides_its_outcome() -> None:
    assert run_folder("precision", b"recipe", b"data").startswith("runs/precision-")
    folders = {run_folder(name, *decides) for name in ("a", "b") for decides in ((b"x", b"y"), (b"x",), (b"y",))}
    assert len(folders) == 6
