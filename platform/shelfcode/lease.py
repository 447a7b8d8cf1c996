"""Leases: one run at a time may write under each name in a workspace. The lease of a run that dies ends by itself.

A lease is a numbered file under leases/<name>/: 000001.json, 000002.json, ... Whoever creates the next number holds the lease,
and a store lets only one run create it. The holder writes its file again every few seconds. A file that was not written for too
long belongs to a run that is dead or cut off, and the next number may be created. A holder that finds a higher number than its
own was taken for dead: it has lost the lease, and must not publish (`Lease.check`).

Ages are differences between times that the store itself gave to two files, so the clocks of machines do not matter.
"""

import json
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

LEASES = "leases"
SWEEP = "sweep"
"""The lease of a run that deletes. While it is held no other lease can be taken, nor it while any other is held."""

DAMAGED = (ValueError, KeyError, TypeError)
"""Raised by reading half of a lease's file."""


def uptime() -> float:
    """Seconds since some moment in the past, including those in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True)
class Timing:
    """The seconds of a lease.

    Attributes:
        expires_after: without a sign of life.
        beat: between two signs of life.
        retry: at most, between two tries of a run that waits for the lease.
        uptime: tells how much time has passed for this process.
    """

    expires_after: float = 60.0
    beat: float = 10.0
    retry: float = 2.0
    uptime: Callable[[], float] = uptime


USUAL = Timing()


@dataclass(frozen=True)
class Holder:
    """The run that holds a lease, and its process, so that the same machine can see whether it is alive.

    Attributes:
        machine: host name, start of its kernel and process namespace. Two containers on one host count as two machines.
        started: when the process started, in seconds since its machine did: process numbers are used again.
    """

    run: str
    machine: str
    process: int
    started: float

    def is_dead(self) -> bool:
        """Whether the process is known to be gone. Nothing is known about processes of other machines."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.process)
            return process.status() == psutil.STATUS_ZOMBIE or abs(_started(process) - self.started) > 2
        except psutil.NoSuchProcess:
            return True


def this_process(run: str) -> Holder:
    """A run of this process."""
    return Holder(run, _machine(), os.getpid(), _started(psutil.Process()))


