"""Make a sample grocery catalog, with planted facts beside it to judge later steps by.

python jobs/make_sample_catalog.py --out FOLDER [--size 5000] [--seed 0]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.job.command import run_job
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.sample.catalog import write_sample


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for catalog/ and facts/; made when missing.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Number of products; millions are written a piece at a time.")] = 5000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed and size give the same catalog.")] = 0,
) -> dict[str, Any]:
    """Write a sample catalog and its planted facts as Parquet."""
    with stage("making the sample catalog", size) as progress:
        summary = write_sample(out, size, seed, on_chunk=progress)
    rows = {"products": summary.products, **summary.facts}
    say(f"{summary.products:,} products in {summary.departments} departments, {summary.aisles} aisles and {summary.leaves} leaves")
    show_figures("sample catalog", {"rows": rows}, row="table", long=True)
    return {"catalog": str(out / "catalog"), "facts": str(out / "facts"), "rows": rows}


if __name__ == "__main__":
    run_job(main)
