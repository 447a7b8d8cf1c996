"""Who may write: one run at a time for each name in a workspace, by a lease that ends by itself when its run dies.

A lease is a file under leases/<name>/, numbered: 000001.json, 000002.json, ... Whoever creates the next number holds the lease,
and a store lets only one run create it. The holder writes its file again every few seconds; a file that was not written for
EXPIRES_AFTER belongs to a run that is dead or cut off, and the next number is free to be created. A holder that finds a higher
number than its own was taken for dead: it has lost the lease, and must not publish (`Lease.check`).

Ages are differences between times that the store itself gave to two files, so clocks that differ between machines do not matter.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@dataclass(frozen=True)
class Holder:
    """Which run a lease belongs to, and the process: on the same machine one can see whether it is alive.

    Attributes:
        machine: host name and process namespace, so that two containers of one host are two machines.
        started: of the process, in seconds, since process numbers are used again.
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
            return abs(psutil.Process(self.process).create_time() - self.started) > 1
        except psutil.NoSuchProcess:
            return True


class Lease:
    """A lease that this process holds. A thread keeps it alive."""

    def __init__(self, workspace: Workspace, name: str, number: int, holder: Holder) -> None:
        self._workspace, self._name, self._number, self._holder = workspace, name, number, holder
        self._lost = ""
        self._done = threading.Event()
        self._seen = time.monotonic()
        self._thread = threading.Thread(target=self._keep_alive, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Call before anything becomes visible.

        Raises:
            ShelfcodeError: another run has taken the lease over, or nothing was heard of the store for as long as a lease lasts.
        """
        self._beat()
        if not self._lost and time.monotonic() - self._seen > EXPIRES_AFTER:
            self._lost = f"the workspace could not be reached for {EXPIRES_AFTER:g} s"
        if self._lost:
            raise ShelfcodeError(f"the lease on {self._name} is lost: {self._lost}. Nothing was published; start the same command again")

    def give_back(self) -> None:
        """Let the next run in at once."""
        self._done.set()
        self._thread.join()
        if not self._lost:
            _write(self._workspace, self._name, self._number, self._holder, released=True)

    def _keep_alive(self) -> None:
        while not self._done.wait(BEAT):
            self._beat()

    def _beat(self) -> None:
        if self._lost:
            return
        try:
            if (newest := _newest(self._workspace, self._name)) > self._number:
                self._lost = f"{_read(self._workspace, self._name, newest)[0].run} took it over"
                return
            _write(self._workspace, self._name, self._number, self._holder)
            self._seen = time.monotonic()
        except OSError:  # the store is out of reach for now; `check` counts for how long
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
    holder = Holder(run, _machine(), os.getpid(), psutil.Process().create_time())
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
    newest = _newest(workspace, name)
    if newest and (hindrance := _hindrance(workspace, name, newest)):
        return 0, hindrance
    number = newest + 1
    if not _create(workspace, name, number, holder):
        return 0, f"another run took the lease on {name} in this moment"
    for other in workspace.names(LEASES):
        if other != name and SWEEP in (name, other) and (hindrance := _hindrance(workspace, other, _newest(workspace, other))):
            _write(workspace, name, number, holder, released=True)
            return 0, hindrance
    for earlier in range(max(1, number - 5), number):
        workspace.remove(_path(name, earlier))
    return number, ""


def _hindrance(workspace: Workspace, name: str, number: int) -> str:
    """Why a lease cannot be taken; nothing where its run gave it back, died, or has shown no sign of life for too long."""
    if not number:
        return ""
    try:
        age = workspace.clock() - workspace.written_at(_path(name, number))
        if age > EXPIRES_AFTER:
            return ""
        holder, released = _read(workspace, name, number)
    except (FileNotFoundError, ValueError):  # cleared away by a later holder, or not yet written
        return f"another run took the lease on {name} in this moment"
    if released or holder.is_dead():
        return ""
    return (
        f"{holder.run} holds the lease on {name} in {workspace.url}: process {holder.process} on {holder.machine.split(' ')[0]}, "
        f"last heard of {max(0, age):.0f} s ago; if it died, the lease ends {max(0, EXPIRES_AFTER - age):.0f} s from now"
    )


def _newest(workspace: Workspace, name: str) -> int:
    """The highest number of a lease; 0 where nobody held it yet."""
    return max((int(file.removesuffix(".json")) for file in workspace.names(f"{LEASES}/{name}")), default=0)


def _create(workspace: Workspace, name: str, number: int, holder: Holder) -> bool:
    """Create the file of a number; False when another run did."""
    if workspace.claim(_path(name, number), _text(holder)):
        return True
    try:  # an answer that got lost on its way lets the store be asked again, which then finds our own file
        return _read(workspace, name, number)[0] == holder
    except (FileNotFoundError, ValueError):
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


def _machine() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.exists() else ''}".strip()
