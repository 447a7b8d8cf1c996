"""The whole job on the Instacart catalog as a user runs it, with one and with two workers, and what it must reach.

SHELFCODE_DATA=... python tests/benchmarks/whole_job.py [--workers 1 --workers 2]
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from catalogs import catalog_file
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]


def main(workers: Annotated[list[int] | None, typer.Option(help="Ray Train workers; a row each.")] = None) -> None:
    """Run jobs/train_flavor.py in a fresh workspace for each number of workers and print the table."""
    figures = (
        "similarity_depth_spearman",
        "codewords_used_share",
        "distinct_share",
        "l1_largest_over_even",
        "ami_l1_top",
        "purity_l2_leaf",
    )
    table = Table("workers", "minutes", "read", "coded", *figures)
    for count in workers or [1, 2]:
        with tempfile.TemporaryDirectory() as workspace:
            started = time.perf_counter()
            flags = [
                "--flavor",
                "precision",
                "--catalog",
                str(catalog_file()),
                "--workspace",
                workspace,
                "--set",
                f"training.workers={count}",
            ]
            flags += ["--set", f"training.cpus_per_worker={max(1, 2 // count)}"]
            done = subprocess.run([sys.executable, "jobs/train_flavor.py", *flags], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            minutes = (time.perf_counter() - started) / 60
        result = json.loads(done.stdout.splitlines()[-1])
        rows, metrics = result["rows"], result["metrics"]
        table.add_row(
            str(count), f"{minutes:.1f}", str(rows["read"]), str(rows["coded"]), *(f"{metrics[figure]:.4f}" for figure in figures)
        )
    table.add_row("must", "<= 15", "49688", "49688", ">= 0.78", ">= 0.97", ">= 0.80", "<= 3", ">= 0.42", ">= 0.66")
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
