"""What every job shares: its flags, Ray, progress on stderr, and the last line on stdout."""

import contextlib
import errno
import functools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import pyarrow as pa
import ray
import ray.data
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from shelfcode.attributes.extracted_catalog import ExtractedCatalog
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import first_copies, row_keys
from shelfcode.lease import Lease, hold_lease
from shelfcode.pipeline import count_retries
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace, check_layout

CatalogFlag = Annotated[str, typer.Option("--catalog", help="File, folder or glob of Parquet, CSV or JSON Lines; local or s3://.")]
WorkspaceFlag = Annotated[str, typer.Option("--workspace", help="Folder or s3:// prefix for embeddings and releases; made when missing.")]
JudgmentsFlag = Annotated[
    str, typer.Option("--judgments", help="Parquet, CSV or JSON Lines with query, item_id and label (E, S, C or I); local or s3://.")
]
RecipeFlag = Annotated[str, typer.Option("--recipe", help="Of an encoder: name under jobs/encoders/, or the path of a YAML file.")]
FlavorFlag = Annotated[str, typer.Option("--flavor", help="Name under jobs/flavors/, or the path of a YAML file.")]
SetFlag = Annotated[list[str] | None, typer.Option("--set", help="key.sub=value: any recipe field; may be given several times.")]

HoldFlag = Annotated[bool, typer.Option("--hold", help="Publish the release and leave CURRENT where it is; promote_release moves it.")]
WaitFlag = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for another run that writes the same.")]

SAY_EVERY_SECONDS = 10
HIDDEN = ["item_id", "text_hash", "extractor", "failure", "truncated"]
"""Columns of an attributes table that say nothing of a product."""

# A log has no width, and rich would take 80 columns: tables lost the ends of their names.
screen = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


def run_job(main: Callable[..., dict[str, Any]]) -> None:
    """Run a job's main function as a command; its result becomes the last line on stdout.

    Exit code 0 only when the job did all it was asked to; 1 when one of its result's `gates` does not hold; 2 for an error that the
    user can mend, told without a traceback.
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
        message = _users_message(error)
        if message is None:
            raise
        screen.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
        sys.exit(2)
    if results:
        if not joined:
            ray.shutdown()  # whatever workers still had to say is said before the last line
        print(json.dumps(results[0], ensure_ascii=False), flush=True)
        if not all(gate["held"] for gate in results[0].get("gates", {}).values()):
            sys.exit(1)


def start_ray() -> None:
    """Join the running Ray, or start one on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": True}
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            # Ray Data waits for ever when all CPUs are taken by actors: a small machine counts as four.
            ray.init(num_cpus=max(4, os.cpu_count() or 1), **options)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # else the error that a user can mend is lost in one of Ray's


@contextlib.contextmanager
def open_workspace(url: str, lease: str, run: str, wait: float = 0) -> Iterator[tuple[Workspace, Lease]]:
    """The workspace of a job that writes, and the lease that it holds meanwhile; tells at the end how often a bucket was asked again.

    Args:
        lease: name of what nobody else may write at the same time: a flavor; or the run itself, to keep out only whoever deletes.
        wait: seconds to wait for whoever holds it.

    Raises:
        ShelfcodeError: the workspace has another layout, or another run holds the lease.
    """
    retries = count_retries()
    workspace = Workspace(url, on_retry=retries)
    check_layout(workspace)
    with hold_lease(workspace, lease, run, wait) as held:
        yield workspace, held
    if number := retries.read():
        say(f"the object store failed to answer {number:,} requests; all were asked again")


def has_gpu() -> bool:
    """Whether the running Ray has a GPU now."""
    return ray.cluster_resources().get("GPU", 0) > 0


@contextlib.contextmanager
def stage(name: str, total: int | None = None, unit: str = "products") -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage: a bar on a terminal, now and then a line in a log.

    Yields a function that takes the number done since it was last called.
    """
    started = time.monotonic()
    done, said = 0, started
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bars:
        bar = bars.add_task(name, total=total)

        def advance(number: int) -> None:
            nonlocal done, said
            done += number
            bars.update(bar, completed=done)
            if not screen.is_terminal and time.monotonic() - said > SAY_EVERY_SECONDS:
                said = time.monotonic()
                say(f"{name}: {done:,}" + (f" of {total:,}" if total else "") + f" {unit}")

        yield advance
    count = f"{done:,} {unit} in " if done else ""
    say(f"{name}: {count}{time.monotonic() - started:.1f} s")


def say(text: str) -> None:
    """One line of progress, on stderr."""
    screen.print(escape(text), soft_wrap=True)


def say_embedded(embedded: EmbeddedCatalog) -> None:
    """How many products were embedded, and how their attributes came about."""
    for line in embedded.extracted.account() if embedded.extracted else []:
        say(line)
    say(f"{embedded.embedded:,} products embedded, {embedded.reused:,} unchanged and not embedded again, {embedded.rejected:,} rejected")


def show_figures(title: str, columns: Mapping[str, Mapping[str, object]], row: str = "figure") -> None:
    """A table on stderr: a row a figure, or whatever else `row` calls it, and a column each set of them."""
    table = Table(title=title, title_justify="left")
    table.add_column(row, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for figure in dict.fromkeys(figure for figures in columns.values() for figure in figures):
        cells = (figures.get(figure) for figures in columns.values())
        table.add_row(figure, *("-" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else escape(str(cell)) for cell in cells))
    screen.print(table)


def show_prefixes(prefixes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A table on stderr: prefixes and some of the products below them."""
    table = Table("prefix", "products", title="Some prefixes", title_justify="left", show_lines=True)
    for prefix, titles in prefixes:
        table.add_row(prefix, escape("\n".join(titles)))
    screen.print(table)


def show_release(release: Manifest, prefixes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Tables on stderr: some prefixes of a release just published, its figures, and what changed against its parent."""
    show_prefixes(prefixes)
    rows = {f"rows {name}": count for name, count in release.rows.model_dump().items()}
    churn = release.churn or {"changed": ()}
    changed = {f"changed down to L{level}, of {churn['against']}": share for level, share in enumerate(churn["changed"], start=1)}
    show_figures(release.name, {"value": {**release.metrics, **rows, **changed}})


def show_attributes(workspace: Workspace, extracted: ExtractedCatalog, products: int = 8) -> None:
    """A table on stderr: the attributes of some products of the catalog, and what was dropped of them."""
    number = int(extracted.owner.values_K.min())
    stored = workspace.read_table(extracted.parts[number])
    ours_N = first_copies(row_keys(stored["item_id"], stored["text_hash"]), extracted.owner, number)
    shown = stored.filter(pa.array(ours_N)).slice(0, products).drop_columns(HIDDEN)
    names = ("dropped" if name == "unsupported" else name.replace("_", " ") for name in shown.column_names)
    table = Table(*names, title="Some attributes", title_justify="left")
    for row in shown.to_pylist():
        table.add_row(*(escape(value if isinstance(value, str) else ", ".join(value or ())) for value in row.values()))
    screen.print(table)


def show_rejected(workspace: Workspace, snapshot: Snapshot, run: str) -> None:
    """Why rows were rejected, and where they are kept; nothing when none was."""
    for reason, count in snapshot.reasons.items():
        screen.print(f"[bold yellow]rejected[/] {count:,} x {escape(reason)}", soft_wrap=True)
    for folder in dict.fromkeys((snapshot.rejected_folder, f"rejected/{run}")):
        if workspace.exists(folder):
            say(f"rejected rows: {workspace.address(folder)}")


def _users_message(error: BaseException) -> str | None:
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
