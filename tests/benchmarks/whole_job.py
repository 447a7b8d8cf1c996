"""The whole job as a user runs it: on the Instacart catalog, with one and with two workers, and what it must reach.

SHELFCODE_DATA=... python tests/benchmarks/whole_job.py [--workers 1 --workers 2]

With --products N, on so many synthetic products with a cheap encoder instead (bag_of_words.py): seconds and memory of each stage.

python tests/benchmarks/whole_job.py --products 1000000 [--set key.sub=value] [--folder FOLDER]
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from bag_of_words import save_encoder, vocabulary, write_catalog
from catalogs import catalog_file
from measured_process import Measured, measure
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
FIGURES = (
    "similarity_depth_spearman", "codewords_used_share", "distinct_share", "l1_largest_over_even", "ami_l1_top", "purity_l2_leaf",
)  # fmt: skip


def main(
    workers: Annotated[list[int] | None, typer.Option(help="Ray Train workers; a row each.")] = None,
    products: Annotated[int | None, typer.Option(help="So many synthetic products, in place of the Instacart catalog.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value of the recipe.")] = None,
    folder: Annotated[Path | None, typer.Option(help="For catalog and workspace; it stays. A temporary one when left out.")] = None,
) -> None:
    """Run jobs/train_flavor.py in a fresh workspace and print the table."""
    if products:
        with tempfile.TemporaryDirectory() as temporary:
            synthetic(products, folder or Path(temporary), set_ or [])
        return
    table = Table("workers", "minutes", "read", "coded", *FIGURES)
    for count in workers or [1, 2]:
        with tempfile.TemporaryDirectory() as workspace:
            settings = [f"training.workers={count}", f"training.cpus_per_worker={max(1, 2 // count)}", *(set_ or [])]
            done = train(str(catalog_file()), workspace, settings)
        result = json.loads(done.stdout.splitlines()[-1])
        rows, metrics = result["rows"], result["metrics"]
        cells = (f"{metrics[figure]:.4f}" for figure in FIGURES)
        table.add_row(str(count), f"{done.seconds / 60:.1f}", str(rows["read"]), str(rows["coded"]), *cells)
    table.add_row("must", "<= 15", "49688", "49688", ">= 0.78", ">= 0.97", ">= 0.80", "<= 3", ">= 0.42", ">= 0.66")
    Console(width=140).print(table)


def synthetic(products: int, folder: Path, settings: list[str]) -> None:
    """The job on synthetic products; a row a stage."""
    write_catalog(folder / "catalog", products, vocabulary())
    save_encoder(folder / "encoder")
    cheap = ("encoder.backend=torch", "encoder.cpus_per_actor=1", "encoder.actors_max=2")  # tokenising is most of it, in one thread each
    settings = [f"encoder.model={folder / 'encoder'}", *cheap, *settings]
    done = train(str(folder / "catalog"), str(folder / "workspace"), settings)
    result = json.loads(done.stdout.splitlines()[-1])
    table = Table("stage", "seconds", "peak memory", title=f"{products:,} products, coded {result['rows']['coded']:,}")
    for stage in done.stages:
        table.add_row(stage.name, f"{stage.seconds:,.0f}", f"{stage.peak / 1e9:.1f} GB")
    table.add_row("the whole job", f"{done.seconds:,.0f}", f"{done.peak / 1e9:.1f} GB")
    console = Console(width=140)
    console.print(table)
    console.print({name: round(value, 4) for name, value in result["metrics"].items()})


def train(catalog: str, workspace: str, settings: list[str]) -> Measured:
    """Run the job with the precision recipe."""
    flags = ["--flavor", "precision", "--catalog", catalog, "--workspace", workspace]
    flags += [word for setting in ("hardware=cpu", *settings) for word in ("--set", setting)]
    return measure([sys.executable, "jobs/train_flavor.py", *flags], ROOT)


if __name__ == "__main__":
    typer.run(main)
