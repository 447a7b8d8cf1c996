"""The teachers' tables of the small extractor, and the command that teaches it by them.

SHELFCODE_DATA=... python tests/benchmarks/extraction_training.py --out FOLDER --base platform/shelfcode/attributes/small_model [--train]

Writes FOLDER/<teacher>/catalog.parquet and attributes.parquet (see teachers.py), prints the command, and runs it with --train: one to two
hours on two cores. What comes of it is judged by extraction_quality.py, on products that no teacher speaks of.
"""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from teachers import write_teachers

ROOT = Path(__file__).parents[2]
WEIGHTS = {"sample": 2.0, "esci": 1.0, "industrial": 0.7, "shelf": 0.8}


def training_command(folder: Path, base: Path) -> list[str]:
    """How jobs/distill_extractor.py is told of all teachers."""
    told = [
        argument
        for name, weight in WEIGHTS.items()
        for argument in ("--catalog", f"{folder}/{name}/catalog.parquet", "--attributes", f"{folder}/{name}/attributes.parquet",
                         "--weight", str(weight))
    ]  # fmt: skip
    places = ["--workspace", f"{folder}/workspace", "--out", f"{folder}/model", "--student", "wide", "--set", f"base={base}"]
    return [sys.executable, str(ROOT / "jobs/distill_extractor.py"), *told, *places]


def main(
    out: Annotated[Path, typer.Option(help="Folder for the tables, the workspace and the model.")],
    base: Annotated[Path, typer.Option(help="Folder of the student to go on from.")],
    sample: Annotated[int, typer.Option(help="Products of the sample shop.")] = 5000,
    shelf: Annotated[int, typer.Option(help="Titles made from the lexicon.")] = 20_000,
    train: Annotated[bool, typer.Option(help="Run the training, too.")] = False,
) -> None:
    """Write the teachers' tables and print, or run, the training."""
    write_teachers(out.absolute(), sample, shelf, seed=0)
    command = training_command(out.absolute(), base.absolute())
    print(shlex.join(command))
    if train:
        subprocess.run(command, check=True)


if __name__ == "__main__":
    typer.run(main)
