"""Distil an extractor: a small causal language model that learns from any teachers' attributes, published in the workspace.

python jobs/distill_extractor.py --catalog CATALOG --attributes WS/attributes/TEACHER --workspace WS [--student small] [--name NAME]

Several teachers: --catalog and --attributes once each, in the same order, and --weight where one is to be heard more often.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.attributes.distil.field_scores import macro_f1
from shelfcode.attributes.distil.student import StudentRecipe, check_place, load_student_recipe, place_folder
from shelfcode.attributes.distil.teacher import Teacher, check_teachers, name_teachers
from shelfcode.attributes.distil.train import finish_student, gather_pairs, train_student
from shelfcode.attributes.published_extractor import ExtractorCard
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.catalog.snapshot import Snapshot
from shelfcode.job.capacity import training_stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.lease import Lease
from shelfcode.published_model import check_name, publish_model
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run

STUDENTS = Path(__file__).parent / "students"

CatalogsFlag = Annotated[
    list[str], typer.Option("--catalog", help="What a teacher spoke of: as in other jobs; once a teacher, in the order of --attributes.")
]
AttributesFlag = Annotated[
    list[str], typer.Option("--attributes", help="A teacher's output: Parquet with item_id and those of the attributes that it knows.")
]
WeightFlag = Annotated[
    list[float] | None, typer.Option("--weight", help="How often a teacher's pairs are taught, against 1: once a teacher, or never.")
]
StudentFlag = Annotated[str, typer.Option("--student", help="Name under jobs/students/, or the path of a YAML file.")]
NameFlag = Annotated[
    str | None,
    typer.Option("--name", help="Of the extractor, by default the student's: recipes name it workspace:extractors/NAME@current."),
]
OutFlag = Annotated[Path | None, typer.Option("--out", help="Folder of this machine for a copy of the model.")]


def main(
    catalog: CatalogsFlag, attributes: AttributesFlag, workspace: WorkspaceFlag, weight: WeightFlag = None, out: OutFlag = None,
    student: StudentFlag = "small", name: NameFlag = None, set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a student on what teachers said of catalogs, measure it on pairs held out, and publish it."""
    recipe = load_student_recipe(student, STUDENTS, set_ or [])
    name = name or recipe.name
    check_name(name)
    if out:
        check_place(out)
    teachers = name_teachers(catalog, attributes, weight or [])
    check_teachers(teachers, recipe.attributes)
    for source in catalog:
        check_catalog(source, CatalogSettings())
    start_ray()
    recipe = fit_to_cluster(recipe, [training_stage(recipe.workers, recipe.cpus_per_worker, recipe.use_gpu, prefix="")])
    run = new_run(f"distill-{name}")
    with open_workspace(workspace, f"extractor-{name}", run) as (opened, lease):
        return distill(recipe, name, teachers, out, opened, lease, run)


def distill(
    recipe: StudentRecipe, name: str, teachers: list[Teacher], out: Path | None, workspace: Workspace, lease: Lease, run: str
) -> dict[str, Any]:
    with stage("reading the catalog", unit="rows") as progress:
        read = {
            source: take_snapshot(source, CatalogSettings(), workspace, f"{run}-{number}" if number else run, progress)
            for number, source in enumerate(dict.fromkeys(teacher.catalog for teacher in teachers))
        }
    with stage("making pairs of text and answer"):
        teaching = gather_pairs(recipe, teachers, [read[teacher.catalog] for teacher in teachers], workspace)
    say(f"{teaching.pairs:,} pairs, {teaching.held_out:,} of them held out; {teaching.silent:,} products without an answer")
    say(f"{teaching.dropped:,} ingredients and tags of the teacher's are not taught: the product's own text does not support them")

    if has_checkpoint(workspace, teaching.folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    with stage(f"training {recipe.steps} steps"):
        checkpoint = train_student(recipe, teaching, workspace)
    draft = f"{teaching.folder}/draft"
    with stage(f"answering {teaching.held_out:,} texts that were held out"):
        scores = finish_student(recipe, checkpoint, teaching, workspace, draft)

    rows = {
        "read": sum(snapshot.read for snapshot in read.values()),
        "taught": teaching.taught,
        "held_out": teaching.held_out,
        "without_answer": teaching.silent,
    }
    rejected = sum(snapshot.rejected for snapshot in read.values())
    figures = {"macro_f1": macro_f1(scores), **{f"{field}_f1": score.f1 for field, score in scores.items()}}
    card = ExtractorCard(
        name=name, base=recipe.base, recipe=recipe.model_dump(mode="json"), figures=figures,
        data={"teachers": [_told(teacher, read[teacher.catalog]) for teacher in teachers], **rows},
    )  # fmt: skip
    lease.check()
    extractor = publish_model(workspace, draft, card)
    workspace.remove(teaching.folder)
    if out:
        place_folder(out, lambda copy: workspace.fs.get(f"{workspace.path(f'{extractor.folder}/model')}/", f"{copy}/", recursive=True))
    show_figures(f"{extractor.model}, on pairs held out", {"F1": {field: score.f1 for field, score in scores.items()}})
    say(f"in a recipe: extractor.model: {extractor.model}")
    return {
        "extractor": extractor.model, "path": workspace.address(extractor.folder), "rows": {**rows, "rejected": rejected},
        "metrics": figures,
    }  # fmt: skip


def _told(teacher: Teacher, snapshot: Snapshot) -> dict[str, Any]:
    """A teacher, for the extractor's card."""
    return {
        "catalog": snapshot.source, "fingerprint": snapshot.fingerprint, "attributes": teacher.attributes, "weight": teacher.weight,
    }  # fmt: skip


if __name__ == "__main__":
    run_job(main)
