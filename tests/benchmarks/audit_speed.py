"""How long an audit takes and how much memory, stage by stage, and whether both stay in proportion to the number of products.

python tests/benchmarks/audit_speed.py [--products 50000 --products 500000] [--folder FOLDER] [--set key=value]
SHELFCODE_DATA=... python tests/benchmarks/audit_speed.py --workspace WS     (a workspace with a release of precision, such as Instacart's)

Without a workspace: synthetic products with a cheap encoder (bag_of_words.py) in 2,000 leaves. The flavor is trained on the fewest
products; the others are coded by the same model, as a nightly run codes them. What a folder holds already is used as it is.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from bag_of_words import save_encoder, vocabulary, write_catalog
from measured_process import Measured, measure
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
TRAINING = ("training.steps=300", "hardware=cpu", "encoder.backend=torch", "encoder.cpus_per_actor=1", "encoder.actors_max=2")


def main(
    products: Annotated[list[int] | None, typer.Option(help="So many products; a row each.")] = None,
    folder: Annotated[Path | None, typer.Option(help="For catalogs and workspace; it stays. A temporary one when left out.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Audit its current release of precision instead.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value of the audit's settings.")] = None,
) -> None:
    """Print a table of stages for each size, and the line through the sizes."""
    console = Console(width=140)
    settings = [word for setting in set_ or [] for word in ("--set", setting)]
    if workspace:
        console.print(stage_table(*run_audit(workspace, "precision@current", settings)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        home = folder or Path(temporary)
        measured = {}
        for size in sorted(products or [50_000, 500_000]):
            audited, run = run_audit(home / "workspace", release_of(home, size), settings)
            measured[audited] = run
            console.print(stage_table(audited, run))
        if len(measured) > 1:
            console.print(line_through({size: run.seconds for size, run in measured.items()}, "s"))
            console.print(line_through({size: run.peak / 1e9 for size, run in measured.items()}, "GB"))


def release_of(home: Path, size: int) -> str:
    """A release of precision over so many synthetic products: trained where there is none yet, else coded by the one before."""
    known = home / f"release-{size}.txt"
    if known.exists():
        return known.read_text().strip()
    catalog, workspace = home / f"catalog-{size}", home / "workspace"
    write_catalog(catalog, size, vocabulary())
    flags = ["--flavor", "precision", "--catalog", str(catalog), "--workspace", str(workspace)]
    if not (workspace / "releases/precision/CURRENT").exists():
        save_encoder(home / "encoder")
        settings = [f"encoder.model={home / 'encoder'}", *TRAINING]
        release = job("train_flavor", *flags, *(word for setting in settings for word in ("--set", setting)))
    else:
        release = job("reembed_catalog", *flags, "--allow-removals")
    known.write_text(release)
    return release


def run_audit(workspace: Path, release: str, settings: list[str]) -> tuple[int, Measured]:
    """Number of audited products, and what the job took from its start to its end, that of Ray included."""
    command = [sys.executable, "jobs/audit_catalog.py", "--release", release, "--workspace", str(workspace), *settings]
    measured = measure(command, ROOT)
    audit = json.loads(measured.stdout.splitlines()[-1])["audit"]
    manifest = json.loads((workspace / "audits" / audit / "manifest.json").read_text())
    return manifest["products"], measured


def stage_table(products: int, measured: Measured) -> Table:
    table = Table("stage", "seconds", "peak memory", title=f"{products:,} products")
    for stage in measured.stages:
        table.add_row(stage.name, f"{stage.seconds:,.1f}", f"{stage.peak / 1e9:.1f} GB")
    within = sum(stage.seconds for stage in measured.stages)
    table.add_row("all stages", f"{within:,.1f}", "")
    table.add_row("from the command line to the end", f"{measured.seconds:,.1f}", f"{measured.peak / 1e9:.1f} GB")
    return table


def line_through(value_of: dict[int, float], unit: str) -> str:
    """Least squares: what an audit costs at all, what a product adds, and how far the sizes are from that line."""
    size, value = np.array(list(value_of), dtype=np.float64), np.array(list(value_of.values()))
    slope, fixed = np.polyfit(size, value, 1)
    ratio = (value[-1] / value[0]) / (size[-1] / size[0])
    times = f"{size[-1] / size[0]:.3g} times the products take {value[-1] / value[0]:.3g} times as much ({ratio:.2f} x proportional)"
    return f"{fixed:.1f} {unit} + {1e5 * slope:.2f} {unit} per 100,000 products; {times}"


def job(name: str, *flags: str) -> str:
    """Run a job that publishes a release, and return its name."""
    done = subprocess.run([sys.executable, f"jobs/{name}.py", *flags], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    release: str = json.loads(done.stdout.splitlines()[-1])["release"]
    return release


if __name__ == "__main__":
    typer.run(main)
