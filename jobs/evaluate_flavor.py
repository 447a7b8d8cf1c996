"""Evaluate a release again, or two side by side, and against the pairs of products that belong together.

python jobs/evaluate_flavor.py --release precision@v0001 --workspace WS [--against precision@v0002] [--pairs PATH] [--seed 1]
    [--set encoder.gpus_per_actor=0]
"""

from typing import Annotated, Any

import typer

from shelfcode.evaluation.behaviour.behavioural_report import behavioural_notes, lift_columns, ratio_columns
from shelfcode.evaluation.comparison import compare, comparison_columns, comparison_html
from shelfcode.evaluation.pipeline import EvaluatedRelease, evaluate_release, evaluation_folder
from shelfcode.evaluation.quality.evaluate import headline
from shelfcode.evaluation.release_files import compare_behavioural_alignment
from shelfcode.interactions.relations import Relations, read_relations
from shelfcode.job.capacity import embedding_stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.releases.release import Manifest, load_manifest, release_recipe
from shelfcode.workspace import Workspace, new_run

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0001, or a flavor for its current release.")]
AgainstFlag = Annotated[str | None, typer.Option("--against", help="A second release, to be shown beside the first.")]
SeedFlag = Annotated[int, typer.Option("--seed", help="Of the pairs that are drawn.")]
PairsFlag = Annotated[
    str | None,
    typer.Option("--pairs", help="Parquet file or folder of relations: pairs, baskets, judgments; local or s3://. See docs/evaluation.md."),
]


def main(
    release: ReleaseFlag,
    workspace: WorkspaceFlag,
    against: AgainstFlag = None,
    pairs: PairsFlag = None,
    seed: SeedFlag = 0,
    set_: SetFlag = None,
) -> dict[str, Any]:
    """Evaluate a published release again, or two side by side; releases are not touched. --set reaches how their encoders run."""
    opened = Workspace(workspace)
    manifests = [load_manifest(opened, name) for name in (release, against) if name]
    relations = read_relations(pairs) if pairs else None
    start_ray()
    run = new_run("evaluate")
    with open_workspace(workspace, run, run) as (opened, _):
        return evaluate(manifests, opened, relations, seed, set_ or [])


def evaluate(
    manifests: list[Manifest], workspace: Workspace, relations: Relations | None, seed: int, overrides: list[str]
) -> dict[str, Any]:
    evaluated: list[EvaluatedRelease] = []
    for manifest in manifests:
        recipe = release_recipe(manifest, overrides)
        encoder = fit_to_cluster(recipe, [embedding_stage(recipe)]).encoder
        here = [*overrides, f"encoder.cpus_per_actor={encoder.cpus_per_actor}"]
        with stage(f"evaluating {manifest.name}"):
            evaluated.append(evaluate_release(workspace, manifest, seed, relations, here))
        if alignment := evaluated[-1].behavioural_alignment:
            show_figures(f"behavioural alignment of {manifest.name}", lift_columns(alignment), long=len(manifests) > 1)
            say("\n".join(behavioural_notes(alignment)))
        say(f"report: {workspace.address(f'{evaluation_folder(manifest)}/report.html')}")

    first, figures = manifests[0], headline(evaluated[0].evaluation)
    result: dict[str, Any] = {"release": first.name, "path": workspace.address(evaluation_folder(first)), "rows": first.rows.model_dump()}
    result["metrics"] = figures
    if alignment := evaluated[0].behavioural_alignment:
        result["behavioural_alignment"] = alignment.model_dump(mode="json")
    if len(manifests) == 1:
        show_figures(first.name, {"published": first.metrics, "now": figures})
        return result
    a, b = evaluated
    names = (first.name, manifests[1].name)
    rows = compare(a.evaluation, b.evaluation, names)
    show_figures(" against ".join(names), comparison_columns(rows, names))
    behaviour = compare_behavioural_alignment(a.catalog, b.catalog, relations, seed) if relations else None
    if behaviour:
        show_figures("behavioural alignment: lift over chance [95% interval]", ratio_columns(behaviour, names))
        result["lift_ratio"] = [ratio.model_dump(mode="json") for ratio in behaviour.ratios]
    if b.behavioural_alignment:
        result["behavioural_alignment_against"] = b.behavioural_alignment.model_dump(mode="json")
    page = f"evaluations/{names[0]}-against-{names[1]}.html"
    workspace.write_bytes(page, comparison_html(a.evaluation, b.evaluation, names, behaviour=behaviour).encode())
    say(f"side by side: {workspace.address(page)}")
    return {**result, "against": names[1], "metrics_against": headline(b.evaluation), "comparison": workspace.address(page)}


if __name__ == "__main__":
    run_job(main)
