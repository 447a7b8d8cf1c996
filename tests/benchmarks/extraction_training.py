"""The teachers' tables of the small extractor, and the command that teaches it by them.

SHELFCODE_DATA=... python tests/benchmarks/extraction_training.py --out FOLDER --base STUDENT [--train]
SHELFCODE_DATA=... python tests/benchmarks/extraction_training.py --out SECOND --base FOLDER/model --second [--train]
SHELFCODE_DATA=... python tests/benchmarks/extraction_training.py --out FOLDER --student smollm2 [--train]
SHELFCODE_DATA=... python tests/benchmarks/extraction_training.py --out SECOND --student smollm2 --base FOLDER/model --second [--train]

Writes FOLDER/<teacher>/catalog.parquet and attributes.parquet (see teachers.py), prints the command, and runs it with --train: some half an
hour on two cores, for SmolLM2 an hour and a half. What comes of it is judged by extraction_quality.py, on products that no teacher saw.

The student that is passed on is taught twice, the second time by all kinds of product that the sample shop has: 5,000 of its products hold
the rarest once or not at all. The first base is a student of the sample shop alone (docs/attributes.md says how it is made). SmolLM2 stays
on the machine and hears Instacart's aisles, too, the second time by nearly them alone; the student that is passed on does not.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from teachers import write_teachers

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Teaching:
    """What a student is taught.

    Attributes:
        weights: of each teacher.
        sample, instacart: products of these two.
        further: flags of the training.
    """

    weights: dict[str, float]
    sample: int = 5000
    instacart: int = 0
    further: tuple[str, ...] = ()


TEACHINGS = {
    ("wide", False): Teaching({"sample": 2.0, "esci": 1.0, "industrial": 0.7, "shelf": 0.8}),
    ("wide", True): Teaching(
        {"sample": 0.6, "esci": 0.5, "industrial": 0.3, "shelf": 0.8}, sample=40_000,
        further=("--set", "own_vocabulary=null", "--set", "steps=1600", "--set", "learning_rate=0.001"),
    ),
    ("smollm2", False): Teaching({"sample": 0.4, "esci": 0.5, "industrial": 0.2, "instacart": 0.8}, instacart=8000),
    ("smollm2", True): Teaching(
        {"sample": 0.05, "esci": 0.2, "instacart": 0.75}, instacart=26_000,
        further=("--set", "steps=1150", "--set", "learning_rate=0.0008", "--set", "warmup_steps=40"),
    ),
}  # fmt: skip
"""By student, and whether it is taught for the second time."""


def training_command(folder: Path, student: str, base: Path | None, weights: dict[str, float], further: Sequence[str]) -> list[str]:
    """How jobs/distill_extractor.py is told of all teachers."""
    told = [
        argument
        for name, weight in weights.items()
        for argument in ("--catalog", f"{folder}/{name}/catalog.parquet", "--attributes", f"{folder}/{name}/attributes.parquet",
                         "--weight", str(weight))
    ]  # fmt: skip
    places = ["--workspace", f"{folder}/workspace", "--out", f"{folder}/model", "--student", student]
    named = ["--set", f"base={base.absolute()}"] if base else []
    return [sys.executable, str(ROOT / "jobs/distill_extractor.py"), *told, *places, *named, *further]


def main(
    out: Annotated[Path, typer.Option(help="Folder for the tables, the workspace and the model.")],
    base: Annotated[Path | None, typer.Option(help="Folder of the student to go on from, where its recipe names none.")] = None,
    student: Annotated[Literal["wide", "smollm2"], typer.Option(help="Which recipe of jobs/students.")] = "wide",
    second: Annotated[bool, typer.Option("--second", help="The second teaching, of a student that was taught once.")] = False,
    shelf: Annotated[int, typer.Option(help="Titles made from the lexicon.")] = 20_000,
    train: Annotated[bool, typer.Option(help="Run the training, too.")] = False,
) -> None:
    """Write the teachers' tables and print, or run, the training."""
    teaching = TEACHINGS[student, second]
    write_teachers(out.absolute(), teaching.sample, shelf, seed=0, instacart=teaching.instacart)
    command = training_command(out.absolute(), student, base, teaching.weights, teaching.further)
    print(shlex.join(command))
    if train:
        subprocess.run(command, check=True)


if __name__ == "__main__":
    typer.run(main)
