"""The whole way on one machine: make the sample catalog, train both flavors on it, hold them against what is known of its products.

python jobs/demo.py [--out demo] [--size 5000] [--steps 300] [--extractor rules|vllm]
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import evaluate_flavor
import make_sample_catalog
import train_flavor
from shelfcode.job.command import run_job
from shelfcode.job.screen import say, show_figures

SMALL_EXTRACTOR = [
    "extractor.engine=vllm",
    "extractor.model=package:shelfcode.attributes.small_extractor",
    "extractor.max_input_tokens=256",
]


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for the sample catalog and the workspace.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=2000, help="Products of the sample catalog.")] = 5000,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Training steps a flavor; the recipes' own number suits larger catalogs.")
    ] = 300,
    extractor: Annotated[
        Literal["rules", "vllm"], typer.Option("--extractor", help="vllm: the small language model that comes with the package.")
    ] = "rules",
) -> dict[str, Any]:
    """Make the sample catalog, train precision and discovery on it, and print both side by side."""
    sample = make_sample_catalog.main(out / "sample", size)
    settings = ["hardware=cpu", f"training.steps={steps}"]
    settings_of = {"precision": settings, "discovery": [*settings, *(SMALL_EXTRACTOR if extractor == "vllm" else [])]}
    results = [train_flavor.main(flavor, sample["catalog"], str(out / "workspace"), flags) for flavor, flags in settings_of.items()]
    show_figures(
        "both flavors",
        {result["release"]: {**result["metrics"], **{f"rows {n}": c for n, c in result["rows"].items()}} for result in results},
    )
    for result in results:
        say(f"report of {result['release']}: {result['path']}/report.html")
    compared = evaluate_flavor.main("discovery", str(out / "workspace"), against="precision", pairs=sample["facts"])
    say(f"both flavors against the planted facts: {compared['comparison']}")
    return {"sample": sample, "releases": results, "comparison": compared["comparison"]}


if __name__ == "__main__":
    run_job(main)
