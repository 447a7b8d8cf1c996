"""A command whose stages are told by its lines on stderr: seconds and peak memory of the whole process tree, a stage."""

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STAGE = re.compile(r"^(?P<name>[^:]+): (?:[\d,]+ \w+ in )?(?P<seconds>[\d.]+) s$")
"""A line that ends a stage, as `shelfcode.job.screen.stage` writes it."""


@dataclass(frozen=True)
class Stage:
    """One stage of a job; memory is the highest sum over all its processes since the last stage ended, in bytes."""

    name: str
    seconds: float
    peak: int


@dataclass(frozen=True)
class Measured:
    """What a command printed on stdout, its stages, and seconds and peak memory in all."""

    stdout: str
    stages: list[Stage]
    seconds: float
    peak: int


class TreeMemory:
    """Samples the memory of a process and all below it: proportional set size, so that what they share counts once.

    Files that are mapped into memory are part of it, though the system can drop them.
    """

    def __init__(self, pid: int, every_seconds: float = 1.0) -> None:
        self.pid, self.every_seconds, self.peak, self.since = pid, every_seconds, 0, 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def take(self) -> int:
        """The peak since this was last asked for."""
        peak, self.since = self.since, 0
        return peak

    def stop(self) -> int:
        """The peak of all the time."""
        self.stopped.set()
        self.thread.join()
        return self.peak

    def _sample(self) -> None:
        while not self.stopped.wait(self.every_seconds):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(self.pid)
                used = sum(_proportional(each.pid) for each in [process, *process.children(recursive=True)])
                self.since, self.peak = max(self.since, used), max(self.peak, used)


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def measure(command: Sequence[str], folder: Path) -> Measured:
    """Run a command in a folder, and show its stderr as it comes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started, stages = time.perf_counter(), []
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = TreeMemory(process.pid)
    assert process.stderr is not None
    for line in process.stderr:
        print(f"{time.perf_counter() - started:7.0f} s {memory.since / 1e9:5.1f} GB  {line}", end="", file=sys.stderr, flush=True)
        if found := STAGE.match(line.strip()):
            stages.append(Stage(found["name"], float(found["seconds"]), memory.take()))
    stdout = process.stdout.read() if process.stdout else ""
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(stdout, stages, time.perf_counter() - started, memory.stop())