class Lease:
    """A lease that this process holds. A thread keeps it alive."""

    def __init__(self, workspace: Workspace, name: str, number: int, holder: Holder, timing: Timing) -> None:
        self._workspace, self._name, self._number, self._holder, self._timing = workspace, name, number, holder, timing
        self._lost = ""
        self._done = threading.Event()
        self._seen = timing.uptime()
        self._rivals = _rivals(workspace, name)
        self._thread = threading.Thread(target=self._keep_alive, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call this before anything becomes visible.

        Raises:
            ShelfcodeError: another run has taken the lease over, or the store could not be reached for as long as a lease lasts.
        """
        self._beat()
        if not self._lost and self._timing.uptime() - self._seen > self._timing.expires_after:
            self._lost = f"the workspace could not be reached for {self._timing.expires_after:g} s"
        if self._lost:
            raise ShelfcodeError(f"the lease on {self._name} is lost: {self._lost}. Nothing was published; start the same command again")

    def give_back(self) -> None:
        """Let the next run in at once."""
        self._done.set()
        self._thread.join()
        with suppress(Exception):  # a store out of reach cannot undo what was published; the lease ends by itself
            if self._name == self._holder.run:  # nobody else will ever want it
                self._workspace.remove(f"{LEASES}/{self._name}")
            elif not self._lost:
                _write(self._workspace, self._name, self._number, self._holder, released=True)

    def _keep_alive(self) -> None:
        while not self._done.wait(self._timing.beat):
            self._beat()

    def _beat(self) -> None:
        """Show a sign of life, then look whether the lease is still this run's."""
        if self._lost:
            return
        begun, limit = self._timing.uptime(), self._timing.expires_after
        try:
            _write(self._workspace, self._name, self._number, self._holder)  # whoever wants the lease creates a file first, then looks here
            if (newest := _newest(self._workspace, self._name)) > self._number:
                self._lost = "another run took it over"
                self._lost = f"{_read(self._workspace, self._name, newest)[0].run} took it over"
            elif begun - self._seen > limit and _rivals(self._workspace, self._name) != self._rivals:
                self._lost = f"this run gave no sign of life for {limit:g} s, and a run that it keeps out came meanwhile"
            else:
                self._seen = begun
        except Exception:  # the store is out of reach for now, and each store says so in its own way; `check` counts for how long
            return


@contextmanager
def hold_lease(workspace: Workspace, name: str, run: str, wait: float = 0, timing: Timing = USUAL) -> Iterator[Lease]:
    """Hold the lease of a name for a while: that of a flavor in order to publish, SWEEP in order to delete.

    Args:
        run: name of this run, shown to others that want the lease.
        wait: how many seconds to wait for another run to end.
        timing: the same for all runs in a workspace.

    Raises:
        ShelfcodeError: another run holds the lease, or one that excludes it. Says which, and when it last gave a sign of life.
    """
    until = time.monotonic() + wait
    holder = this_process(run)
    while True:
        number, hindrance = _take(workspace, name, holder, timing)
        if number:
            break
        if time.monotonic() >= until:
            raise ShelfcodeError(f"{hindrance}. Wait for it to end, or let this one wait: --wait SECONDS")
        pause = timing.retry * random.uniform(0.5, 1)  # so that two runs that hinder each other do not do so again
        time.sleep(min(pause, max(0.1, until - time.monotonic())))
    lease = Lease(workspace, name, number, holder, timing)
    try:
        yield lease
    finally:
        lease.give_back()


def _take(workspace: Workspace, name: str, holder: Holder, timing: Timing) -> tuple[int, str]:
    """The number under which the lease is now this run's; or 0, and who is in the way."""
    earlier = _numbers(workspace, name)
    number = max(earlier, default=0) + 1
    if hindrance := _hindrance(workspace, name, number - 1, timing) or _rival_in_the_way(workspace, name, timing):
        return 0, hindrance
    if not _create(workspace, name, number, holder):
        return 0, _just_taken(name)
    # Look again. Of two runs that come at the same time, at least one sees the other's file now: this decides between names that
    # exclude each other, and finds an earlier holder that woke up. And a run that was slow may have created a number again that a
    # later holder has already cleared away.
    hindrance = _hindrance(workspace, name, number - 1, timing) or _rival_in_the_way(workspace, name, timing)
    if _newest(workspace, name) > number:
        hindrance = _just_taken(name)
    if hindrance:
        _write(workspace, name, number, holder, released=True)
        return 0, hindrance
    for each in earlier:
        workspace.remove(_path(name, each))
    return number, ""


def _rivals(workspace: Workspace, name: str) -> dict[str, int]:
    """Other leases that exclude this one, and the highest number of each. SWEEP excludes all."""
    return {other: _newest(workspace, other) for other in workspace.names(LEASES) if other != name and SWEEP in (name, other)}


def _rival_in_the_way(workspace: Workspace, name: str, timing: Timing) -> str:
    """Which of them is held; empty where none is."""
    hindrances = (_hindrance(workspace, other, number, timing) for other, number in _rivals(workspace, name).items())
    return next(filter(None, hindrances), "")


def _hindrance(workspace: Workspace, name: str, number: int, timing: Timing) -> str:
    """Why a lease cannot be taken; empty where its run gave it back, died, or has given no sign of life for too long."""
    if not number:
        return ""
    try:
        age = workspace.clock() - workspace.written_at(_path(name, number))
        if age > timing.expires_after:
            return ""
        holder, released = _read(workspace, name, number)
    except (FileNotFoundError, *DAMAGED):  # cleared away by a later holder, or not written yet
        return _just_taken(name)
    if released or holder.is_dead():
        return ""
    return (
        f"{holder.run} holds the lease on {name} in {workspace.url}: process {holder.process} on {holder.machine.split(' ')[0]}, "
        f"last heard of {max(0, age):.0f} s ago; if it died, the lease ends {max(0, timing.expires_after - age):.0f} s from now"
    )


def _just_taken(name: str) -> str:
    return f"another run has just taken the lease on {name}"


def _newest(workspace: Workspace, name: str) -> int:
    """The highest number of a lease; 0 where nobody has held it yet."""
    return max(_numbers(workspace, name), default=0)


def _numbers(workspace: Workspace, name: str) -> list[int]:
    return [int(file.removesuffix(".json")) for file in workspace.names(f"{LEASES}/{name}") if re.fullmatch(r"\d+\.json", file)]


def _create(workspace: Workspace, name: str, number: int, holder: Holder) -> bool:
    """Create the file of a number. False where another run did."""
    if workspace.claim(_path(name, number), _text(holder)):
        return True
    try:  # where an answer gets lost on its way, the store is asked again and finds the file that this run has just created
        return _read(workspace, name, number)[0] == holder
    except (FileNotFoundError, *DAMAGED):
        return False


def _read(workspace: Workspace, name: str, number: int) -> tuple[Holder, bool]:
    """The holder of a lease, and whether it gave the lease back."""
    fields: dict[str, Any] = workspace.read_json(_path(name, number))
    released = fields.pop("released")
    return Holder(**fields), released


def _write(workspace: Workspace, name: str, number: int, holder: Holder, released: bool = False) -> None:
    workspace.write_bytes(_path(name, number), _text(holder, released))


def _text(holder: Holder, released: bool = False) -> bytes:
    return json.dumps({**vars(holder), "released": released}).encode()


def _path(name: str, number: int) -> str:
    return f"{LEASES}/{name}/{number:06d}.json"


def _started(process: psutil.Process) -> float:
    """When a process started, in seconds since its machine did. As a time of day it would change when a clock is set right."""
    return process.create_time() - psutil.boot_time()


def _machine() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    kernel = boot.read_text().strip() if boot.exists() else ""
    return " ".join(filter(None, [socket.gethostname(), kernel, str(namespace.readlink()) if namespace.exists() else ""]))
