"""Runs that hold leases, in processes of their own: `python lease_runs.py hold|race|turns ...`.

hold CLOCK EXPIRES_AFTER BEAT URL NAME [WANTED]   prints why it is refused WANTED, then "held"; a line on stdin: "mine" or why not
race URL NAME...                                  one process per name, all at once: prints the names that were held together
turns URL NAME...                                 the same, but each waits for its turn: prints each name with its begin and end
"""

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported only once the clock is set
    from shelfcode.errors import ShelfcodeError
    from shelfcode.lease import Timing, hold_lease
    from shelfcode.workspace import Workspace


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
    """Of processes that want leases at the same time, each once, the names of those that hold theirs together."""
    held: list[str] = _run("race", url, *names)
    return held


def take_turns(url: str, names: list[str]) -> list[tuple[str, float, float]]:
    """Processes that want leases at the same time and wait for them: of each that got its lease, the name, and from when until when."""
    return [(name, begin, end) for name, begin, end in _run("turns", url, *names)]


def _run(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


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
    from shelfcode.errors import ShelfcodeError
    from shelfcode.lease import Timing, hold_lease
    from shelfcode.workspace import Workspace

    timing = Timing(expires_after, beat)
    if wanted:
        try:
            with hold_lease(Workspace(url), wanted, "out of time", timing=timing):
                print("not refused", flush=True)
        except ShelfcodeError as error:
            print(error, flush=True)
    with hold_lease(Workspace(url), name, f"holder-of-{name}", timing=timing) as held:
        print("held", flush=True)
        for _ in sys.stdin:
            try:
                held.check()
                print("mine", flush=True)
            except ShelfcodeError as error:
                print(error, flush=True)


def _together(url: str, names: list[str], run: "Callable[[Workspace, int, str, Any], Any]") -> list[Any]:
    """One process per name, all let go at once; what they return, but nothing of those whose lease was refused."""
    context: Any = multiprocessing.get_context("fork")  # all that is slow to import is there already
    start, queue = context.Barrier(len(names)), context.SimpleQueue()
    end = context.Barrier(len(names))

    def go(number: int, name: str) -> None:
        workspace = Workspace(url)
        workspace.exists("connected")
        start.wait()
        try:
            queue.put(run(workspace, number, name, end))
        except ShelfcodeError:
            end.wait()

    processes = [context.Process(target=go, args=each) for each in enumerate(names)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    returned = []
    while not queue.empty():
        returned.append(queue.get())
    return returned


def _hold_until_all_tried(workspace: "Workspace", number: int, name: str, end: Any) -> str:
    with hold_lease(workspace, name, f"run-{number}"):
        end.wait()
    return name


def _hold_in_turn(workspace: "Workspace", number: int, name: str, end: Any) -> tuple[str, float, float]:
    with hold_lease(workspace, name, f"run-{number}", wait=60, timing=Timing(retry=0.05)):
        begin = time.monotonic()  # of the machine: the same for all processes
        time.sleep(0.02)
        return name, begin, time.monotonic()


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        _set_clock(float(sys.argv[2]))
        _hold(float(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
    else:
        from shelfcode.errors import ShelfcodeError
        from shelfcode.lease import Timing, hold_lease
        from shelfcode.workspace import Workspace

        print(json.dumps(_together(sys.argv[2], sys.argv[3:], {"race": _hold_until_all_tried, "turns": _hold_in_turn}[sys.argv[1]])))
