"""Timing on a device that runs behind the program, and how fast it multiplies matrices at best."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

LEAST, MOST = 5, 400
"""Runs that are timed, whatever they take."""


@dataclass
class Clock:
    """Time that is left, and how long each thing may be timed, in seconds."""

    limit: float
    each: float
    began: float = field(default_factory=time.perf_counter)

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def over(self) -> bool:
        """Whether what has not been measured yet is left out."""
        return self.spent() > self.limit


def finish(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(works: dict[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, np.ndarray]:
    """How long some pieces of work take, each until the device is done. They take turns, for about so many seconds each."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        for _ in range(2):
            work()
    finish(device)
    began, turn = time.perf_counter(), 0
    while turn < LEAST or (turn < MOST and time.perf_counter() - began < seconds * len(works)):
        turn += 1
        for name, work in works.items():
            start = time.perf_counter()
            work()
            finish(device)
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(each) for name, each in taken.items()}


def rows_per_second(work: Callable[[], int], device: torch.device, seconds: float) -> float:
    """Rows that some work does a second; the work says how many it did."""
    rows = work()
    taken = milliseconds({"work": work}, device, seconds)["work"]
    return 1000 * rows / float(np.median(taken))


def matrix_flops(device: torch.device, dtype: torch.dtype, size: int, seconds: float) -> float:
    """Floating-point operations a second of a product of two large square matrices: what this card gives, not what its data sheet says."""
    a, b = (torch.randn((size, size), device=device).to(dtype) for _ in range(2))
    taken = milliseconds({"product": lambda: a @ b}, device, seconds)["product"]
    return 2 * size**3 / (float(np.median(taken)) / 1000)


def reason(error: Exception) -> str:
    """Why something does not work here, in a line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def quantile(taken: Iterable[float], share: float) -> float:
    """Of some times, rounded for printing."""
    return round(float(np.quantile(np.asarray(list(taken)), share)), 3)
