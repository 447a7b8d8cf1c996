"""What a worker computes on: it follows from what was reserved for it, never from what it finds.

Ray does not hide the GPUs of a node from workers that reserved none. A worker that took whatever it found would use a GPU that belongs
to somebody else, and on a cluster with and without GPUs two workers of one job would give different numbers.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from shelfcode.errors import ShelfcodeError

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]


def reserved_device(gpus: float) -> Device:
    """Where a worker that reserved so many GPUs, or a fraction of one, computes."""
    return "cuda" if gpus > 0 else "cpu"


def usual_precision(device: Device) -> Precision:
    """What a recipe's dtype `auto` stands for on a device."""
    return "bfloat16" if device == "cuda" else "float32"


def memory_to_reserve(wanted: int, nodes: Sequence[Mapping[str, float]]) -> int:
    """Bytes of memory to reserve for a task, so that Ray puts it on a node that has them: never more than the largest node has.

    Args:
        nodes: the resources of each node; one without a CPU runs no task.
    """
    return int(min(wanted, max((node.get("memory", 0) for node in nodes if node.get("CPU", 0) >= 1), default=0)))


def cpus_per_core(nodes: Sequence[Mapping[str, float]], cores: int) -> int:
    """How many of Ray's CPUs stand for one core: what a task that computes all the time asks for, so that no more run than there are cores.

    A Ray of one machine may count more CPUs than that has, so that what mostly waits finds room. In a cluster they are the same.

    Args:
        nodes: the resources of each node.
        cores: of this machine.
    """
    return max(1, int(nodes[0].get("CPU", 1)) // max(1, cores)) if len(nodes) == 1 else 1


def torch_device(device: Device, field: str) -> "torch.device":
    """The device for torch.

    Args:
        field: of the settings, that reserved the GPU, for messages.

    Raises:
        ShelfcodeError: a GPU was reserved, and torch finds none in this process. To go on without would give other numbers.
    """
    import torch  # seconds to import: only the workers that compute pay for it

    if device == "cuda" and not torch.cuda.is_available():
        raise ShelfcodeError(
            f"{field} reserves a GPU, and torch {torch.__version__} finds none in this process: install a torch with CUDA on the nodes "
            f"with GPUs, or set {field} to none"
        )
    return torch.device(device)
