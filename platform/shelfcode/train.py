"""What every training in Ray Train shares: where a run lives, and how its state is saved and found again."""

import tempfile
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig

from shelfcode.workspace import Workspace

STATE_FILE = "state.pt"


def run_config(workspace: Workspace, folder: str, max_failures: int) -> RunConfig:
    """A run under a folder of the workspace; the same folder again goes on from its last checkpoint."""
    return RunConfig(
        name="train", storage_path=workspace.path(folder), storage_filesystem=workspace.arrow_filesystem,
        checkpoint_config=CheckpointConfig(num_to_keep=2), failure_config=FailureConfig(max_failures=max_failures),
        logging_config=LoggingConfig(log_level="WARNING"),
    )  # fmt: skip


def has_checkpoint(workspace: Workspace, folder: str) -> bool:
    """Whether an earlier start of a training run left a checkpoint to go on from."""
    return any(name.startswith("checkpoint_") for name in workspace.names(f"{folder}/train"))


def report_state(state: dict[str, Any], rank: int, metrics: dict[str, float]) -> None:
    """Report from every worker, as Ray Train asks; the first one brings the checkpoint."""
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / STATE_FILE)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def read_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state that a checkpoint keeps, on the CPU."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    return state
