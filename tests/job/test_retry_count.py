"""One count of retries for a whole job."""

import pickle
import time

import ray

from shelfcode import store
from shelfcode.job.retry_count import RetryCount, count_retries
from shelfcode.workspace import Workspace


def read_until(count: RetryCount, expected: int | None) -> int | None:
    """What is told travels for a while."""
    until = time.monotonic() + 120
    while (number := count.read()) != expected and time.monotonic() < until:
        time.sleep(0.05)
    return number


def test_retries_are_counted_from_the_driver_and_from_workers(local_ray: None) -> None:
    @ray.remote(num_cpus=0)
    def tell(workspace: Workspace, times: int) -> None:
        assert workspace.on_retry is not None
        for _ in range(times):
            workspace.on_retry()

    @ray.remote(num_cpus=0)
    class Teller:
        def __init__(self, workspace: Workspace) -> None:
            self.workspace = workspace

        def tell(self) -> None:
            assert self.workspace.on_retry is not None
            self.workspace.on_retry()

    count, other = count_retries(), count_retries()
    workspace = Workspace("shelf", on_retry=count)
    assert count.read() == 0
    count()
    ray.get([tell.remote(workspace, times) for times in (1, 2, 3)])
    ray.get(Teller.remote(workspace).tell.remote())
    assert read_until(count, 8) == 8
    assert other.read() == 0


def test_a_count_that_came_to_a_worker_twice_is_one_listener(local_ray: None) -> None:
    """Each task of a job brings its own copy of the workspace."""

    @ray.remote(num_cpus=0)
    class Worker:
        def open(self, workspace: Workspace) -> int:
            assert workspace.on_retry is not None
            store._listeners.add(workspace.on_retry)
            return len(store._listeners)

    worker, workspace = Worker.remote(), Workspace("shelf", on_retry=count_retries())
    assert [ray.get(worker.open.remote(workspace)) for _ in range(3)] == [1, 1, 1]
    assert pickle.loads(pickle.dumps(Workspace("shelf"))).on_retry is None


def test_a_count_that_was_lost_is_told_as_not_known(local_ray: None) -> None:
    count = count_retries()
    assert count.read() == 0
    ray.kill(count.counter)
    assert read_until(count, None) is None
    count()
