"""What a job shows while it runs and at its end, on stderr: progress, lines and tables."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.embedding.embeddings import EmbeddedCatalog
from shelfcode.keys import first_copies, row_keys
from shelfcode.releases.release import Manifest
from shelfcode.workspace import Workspace

SAY_EVERY_SECONDS = 10
HIDDEN = ["item_id", "text_hash", "extractor", "failure", "truncated"]
"""Columns of an attributes table that say nothing of a product."""

# A log has no width, and rich would take 80 columns: tables lost the ends of their names.
console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


@contextlib.contextmanager
def stage(name: str, total: int | None = None, unit: str = "products") -> Iterator[Callable[[int], None]]:
    """Show the progress of one stage: a bar on a terminal, now and then a line in a log.

    Yields a function that takes the number done since it was last called.
    """
    started = time.monotonic()
    done, said = 0, started
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(name, total=total)

        def advance(number: int) -> None:
            nonlocal done, said
            done += number
            bars.update(bar, completed=done)
            if not console.is_terminal and time.monotonic() - said > SAY_EVERY_SECONDS:
                said = time.monotonic()
                say(f"{name}: {done:,}" + (f" of {total:,}" if total else "") + f" {unit}")

        yield advance
    count = f"{done:,} {unit} in " if done else ""
    say(f"{name}: {count}{time.monotonic() - started:.1f} s")


def say(text: str) -> None:
    """One line of progress, on stderr."""
    console.print(escape(text), soft_wrap=True)


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
    console.print(table)


def show_prefixes(prefixes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """A table on stderr: prefixes and some of the products below them."""
    table = Table("prefix", "products", title="Some prefixes", title_justify="left", show_lines=True)
    for prefix, titles in prefixes:
        table.add_row(prefix, escape("\n".join(titles)))
    console.print(table)


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
    console.print(table)


def show_rejected(workspace: Workspace, snapshot: Snapshot, run: str) -> None:
    """Why rows were rejected, and where they are kept; nothing when none was."""
    for reason, count in snapshot.reasons.items():
        console.print(f"[bold yellow]rejected[/] {count:,} x {escape(reason)}", soft_wrap=True)
    for folder in dict.fromkeys((snapshot.rejected_folder, f"rejected/{run}")):
        if workspace.exists(folder):
            say(f"rejected rows: {workspace.address(folder)}")
