"""Which products of a release say too little for their code to be firm, and a copy of the catalog with what their neighbours agree on.

python jobs/enrich_catalog.py --release precision@current --workspace WS --out FOLDER [--against discovery@current] [--threshold 0.2]
    [--set encoder.gpus_per_actor=0]
"""

from typing import Annotated, Any

import typer

from shelfcode.embedding.pipeline import pin_models
from shelfcode.evaluation.sparse.pipeline import FrozenRelease, SparseRelease, enrich, find_sparse, sparse_folder, write_sparse
from shelfcode.evaluation.sparse.report import calibration_columns, missing_columns, summary_lines
from shelfcode.evaluation.sparse.settings import SparseSettings
from shelfcode.evaluation.sparse.sparse_products import contrast
from shelfcode.job.capacity import coding_stages
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.recipe_file import validate_settings
from shelfcode.releases.release import Manifest, load_manifest, release_recipe
from shelfcode.workspace import Workspace, new_run

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0001, or a flavor for its current release.")]
AgainstFlag = Annotated[str | None, typer.Option("--against", help="Another flavor's release: how sparse the same products are for it.")]
OutFlag = Annotated[str, typer.Option("--out", help="Folder for the enriched copy of the catalog; local or s3://.")]
ThresholdFlag = Annotated[float, typer.Option("--threshold", help="Chance of another first codeword above which a product is sparse.")]


def main(
    release: ReleaseFlag, workspace: WorkspaceFlag, out: OutFlag, against: AgainstFlag = None, threshold: ThresholdFlag = 0.2,
    set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Find sparse products and fill in what neighbours agree on; releases are not touched. --set reaches how their encoders run."""
    opened = Workspace(workspace)
    manifests = [load_manifest(opened, name) for name in (release, against) if name]
    settings = validate_settings(SparseSettings, {"threshold": threshold}, "of --threshold")
    start_ray()
    run = new_run("enrich")
    with open_workspace(workspace, run, run) as (opened, _):
        try:
            return enrich_catalog(manifests, opened, settings, Workspace(out), run, set_ or [])
        finally:
            opened.remove(f"runs/{run}")


def enrich_catalog(
    manifests: list[Manifest], workspace: Workspace, settings: SparseSettings, out: Workspace, run: str, overrides: list[str]
) -> dict[str, Any]:
    found: list[SparseRelease] = []
    for manifest in reversed(manifests):  # the other flavor first: what it extracted tells more of the products of this one
        recipe = pin_models(release_recipe(manifest, overrides), workspace)
        frozen = FrozenRelease(workspace, manifest, fit_to_cluster(recipe, coding_stages(recipe)), run, stage)
        found.append(find_sparse(frozen, settings, found[-1].attributes if found else None))
    first, *others = reversed(found)
    if others:
        compared = contrast(first.table, others[0].table, others[0].figures.release)
        first = first.with_contrast(compared)
    for each in (first, *others):
        write_sparse(each, sparse_folder(each.frozen.manifest))
        show_figures(f"what the chances of {each.figures.release} are worth, held out", calibration_columns(each.figures))
        show_figures(f"what products of {each.figures.release} lack", missing_columns(each.figures), row="field")
    filled = enrich(first, settings, out)
    for line in summary_lines([each.figures for each in (first, *others)], filled):
        say(line)
    say(f"sparse products: {workspace.address(sparse_folder(manifests[0]))}")
    say(f"enriched catalog: {out.address('')}")
    tried = first.figures.restoration
    return {
        "release": manifests[0].name, "path": out.address(""), "sparse_products": workspace.address(sparse_folder(manifests[0])),
        "rows": {"read": first.snapshot.read, "coded": len(first.table), "sparse": filled.sparse, "filled": filled.filled},
        "filled": filled.fields, "changed": {f"l{level}": share for level, share in enumerate(filled.changed, start=1)},
        "restoration": tried and {**tried.model_dump(mode="json"), "helps": tried.helps},
        "against": {each.figures.release: {"products": each.figures.products, "sparse": each.figures.sparse} for each in others},
        "metrics": {
            "sparse_share": first.figures.sparse_share, "ece_l1": first.figures.chance_l1.ece, "brier_l1": first.figures.chance_l1.brier,
            "auroc_l1": first.figures.chance_l1.auroc,
        },
    }  # fmt: skip


if __name__ == "__main__":
    run_job(main)
