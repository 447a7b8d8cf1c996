"""The Ray that a job runs on, and the one count of retries that all processes of the job share."""

import contextlib
import logging
import os
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def start_ray() -> None:
    """Join the running Ray, or start one on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": True}
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            # Ray Data waits for ever when all CPUs are taken by actors: a small machine counts as four.
            ray.init(num_cpus=max(4, os.cpu_count() or 1), **options)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # else the error that a user can mend is lost in one of Ray's


def has_gpu() -> bool:
    """Whether the running Ray has a GPU now."""
    return ray.cluster_resources().get("GPU", 0) > 0


@dataclass(frozen=True)
class RetryCount:
    """Called once a retry, from any process of the job; `read` on the driver."""

    counter: ActorHandle

    def __call__(self) -> None:
        self.counter.add.remote()

    def read(self) -> int | None:
        """The number so far; None where the counter was lost."""
        with contextlib.suppress(ray.exceptions.RayActorError):
            return int(ray.get(self.counter.read.remote()))
        return None


def count_retries() -> RetryCount:
    """A count that lives on the driver's node, as long as the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return RetryCount(ray.remote(num_cpus=0, max_restarts=3)(_Counter).options(scheduling_strategy=here).remote())


class _Counter:
    def __init__(self) -> None:
        self.number = 0

    def add(self) -> None:
        self.number += 1

    def read(self) -> int:
        return self.number
