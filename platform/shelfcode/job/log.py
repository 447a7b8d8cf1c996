"""Where everything goes that libraries print: a file beside the screen, so that the screen shows what the job itself has to say.

Ray, transformers and their C++ parts write to the process's file descriptors 1 and 2. While a job runs as a command these two lead
into the log, and copies of the real ones are kept for the job's own lines and for the last line on stdout.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from shelfcode.scratch import scratch_folder

KEPT_DAYS = 14


@dataclass(frozen=True)
class Streams:
    """Where a job writes, and where its libraries do.

    Attributes:
        out, err: the process's real stdout and stderr.
        path: of the log that file descriptors 1 and 2 lead into.
    """

    out: TextIO
    err: TextIO
    path: Path


@contextlib.contextmanager
def logged(name: str) -> Iterator[Streams | None]:
    """Send what is written to file descriptors 1 and 2 into a log of this run; where no log can be made, all stays as it is.

    The descriptors stay with the log until the process ends: C++ threads still write while it does. Only `sys.stdout` and
    `sys.stderr` lead to the real streams again afterwards, which is where a traceback goes.
    """
    folder = scratch_folder() / "logs"
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        yield None
        return
    _remove_old(folder)
    sys.stdout.flush()
    sys.stderr.flush()
    streams = Streams(_copy(1), _copy(2), path)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    try:
        yield streams
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams.out, streams.err


def _copy(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _remove_old(folder: Path) -> None:
    for path in folder.glob("*.log"):
        with contextlib.suppress(OSError):  # another job removes them too
            if time.time() - path.stat().st_mtime > KEPT_DAYS * 86_400:
                path.unlink()
