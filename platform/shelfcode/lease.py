"""Who may write: one run at a time for each name in a workspace, by a lease that ends by itself when its run dies.

A lease is a file under leases/<name>/, numbered: 000001.json, 000002.json, ... Whoever creates the next number holds the lease,
and a store lets only one run create it. The holder writes its file again every few seconds; a file that was not written for
EXPIRES_AFTER belongs to a run that is dead or cut off, and the next number is free to be created. A holder that finds a higher
number than its own was taken for dead: it has lost the lease, and must not publish (`Lease.check`).

Ages are differences between times that the store itself gave to two files, so clocks that differ between machines do not matter.
"""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

LEASES = "leases"
SWEEP = "sweep"
"""The lease of whoever deletes: nobody else may hold one meanwhile."""

EXPIRES_AFTER = 60.0
"""Seconds without a sign of life."""

BEAT = 10.0
"""Seconds between two signs of life."""

DAMAGED = (ValueError, KeyError, TypeError)
"""What reading half a file of a lease raises."""


@dataclass(frozen=True)
class Holder:
    """Which run a lease belongs to, and the process: on the same machine one can see whether it is alive.

    Attributes:
        machine: host name, start of its kernel and process namespace: two containers of one host are two machines.
        started: of the process, in seconds since the machine was started, since process numbers are used again.
    """

    run: str
    machine: str
    process: int
    started: float

    def is_dead(self) -> bool:
        """Whether it certainly is: a process of this machine that is gone. Of other machines nothing is known."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.process)
            return process.status() == psutil.STATUS_ZOMBIE or abs(_started(process) - self.started) > 2
        except psutil.NoSuchProcess:
            return True


class Lease:
    """A lease that this process holds. A thread keeps it alive."""

    def __init__(self, workspace: Workspace, name: str, number: int, holder: Holder) -> None:
        self._workspace, self._name, self._number, self._holder = workspace, name, number, holder
        self._lost = ""
        self._done = threading.Event()
        self._seen = _uptime()
        self._rivals = _rivals(workspace, name)
        self._thread = threading.Thread(target=self._keep_alive, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call before anything becomes visible.

        Raises:
            ShelfcodeError: another run has taken the lease over, or nothing was heard of the store for as long as a lease lasts.
        """
        self._beat()
        if not self._lost and _uptime() - self._seen > EXPIRES_AFTER:
            self._lost = f"the workspace could not be reached for {EXPIRES_AFTER:g} s"
        if self._lost:
            raise ShelfcodeError(f"the lease on {self._name} is lost: {self._lost}. Nothing was published; start the same command again")

    def give_back(self) -> None:
        """Let the next run in at once."""
        self._done.set()
        self._thread.join()
        with suppress(Exception):  # a store that is out of reach now does not undo what was published; the lease ends by itself
            if self._name == self._holder.run:  # nobody else will ever want it
                self._workspace.remove(f"{LEASES}/{self._name}")
            elif not self._lost:
                _write(self._workspace, self._name, self._number, self._holder, released=True)

    def _keep_alive(self) -> None:
        while not self._done.wait(BEAT):
            self._beat()

    def _beat(self) -> None:
        if self._lost:
            return
        asked = _uptime()
        try:
            _write(self._workspace, self._name, self._number, self._holder)  # whoever wants the lease creates a file first, then looks here
            if (newest := _newest(self._workspace, self._name)) > self._number:
                self._lost = "another run took it over"
                self._lost = f"{_read(self._workspace, self._name, newest)[0].run} took it over"
            elif asked - self._seen > EXPIRES_AFTER and _rivals(self._workspace, self._name) != self._rivals:
                self._lost = f"it was not heard of for {EXPIRES_AFTER:g} s, and another run came that it keeps out"
            else:
                self._seen = asked
        except Exception:  # the store is out of reach for now, and each has its own way to say so; `check` counts for how long
            return


