"""A worker computes on what was reserved for it."""

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.hardware import cpus_per_core, memory_to_reserve, reserved_device, torch_device, usual_precision


def test_a_worker_computes_on_a_gpu_where_it_reserved_one_or_a_part_of_one() -> None:
    assert [reserved_device(gpus) for gpus in (0, 0.25, 1)] == ["cpu", "cuda", "cuda"]
    assert [usual_precision(reserved_device(gpus)) for gpus in (0, 1)] == ["float32", "bfloat16"]


def test_a_gpu_that_nobody_reserved_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert torch_device("cpu", "training.use_gpu").type == "cpu"
    assert torch_device("cuda", "training.use_gpu").type == "cuda"


def test_a_reserved_gpu_that_is_not_found_is_an_error_and_no_reason_to_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ShelfcodeError, match=r"^training\.use_gpu reserves a GPU, and torch .* finds none in this process"):
        torch_device("cuda", "training.use_gpu")


def test_a_task_asks_for_no_more_memory_than_a_node_has_that_runs_tasks() -> None:
    head, worker = {"memory": 64 * 2**30, "CPU": 0}, {"memory": 16 * 2**30, "CPU": 8}
    assert memory_to_reserve(2**30, [head, worker]) == 2**30
    assert memory_to_reserve(40 * 2**30, [head, worker]) == 16 * 2**30
    assert memory_to_reserve(1, [{"CPU": 2}]) == 0


def test_a_task_that_computes_takes_a_whole_core_of_a_machine_that_counts_more_cpus_than_it_has() -> None:
    assert cpus_per_core([{"CPU": 4}], cores=2) == 2
    assert cpus_per_core([{"CPU": 4}], cores=3) == 1
    assert cpus_per_core([{"CPU": 2}], cores=8) == 1
    assert cpus_per_core([{"CPU": 16}, {"CPU": 16}], cores=2) == 1
