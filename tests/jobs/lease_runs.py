"""Runs that hold leases, in processes of their own: `python lease_runs.py hold|race ...`.

hold CLOCK EXPIRES_AFTER BEAT URL NAME [WANTED]   prints why it is refused WANTED, then "held"; a line on stdin: "mine" or why not
race URL NAME...                                  one process a name, all at once: prints the names that were held together
"""

import json
import multiprocessing
import subprocess
import sys
import time
from typing import Any


def start_holder(
    url: str, name: str, clock: float = 0, expires_after: float = 60, beat: float = 10, wanted: str = ""
) -> "subprocess.Popen[str]":
    """A process that wants a lease and may be killed; its machine's clock is so many seconds ahead."""
    command = [sys.executable, __file__, "hold", str(clock), str(expires_after), str(beat), url, name, *filter(None, [wanted])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    """The next line of such a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: "subprocess.Popen[str]") -> str:
    """Whether a holder may publish."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return said(process)


def race(url: str, names: list[str]) -> list[str]:
    """Which of many processes that want leases at the same time hold theirs together."""
    done = subprocess.run([sys.executable, __file__, "race", url, *names], stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    held: list[str] = json.loads(done.stdout)
    return held


def _set_clock(ahead: float) -> None:
    """Another time of day, for all that is imported after this."""
    import datetime

    real = time.time
    time.time = lambda: real() + ahead

    class Skewed(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Skewed":
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> "Skewed":
            return cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    datetime.datetime = Skewed  # type: ignore[misc]


def _hold(expires_after: float, beat: float, url: str, name: str, wanted: str = "") -> None:
    from shelfcode import lease
    from shelfcode.errors import ShelfcodeError
    from shelfcode.workspace import Workspace

    lease.EXPIRES_AFTER, lease.BEAT = expires_after, beat
    if wanted:
        try:
            with lease.hold_lease(Workspace(url), wanted, "out of time"):
                print("not refused", flush=True)
        except ShelfcodeError as error:
            print(error, flush=True)
    with lease.hold_lease(Workspace(url), name, f"holder-of-{name}") as held:
        print("held", flush=True)
        for _ in sys.stdin:
            try:
                held.check()
                print("mine", flush=True)
            except ShelfcodeError as error:
                print(error, flush=True)


def _race(url: str, names: list[str]) -> None:
    context: Any = multiprocessing.get_context("fork")  # all that is slow to import is there already
    from shelfcode import lease
    from shelfcode.errors import ShelfcodeError
    from shelfcode.workspace import Workspace

    start, end, held = context.Barrier(len(names)), context.Barrier(len(names)), context.SimpleQueue()

    def run(number: int, name: str) -> None:
        workspace = Workspace(url)
        workspace.exists("connected")
        start.wait()
        try:
            with lease.hold_lease(workspace, name, f"run-{number}"):
                held.put(name)
                end.wait()
        except ShelfcodeError:
            end.wait()

    processes = [context.Process(target=run, args=each) for each in enumerate(names)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    together = []
    while not held.empty():
        together.append(held.get())
    print(json.dumps(together))


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        _set_clock(float(sys.argv[2]))
        _hold(float(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
    else:
        _race(sys.argv[2], sys.argv[3:])