@contextmanager
def hold_lease(workspace: Workspace, name: str, run: str, wait: float = 0) -> Iterator[Lease]:
    """Hold the lease of a name for a while: a flavor's for whoever publishes it, SWEEP for whoever deletes.

    Args:
        run: name of this run, told to others who want the lease.
        wait: seconds to wait for another run to end.

    Raises:
        ShelfcodeError: another run holds it, or deletes; says which and since when it has shown no sign of life.
    """
    until = time.monotonic() + wait
    holder = Holder(run, _machine(), os.getpid(), _started(psutil.Process()))
    while True:
        number, hindrance = _take(workspace, name, holder)
        if number:
            break
        if time.monotonic() >= until:
            raise ShelfcodeError(f"{hindrance}. Wait for it to end, or let this one wait: --wait SECONDS")
        time.sleep(min(2.0, max(0.1, until - time.monotonic())))
    lease = Lease(workspace, name, number, holder)
    try:
        yield lease
    finally:
        lease.give_back()


def _take(workspace: Workspace, name: str, holder: Holder) -> tuple[int, str]:
    """The number under which the lease is ours now; or 0, and who is in the way."""
    earlier = _numbers(workspace, name)
    number = max(earlier, default=0) + 1
    if hindrance := _hindrance(workspace, name, number - 1) or _excluded(workspace, name):
        return 0, hindrance
    if not _create(workspace, name, number, holder):
        return 0, f"another run took the lease on {name} in this moment"
    # Of two that come at the same time, at least one sees the other's file now: for names that exclude each other, and where an
    # earlier holder woke up. And whoever was slow may have created a number again that a later holder has cleared away.
    hindrance = _hindrance(workspace, name, number - 1) or _excluded(workspace, name)
    if _newest(workspace, name) > number:
        hindrance = f"another run took the lease on {name} in this moment"
    if hindrance:
        _write(workspace, name, number, holder, released=True)
        return 0, hindrance
    for each in earlier:
        workspace.remove(_path(name, each))
    return number, ""


def _rivals(workspace: Workspace, name: str) -> dict[str, int]:
    """Leases that do not go together with this one, and the highest number of each: SWEEP goes with none."""
    return {other: _newest(workspace, other) for other in workspace.names(LEASES) if other != name and SWEEP in (name, other)}


def _excluded(workspace: Workspace, name: str) -> str:
    """Which of them is held."""
    found = (_hindrance(workspace, other, number) for other, number in _rivals(workspace, name).items())
    return next(filter(None, found), "")


def _hindrance(workspace: Workspace, name: str, number: int) -> str:
    """Why a lease cannot be taken; nothing where its run gave it back, died, or has shown no sign of life for too long."""
    if not number:
        return ""
    try:
        age = workspace.clock() - workspace.written_at(_path(name, number))
        if age > EXPIRES_AFTER:
            return ""
        holder, released = _read(workspace, name, number)
    except (FileNotFoundError, *DAMAGED):  # cleared away by a later holder, or not yet written
        return f"another run took the lease on {name} in this moment"
    if released or holder.is_dead():
        return ""
    return (
        f"{holder.run} holds the lease on {name} in {workspace.url}: process {holder.process} on {holder.machine.split(' ')[0]}, "
        f"last heard of {max(0, age):.0f} s ago; if it died, the lease ends {max(0, EXPIRES_AFTER - age):.0f} s from now"
    )


def _newest(workspace: Workspace, name: str) -> int:
    """The highest number of a lease; 0 where nobody held it yet."""
    return max(_numbers(workspace, name), default=0)


def _numbers(workspace: Workspace, name: str) -> list[int]:
    return [int(file.removesuffix(".json")) for file in workspace.names(f"{LEASES}/{name}") if re.fullmatch(r"\d+\.json", file)]


def _create(workspace: Workspace, name: str, number: int, holder: Holder) -> bool:
    """Create the file of a number; False when another run did."""
    if workspace.claim(_path(name, number), _text(holder)):
        return True
    try:  # an answer that got lost on its way lets the store be asked again, which then finds our own file
        return _read(workspace, name, number)[0] == holder
    except (FileNotFoundError, *DAMAGED):
        return False


def _read(workspace: Workspace, name: str, number: int) -> tuple[Holder, bool]:
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
    """When a process started, in seconds since its machine did: times of day change when a clock is set right."""
    return process.create_time() - psutil.boot_time()


def _uptime() -> float:
    """Seconds that pass while a machine sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _machine() -> str:
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    kernel = boot.read_text().strip() if boot.exists() else ""
    return " ".join(filter(None, [socket.gethostname(), kernel, str(namespace.readlink()) if namespace.exists() else ""]))
