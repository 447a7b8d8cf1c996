"""The whole way on one machine: make the sample catalog, train both flavors on it, show what came out.

python jobs/demo.py [--out demo] [--size 5000] [--steps 300]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

import make_sample_catalog
import train_flavor
from shelfcode.job import run_job, say, show_figures


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for the sample catalog and the workspace.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=2000, help="Products of the sample catalog.")] = 5000,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Training steps a flavor; the recipes' own number suits larger catalogs.")
    ] = 300,
) -> dict[str, Any]:
    """Make the sample catalog, train precision and discovery on it, and print both side by side."""
    sample = make_sample_catalog.main(out / "sample", size)
    settings = [f"training.steps={steps}"]
    results = [train_flavor.main(flavor, sample["catalog"], str(out / "workspace"), settings) for flavor in ("precision", "discovery")]
    show_figures(
        "both flavors",
        {result["release"]: {**result["metrics"], **{f"rows {n}": c for n, c in result["rows"].items()}} for result in results},
    )
    for result in results:
        say(f"report of {result['release']}: {result['path']}/report.html")
    return {"sample": sample, "releases": results}


if __name__ == "__main__":
    run_job(main)
