"""Distil an extractor: a small causal language model that learns from any teacher's attributes, saved as a folder that vLLM loads.

python jobs/distill_extractor.py --catalog CATALOG --attributes WS/attributes/TEACHER --workspace WS --out FOLDER [--student small]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.attributes.distil.field_scores import field_scores, macro_f1
from shelfcode.attributes.distil.student import answer_all, check_place, load_student_recipe, place_student
from shelfcode.attributes.distil.teacher import read_teacher, teaching_pairs
from shelfcode.attributes.distil.train import train_student
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.job.capacity import training_stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, SetFlag, WorkspaceFlag
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.workspace import Workspace, new_run

STUDENTS = Path(__file__).parent / "students"

AttributesFlag = Annotated[str, typer.Option("--attributes", help="The teacher's output: Parquet with item_id and the attributes.")]
OutFlag = Annotated[Path, typer.Option("--out", help="Folder for the model; name it as extractor.model of a recipe.")]
StudentFlag = Annotated[str, typer.Option("--student", help="Name under jobs/students/, or the path of a YAML file.")]


def main(
    catalog: CatalogFlag, attributes: AttributesFlag, workspace: WorkspaceFlag, out: OutFlag, student: StudentFlag = "small",
    set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a student on what a teacher said of a catalog, measure it on pairs held out, and save it."""
    recipe, opened = load_student_recipe(student, STUDENTS, set_ or []), Workspace(workspace)
    check_place(out)
    teacher = read_teacher(attributes, recipe.attributes)
    check_catalog(catalog, CatalogSettings())
    start_ray()
    recipe = fit_to_cluster(recipe, [training_stage(recipe.workers, recipe.cpus_per_worker, recipe.use_gpu, prefix="")])

    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, CatalogSettings(), opened, new_run("distill"), progress)
    pairs = teaching_pairs(opened, snapshot, teacher, recipe.attributes)
    taught = len(pairs.texts) - min(recipe.held_out, len(pairs.texts) // 10)
    say(f"{len(pairs.texts):,} pairs, {len(pairs.texts) - taught:,} of them held out; {pairs.silent:,} products without an answer")
    say(f"{pairs.dropped:,} ingredients and tags of the teacher's are not taught: the product's own text does not support them")

    with stage(f"training {recipe.steps} steps"):
        model, tokenizer, run = train_student(recipe, pairs.texts[:taught], pairs.answers[:taught], opened)
    with stage("answering what was held out", len(pairs.texts) - taught) as progress:
        found = answer_all(model, tokenizer, pairs.texts[taught:], recipe.attributes, progress)
    scores = field_scores(found, pairs.known[taught:])

    place_student(out, model, tokenizer)
    opened.remove(run)
    show_figures(f"{out}, on pairs held out", {"F1": {name: score.f1 for name, score in scores.items()}})
    rows = {"read": snapshot.read, "taught": taught, "held_out": len(pairs.texts) - taught, "without_answer": pairs.silent}
    metrics = {"macro_f1": macro_f1(scores), **{f"{name}_f1": score.f1 for name, score in scores.items()}}
    return {"extractor": str(out), "rows": {**rows, "rejected": snapshot.rejected}, "metrics": metrics}


if __name__ == "__main__":
    run_job(main)
