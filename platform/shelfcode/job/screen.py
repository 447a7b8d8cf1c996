"""What a job shows while it runs and at its end, on stderr: progress, lines and tables."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from shelfcode.attributes.other_languages import language_warning
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.label_overlay import PASSED_OVER_FILE
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.evaluation.quality.figure_guide import judged_figures
from shelfcode.job.log import Streams
from shelfcode.keys import first_copies, row_keys
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

FIRST_REMARK_SECONDS, LAST_REMARK_SECONDS = 10, 320
"""In a log, a stage says how far it is after so many seconds, then after twice as many, and so on up to the last number."""
SILENT_SECONDS = 20
"""So often it is looked at whether a stage that counts nothing for a while is due for such a remark."""
HIDDEN = ("item_id", "text_hash", "extractor", "failure", "truncated", "quotes")
"""Columns of an attributes table that say nothing of a product."""

# A log has no width, and rich would take 80 columns: tables lost the ends of their names.
console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


@dataclass(frozen=True)
class View:
    """What of a job is shown.

    Attributes:
        verbose: long tables too, and what libraries print.
        hushed: only progress; whoever hushed the job tells the rest in its own way.
        streams: where the job writes while a log takes what libraries print; None without a log.
    """

    verbose: bool = False
    hushed: bool = False
    streams: Streams | None = None


_view = View()


@contextlib.contextmanager
def shown(verbose: bool, streams: Streams | None) -> Iterator[None]:
    """Show a job in this way until it ends."""
    global console
    before = console
    if streams:
        width = os.get_terminal_size(streams.err.fileno()).columns if streams.err.isatty() else before.width
        console = Console(file=streams.err, highlight=False, width=width)
    try:
        with _viewed(View(verbose=verbose, streams=streams)):
            yield
    finally:
        console = before


def hushed() -> contextlib.AbstractContextManager[None]:
    """Show progress alone, unless --verbose is given."""
    return _viewed(replace(_view, hushed=not _view.verbose))


@contextlib.contextmanager
def _viewed(view: View) -> Iterator[None]:
    global _view
    before, _view = _view, view
    try:
        yield
    finally:
        _view = before


@contextlib.contextmanager
def stage(name: str, total: int | None = None, unit: str = "products") -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage: a bar on a terminal, now and then a line in a log.

    Yields a function that takes the number done since it was last called.
    """
    started = time.monotonic()
    done, remark_after = 0, FIRST_REMARK_SECONDS
    next_remark = started + remark_after
    lock, over = threading.Lock(), threading.Event()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    loud = _view.streams is None  # else what is printed meanwhile belongs in the log, and not above the bar
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, redirect_stdout=loud, redirect_stderr=loud
    ) as bars:
        bar = bars.add_task(name, total=total)

        def remark() -> None:
            """Say how far the stage is, where it is time to."""
            nonlocal remark_after, next_remark
            with lock:
                if time.monotonic() <= next_remark:
                    return
                remark_after = min(2 * remark_after, LAST_REMARK_SECONDS)
                next_remark = time.monotonic() + remark_after
            _print(f"{name}: {done:,}" + (f" of {total:,}" if total else "") + f" {unit}")

        def advance(number: int) -> None:
            nonlocal done
            done += number
            bars.update(bar, completed=done)
            if not console.is_terminal:
                remark()

        # A stage may be busy for minutes before it has anything to count, such as the first products of a language model.
        def remark_now_and_then() -> None:
            while not over.wait(SILENT_SECONDS):
                remark()

        watching = contextlib.nullcontext() if console.is_terminal or not total else _in_background(remark_now_and_then, over)
        with watching:
            yield advance
    count = f"{done:,} {unit} in " if done else ""
    say(f"{name}: {count}{time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def _in_background(watch: Callable[[], None], over: threading.Event) -> Iterator[None]:
    """Run a function in a thread of its own, which is to end when the event is set."""
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def say(text: str) -> None:
    """One line of progress, on stderr."""
    if not _view.hushed:
        _print(text)


def say_result(text: str) -> None:
    """A line of what was asked for, on stdout."""
    print(text, file=_view.streams.out if _view.streams else None, flush=True)


def say_log() -> None:
    """Where the log is, in case somebody misses what libraries print."""
    if _view.streams:
        _print(f"log: {_view.streams.path}")


def show_error(message: str) -> None:
    """What went wrong, for a user who can mend it."""
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    say_log()


def say_embedded(embedded: EmbeddedCatalog) -> None:
    """How many products were embedded, and how their attributes came about."""
    for line in embedded.extracted.account() if embedded.extracted else []:
        say(line)
    silent = f", {embedded.without_text:,} of them without any text in the view" if embedded.without_text else ""
    counts = (
        f"{embedded.embedded:,} products embedded, {embedded.reused:,} unchanged and not embedded again, {embedded.rejected:,} rejected"
    )
    say(counts + silent)


def show_figures(title: str, columns: Mapping[str, Mapping[str, object]], row: str = "figure", long: bool = False) -> None:
    """A table on stderr: a row a figure, or whatever else `row` calls it, and a column each set of them.

    Args:
        long: shown with --verbose only.
    """
    if _view.hushed or (long and not _view.verbose):
        return
    table = Table(title=title, title_justify="left")
    table.add_column(row, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for figure in dict.fromkeys(figure for figures in columns.values() for figure in figures):
        cells = (figures.get(figure) for figures in columns.values())
        table.add_row(figure, *("-" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else escape(str(cell)) for cell in cells))
    console.print(table)


def show_lines(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns without lines around them, below a title: a table for few rows."""
    if _view.hushed:
        return
    table = Table.grid(padding=(0, 3))
    for row in rows:
        table.add_row(*(escape(cell) for cell in ("", *row)))
    console.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    console.print(table)


def show_prefixes(prefixes: Sequence[tuple[str, Sequence[str]]], most: int = 3, width: int = 100) -> None:
    """Some prefixes, each in a line with products below it."""
    show_lines("some prefixes", [(prefix, _cut("; ".join(titles), width)) for prefix, titles in prefixes[:most]])


def show_judged(releases: Sequence[Manifest]) -> None:
    """The few figures to look at first, with a verdict: a row a figure, a column a release."""
    judged = [judged_figures(release.metrics, levels=len(release.recipe["quantizer"]["codebook_sizes"])) for release in releases]
    cells = [
        [figures[0].name, *(f"{figure.text} {figure.verdict or ''}".strip() for figure in figures)] for figures in zip(*judged, strict=True)
    ]
    show_lines("figures, and how good they are", [["", *(release.name for release in releases)], *cells])


def rows_sentence(release: Manifest) -> str:
    """Rows read, coded and rejected."""
    return f"{release.rows.read:,} rows read, {release.rows.coded:,} coded, {release.rows.rejected:,} rejected"


def show_release(release: Manifest, prefixes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A release just published: rows, some prefixes, the figures to look at first; with --verbose all figures and what changed."""
    say(f"{release.name}: {rows_sentence(release)}")
    show_prefixes(prefixes)
    show_judged([release])
    churn = release.churn or {"changed": ()}
    changed = {f"changed down to L{level}, of {churn['against']}": share for level, share in enumerate(churn["changed"], start=1)}
    show_figures(release.name, {"value": {**release.metrics, **changed}}, long=True)


def show_attributes(workspace: Workspace, extracted: ExtractedCatalog) -> None:
    """A table on stderr: the attributes of some products of the catalog, of more with --verbose, and what was dropped of them."""
    products = 8 if _view.verbose else 3
    number = int(extracted.owner.values_K.min())
    stored = workspace.read_table(extracted.parts[number])
    ours_N = first_copies(row_keys(stored["item_id"], stored["text_hash"]), extracted.owner, number)
    shown = stored.select([name for name in stored.column_names if name not in HIDDEN]).filter(pa.array(ours_N)).slice(0, products)
    names = ("dropped" if name == "unsupported" else name.replace("_", " ") for name in shown.column_names)
    table = Table(*names, title="Some attributes", title_justify="left")
    for row in shown.to_pylist():
        table.add_row(*(escape(value if isinstance(value, str) else ", ".join(value or ())) for value in row.values()))
    console.print(table)


def say_labels(workspace: Workspace, snapshot: Snapshot) -> None:
    """What decided labels changed in the catalog, and which of them decided nothing."""
    if labels := snapshot.labels:
        say(
            f"{labels.rows:,} decided labels: {labels.changed:,} changed, {labels.already:,} the catalog's own by now, "
            f"{labels.kept:,} kept, {labels.excluded:,} excluded, {sum(labels.passed_over.values()):,} passed over"
        )
        for reason, count in labels.passed_over.items():
            console.print(f"[bold yellow]passed over[/] {count:,} x {escape(reason)}", soft_wrap=True)
        if labels.passed_over:
            say(f"passed over: {workspace.address(snapshot.folder)}/{PASSED_OVER_FILE}")


def say_language(workspace: Workspace, snapshot: Snapshot, extractor: ExtractorSettings) -> None:
    """Warn of a catalog that is not in English, where that matters to the extractor."""
    if told := language_warning(workspace, snapshot, extractor):
        console.print(f"[bold yellow]language[/] {escape(told)}", soft_wrap=True)


def show_rejected(workspace: Workspace, snapshot: Snapshot, run: str) -> None:
    """What was changed in the rows that are used, why others were rejected, and where these are kept; nothing where there is none."""
    if _view.hushed:
        return
    for note, of in snapshot.notes.items():
        console.print(f"[bold yellow]changed[/] {of.rows:,} x {escape(note)}, such as {escape(of.example)}", soft_wrap=True)
    for reason, count in snapshot.reasons.items():
        console.print(f"[bold yellow]rejected[/] {count:,} x {escape(reason)}", soft_wrap=True)
    for folder in dict.fromkeys((snapshot.rejected_folder, f"rejected/{run}")):
        if workspace.exists(folder):
            say(f"rejected rows: {workspace.address(folder)}")


def _print(text: str) -> None:
    console.print(escape(text), soft_wrap=True)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3].rstrip() + "..."
