"""A job as a command: flags in, one JSON object as the last line on stdout, and an exit code that says whether all was done."""

import contextlib
import errno
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import ray
import typer

from shelfcode.errors import ShelfcodeError
from shelfcode.job import screen
from shelfcode.job.log import logged
from shelfcode.store import is_s3
from shelfcode.store_errors import check_store, store_problem

VerboseFlag = Annotated[bool, typer.Option("--verbose", help="Show long tables, and what libraries print, which otherwise goes to a log.")]


def run_job(main: Callable[..., dict[str, Any]]) -> None:
    """Run a job's main function as a command; its result becomes the last line on stdout.

    Exit code 0 only when the job did all it was asked to; 1 when one of its result's `gates` does not hold; 2 for an error that the
    user can mend, which is shown without a traceback.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    results: list[dict[str, Any]] = []

    def command(verbose: bool = False, **flags: Any) -> None:
        with contextlib.ExitStack() as stack:
            streams = None if verbose or not _own_streams() else stack.enter_context(logged(Path(sys.argv[0]).stem))
            stack.enter_context(screen.shown(verbose, streams))
            results.append(_finished(main, flags))
            screen.say_result(json.dumps(results[0], ensure_ascii=False))

    # typer reads the flags off the signature, and the help off the docstring
    signature = inspect.signature(main)
    verbose = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=VerboseFlag)
    command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), verbose])  # type: ignore[attr-defined]
    command.__doc__ = main.__doc__
    app.command()(command)
    try:
        app(standalone_mode=True)
    except SystemExit as stop:
        if stop.code:
            raise
    if results and not all(gate["held"] for gate in results[0].get("gates", {}).values()):
        sys.exit(1)


def _finished(main: Callable[..., dict[str, Any]], flags: dict[str, Any]) -> dict[str, Any]:
    """The result of a job whose Ray has ended, so that whatever workers still had to say is said before the last line."""
    joined = ray.is_initialized()
    try:
        for value in flags.values():
            if isinstance(value, str):
                check_store(value)
        return main(**flags)
    except Exception as error:
        message = users_message(error, [value for value in flags.values() if isinstance(value, str) and is_s3(value)])
        if message is None:
            screen.say_log()
            raise
        screen.show_error(message)
        raise SystemExit(2) from error
    finally:
        if not joined:
            ray.shutdown()


def _own_streams() -> bool:
    """Whether what is printed goes to the process's own stdout and stderr; where somebody took their place, nothing is redirected."""
    return sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__


def users_message(error: BaseException, stores: Sequence[str] = ()) -> str | None:
    """What to tell the user of an error, wherever in Ray it was raised; None for a bug.

    Args:
        stores: addresses in object stores that the job was given.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if not isinstance(cause, ray.exceptions.RayError) and (message := _message(cause, stores)):  # Ray's hold the error itself
            return message
        pending += [getattr(cause, "cause", None), cause.__cause__, cause.__context__]
        pending += list((getattr(cause, "worker_failures", None) or {}).values())
    return None


def _message(error: BaseException, stores: Sequence[str]) -> str | None:
    if isinstance(error, ShelfcodeError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}). Free some room and start the same command again: it goes on where it stopped"
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error}: this user may not read or write there"
    problem = store_problem(error)
    return problem and ": ".join(filter(None, [" or ".join(stores), problem]))
