"""A training in Ray Train: any number of workers, checkpoints, and a run that goes on where it stopped.

A run lives in a folder of the workspace that is named after everything that decides its outcome. The same job started again
after a crash therefore finds its checkpoints, and a job with another recipe or other data does not. Ray forwards what workers
log to the driver's stderr.
"""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from shelfcode.hardware import reserved_device, torch_device
from shelfcode.library_version import LIBRARY_VERSION
from shelfcode.optimisation import Worker
from shelfcode.workspace import Workspace

STATE_FILE = "state.pt"

log = logging.getLogger(__name__)


class WorkerSettings(Protocol):
    """What a recipe says of its workers."""

    @property
    def workers(self) -> int: ...
    @property
    def cpus_per_worker(self) -> int: ...
    @property
    def use_gpu(self) -> bool: ...
    @property
    def max_failures(self) -> int: ...


class Resumable(Protocol):
    """The state of a training after `step` batches: all of it, so that a saved one continues to the same result."""

    step: int

    def state(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...


def run_folder(name: str, *decides: bytes) -> str:
    """Folder of a training run under the workspace, named after what decides its outcome: this version of the library is part of that."""
    return f"runs/{name}-{hashlib.blake2b(b''.join([LIBRARY_VERSION.encode(), *decides]), digest_size=6).hexdigest()}"


def has_checkpoint(workspace: Workspace, folder: str) -> bool:
    """Whether an earlier start of a training run left a checkpoint to go on from."""
    return any(name.startswith("checkpoint_") for name in workspace.names(f"{folder}/train"))


def fit_in_ray(
    train: Callable[[Worker], None], settings: WorkerSettings, workspace: Workspace, folder: str, backend: str = "auto"
) -> dict[str, Any]:
    """Call `train` on every worker; the last state that it has reported, read into this process. The rest as `fit`."""
    return read_state(fit(train, settings, workspace, folder, backend))


def fit(train: Callable[[Worker], None], settings: WorkerSettings, workspace: Workspace, folder: str, backend: str = "auto") -> Checkpoint:
    """Call `train` on every worker; the last checkpoint that it has reported, for `read_state` in whichever process.

    Args:
        train: calls `resume` before its first step, and `report_state` after the last one and now and then before it.
        folder: of the run, from `run_folder`; checkpoints that an earlier start left in it are taken up.
        backend: of torch.distributed; auto: nccl with GPUs, gloo without.

    Raises:
        ray.train.TrainingFailedError: workers failed more often than max_failures.
    """
    threads, resources = settings.cpus_per_worker, {"CPU": float(settings.cpus_per_worker)}
    reserved = reserved_device(int(settings.use_gpu))

    def train_here() -> None:
        context = ray.train.get_context()
        torch.set_num_threads(threads)
        device = torch_device(reserved, "training.use_gpu")
        device = get_device() if reserved == "cuda" else device  # of a node with several GPUs, the worker's own
        train(Worker(context.get_world_rank(), context.get_world_size(), device))

    trainer = TorchTrainer(
        train_here,
        torch_config=TorchConfig(backend=None if backend == "auto" else backend),
        scaling_config=ScalingConfig(num_workers=settings.workers, use_gpu=settings.use_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name="train", storage_path=workspace.path(folder), storage_filesystem=workspace.arrow_filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2), failure_config=FailureConfig(max_failures=settings.max_failures),
            logging_config=LoggingConfig(log_level="WARNING"),
        ),
    )  # fmt: skip
    result = trainer.fit()
    if result.checkpoint is None:
        raise RuntimeError(f"training left no checkpoint in {workspace.address(folder)}")
    return result.checkpoint


def resume(state: Resumable, worker: Worker, steps: int) -> bool:
    """Take up the last checkpoint of the run; whether there was one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return False
    state.load(read_state(checkpoint))
    say(worker, f"training goes on from step {state.step} of {steps}")
    return True


def report_state(state: Resumable, worker: Worker, metrics: dict[str, float]) -> None:
    """Report from every worker, as Ray Train asks; the first one brings the checkpoint."""
    metrics = {"step": state.step, **metrics}
    if worker.rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state.state(), Path(folder) / STATE_FILE)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def say(worker: Worker, text: str) -> None:
    """Tell the driver something once, whatever the number of workers."""
    if worker.rank == 0:
        log.warning(text)


def read_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state that a checkpoint keeps, on the CPU."""
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True)
    return state
