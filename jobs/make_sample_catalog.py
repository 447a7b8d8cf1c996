"""Make a sample grocery catalog with planted facts: python jobs/make_sample_catalog.py --out FOLDER [--size 5000] [--seed 0]"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from shelfcode.catalog.sample import write_sample
from shelfcode.errors import ShelfcodeError

LARGE = 20_000


def main(
    out: Annotated[Path, typer.Option(help="Folder for catalog/ and facts/; made if missing.")],
    size: Annotated[int, typer.Option(min=1, help="Number of products.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and size give the same catalog.")] = 0,
) -> None:
    """Write a sample catalog and its planted facts as Parquet."""
    console = Console(stderr=True)
    bar = Progress(TextColumn("products"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, disable=size < LARGE)
    try:
        with bar:
            products = bar.add_task("products", total=size)
            summary = write_sample(out, size, seed, on_chunk=lambda rows: bar.advance(products, rows))
    except ShelfcodeError as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        raise typer.Exit(2) from None
    rows = {"products": summary.products, **summary.facts}
    table = Table("what", "rows", title=f"{summary.departments} departments, {summary.aisles} aisles, {summary.leaves} leaves")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    print(json.dumps({"catalog": str(out / "catalog"), "facts": str(out / "facts"), "rows": rows}))


if __name__ == "__main__":
    typer.run(main)
