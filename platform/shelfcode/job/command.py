"""A job as a command: flags in, one JSON object as the last line on stdout, and an exit code that says whether all was done."""

import errno
import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import ray
import typer
from rich.markup import escape

from shelfcode.errors import ShelfcodeError
from shelfcode.job import screen


def run_job(main: Callable[..., dict[str, Any]]) -> None:
    """Run a job's main function as a command; its result becomes the last line on stdout.

    Exit code 0 only when the job did all it was asked to; 1 when one of its result's `gates` does not hold; 2 for an error that the
    user can mend, which is shown without a traceback.
    """
    joined = ray.is_initialized()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    results: list[dict[str, Any]] = []

    @app.command()
    @functools.wraps(main)  # typer reads flags and help off the function that is wrapped
    def command(**flags: Any) -> None:
        results.append(main(**flags))

    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        if stop.code:
            raise
    except BaseException as error:
        message = users_message(error)
        if message is None:
            raise
        screen.console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
        sys.exit(2)
    if results:
        if not joined:
            ray.shutdown()  # whatever workers still had to say is said before the last line
        print(json.dumps(results[0], ensure_ascii=False), flush=True)
        if not all(gate["held"] for gate in results[0].get("gates", {}).values()):
            sys.exit(1)


def users_message(error: BaseException) -> str | None:
    """What to tell the user of an error, wherever in Ray it was raised; None for a bug."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, ShelfcodeError) and not isinstance(cause, ray.exceptions.RayError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return f"the disk is full ({cause}). Free some room and start the same command again: it goes on where it stopped"
        pending += [getattr(cause, "cause", None), cause.__cause__, cause.__context__]
        pending += list((getattr(cause, "worker_failures", None) or {}).values())
    return None
