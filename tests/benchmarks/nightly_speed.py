"""What a night costs: nothing changed, one product, 1%, everything, by the job as an operator runs it.

SHELFCODE_DATA=... python tests/benchmarks/nightly_speed.py [--share 0.01] [--workspace FOLDER]

A workspace that is named and holds a release of precision is used as it is, and gets further releases; else one is trained.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from catalogs import catalog_file
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]


def main(
    share: Annotated[float, typer.Option(help="Of products whose title changes.")] = 0.01,
    workspace: Annotated[Path | None, typer.Option(help="With a release of precision; one is trained when left out.")] = None,
) -> None:
    """Run the nights and print the table."""
    products = pq.read_table(catalog_file())
    with tempfile.TemporaryDirectory() as folder:
        home = workspace or Path(folder) / "workspace"
        if not (home / "releases/precision/CURRENT").exists():
            run("train_flavor", catalog_file(), home)
        one, some, every = "one product changed", f"{share:.0%} changed", "all changed"
        nights = {
            "nothing changed, same file": catalog_file(),
            "nothing changed, file written again": rewritten(products, 0, Path(folder) / "again.parquet"),
            one: rewritten(products, 1 / len(products), Path(folder) / "one.parquet"),
            some: rewritten(products, share, Path(folder) / "some.parquet"),
            every: rewritten(products, 1, Path(folder) / "every.parquet"),
        }
        table = Table("night", "embedded", "changed", "unchanged", "seconds", title=f"{len(products):,} products")
        seconds, embedded = {}, {}
        for name, catalog in nights.items():
            result, seconds[name] = run("reembed_catalog", catalog, home)
            changes, embedded[name] = result["changes"], result["embedded"]
            table.add_row(name, f"{embedded[name]:,}", f"{changes['changed']:,}", f"{changes['unchanged']:,}", f"{seconds[name]:.1f}")
        Console(width=140).print(table)
    fixed = seconds[one]
    print(f"fixed cost of a night that publishes: {fixed:.1f} s; all products on top of it: {seconds[every] - fixed:.1f} s")
    of_share = embedded[some] / (share * embedded[every])
    print(f"{some}: {of_share:.2f} x its share of embeddings, {seconds[some] - fixed:.1f} s on top of the fixed cost")


def rewritten(products: pa.Table, share: float, path: Path) -> Path:
    """The catalog with other titles for the first share of its products."""
    changed = round(share * len(products))
    titles = [f"{title} {path.stem}" if place < changed else title for place, title in enumerate(products["title"].to_pylist())]
    pq.write_table(products.set_column(products.schema.get_field_index("title"), "title", pa.array(titles)), path)
    return path


def run(job: str, catalog: Path, workspace: Path) -> tuple[dict[str, Any], float]:
    """One job in a process of its own: its last line, and how long it took from start to end."""
    started = time.perf_counter()
    flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, f"jobs/{job}.py", *flags], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
