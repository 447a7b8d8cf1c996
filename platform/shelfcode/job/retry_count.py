"""The one count of retries that all processes of a job share.

A module of its own because its actor is a process of its own, which should not have to import all that a job is made of.
"""

import contextlib
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


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
