"""Bring a flavor's semantic IDs up to date with a catalog: only what changed is extracted, embedded, and coded by the release's model.

python jobs/reembed_catalog.py --flavor precision --catalog CATALOG --workspace WS [--labels FILE] [--allow-removals]
    [--hold] [--wait SECONDS]
"""

from typing import Annotated, Any

import typer

from shelfcode.catalog.changes import check_removals, compare_products
from shelfcode.catalog.decided_labels import DecidedLabels, read_decided_labels
from shelfcode.catalog.label_overlay import overlay_labels
from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.snapshot import snapshot_item_keys
from shelfcode.embedding.pipeline import embed_catalog, keep_models, pin_models
from shelfcode.evaluation.pipeline import evaluate_draft
from shelfcode.flavor import Recipe
from shelfcode.job.capacity import coding_stages
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.constraining import check_constraint, constrain_as
from shelfcode.job.flags import CatalogFlag, HoldFlag, LabelsFlag, SetFlag, WaitFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, say_embedded, say_labels, say_language, show_figures, show_rejected, show_release, stage
from shelfcode.lease import Lease
from shelfcode.quantization.constrained_products import coded_elsewhere, copy_constraint
from shelfcode.quantization.model_file import copy_model
from shelfcode.quantization.pipeline import recode
from shelfcode.quantization.semantic_ids import read_coded_texts, read_item_keys
from shelfcode.releases.release import Manifest, check_encoder, load_manifest, publish, release_recipe
from shelfcode.workspace import Workspace, new_run

FlavorFlag = Annotated[str, typer.Option("--flavor", help="Name of a flavor with a current release.")]
RemovalsFlag = Annotated[bool, typer.Option("--allow-removals", help="Remove products that the catalog lacks, however many they are.")]


def main(
    flavor: FlavorFlag,
    catalog: CatalogFlag,
    workspace: WorkspaceFlag,
    set_: SetFlag = None,
    allow_removals: RemovalsFlag = False,
    hold: HoldFlag = False,
    wait: WaitFlag = 0,
    labels: LabelsFlag = None,
) -> dict[str, Any]:
    """Publish a release with the current one's model and the catalog's products. --set reaches catalog.* and how the models run."""
    decided = read_decided_labels(labels) if labels else None
    # A slip of the pen need not wait for a Ray.
    check_catalog(catalog, release_recipe(load_manifest(Workspace(workspace), f"{flavor}@current"), set_ or []).catalog)
    start_ray()
    run = new_run(f"reembed-{flavor}")
    with open_workspace(workspace, flavor, run, wait) as (opened, lease):
        parent = load_manifest(opened, f"{flavor}@current")
        recipe = pin_models(release_recipe(parent, set_ or []), opened)
        recipe = keep_models(fit_to_cluster(recipe, coding_stages(recipe)), opened)
        check_encoder(parent, recipe)
        return reembed(parent, recipe, catalog, opened, lease, run, allow_removals, hold, decided)


def reembed(
    parent: Manifest, recipe: Recipe, catalog: str, workspace: Workspace, lease: Lease, run: str, allow_removals: bool, hold: bool,
    decided: DecidedLabels | None = None,
) -> dict[str, Any]:  # fmt: skip
    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, workspace, run, progress)
    if decided:
        snapshot = overlay_labels(workspace, snapshot, decided)
        say_labels(workspace, snapshot)
    elif parent.catalog.labels:
        say(f"{parent.name} has the decided labels of {parent.catalog.labels.source}; without --labels this one is evaluated without")
    item_keys_N = snapshot_item_keys(workspace, snapshot)
    coded_K = read_item_keys(workspace, f"{parent.folder}/semantic_ids")
    check_removals(coded_K, item_keys_N, allow_removals)

    check_constraint(recipe, workspace, snapshot)
    if recipe.text_view.kind == "attributes":
        say_language(workspace, snapshot, recipe.extractor)
    with stage("embedding", snapshot.products) as progress:
        embedded = embed_catalog(snapshot, recipe, workspace, run, progress)
    say_embedded(embedded)
    item_keys_N = item_keys_N[embedded.positions_N]
    changes = compare_products(coded_K, read_coded_texts(workspace, parent.folder), item_keys_N, embedded.keys_N)
    constrained = constrain_as(parent, recipe, workspace, snapshot, embedded)
    if constrained:
        changes = changes.and_changed(coded_elsewhere(workspace, parent.folder, constrained, item_keys_N))
    group_N = constrained.group_N if constrained else None
    counts = changes.counts(rejected=snapshot.read - len(item_keys_N))
    show_figures(f"since {parent.name}", {"products": counts})
    show_rejected(workspace, snapshot, run)
    more = {"changes": counts, "embedded": embedded.embedded}
    if not changes.any and snapshot.fingerprint == parent.catalog.fingerprint:
        say(f"nothing changed: {parent.name} stays as it is")
        rows = {"read": snapshot.read, "coded": len(item_keys_N), "rejected": counts["rejected"]}
        return {"release": parent.name, "path": workspace.address(parent.folder), "rows": rows, "metrics": parent.metrics, **more}

    draft = f"runs/reembed-{recipe.name}"  # what an earlier run left there was not published
    workspace.remove(draft)
    copy_model(workspace, parent.folder, draft)
    copy_constraint(workspace, parent.folder, draft)
    with stage("encoding", len(item_keys_N)) as progress:
        recode(embedded, item_keys_N, changes.new_N, recipe, workspace, parent.folder, f"{draft}/semantic_ids", progress, group_N)
    with stage("evaluating"):
        evaluated = evaluate_draft(workspace, snapshot, embedded, recipe, draft, parent, parent.model_from or parent.name, group_N)

    lease.check()
    release = publish(workspace, draft, evaluated.manifest, make_current=not hold)
    show_release(release, evaluated.prefixes)
    say(f"report: {workspace.address(release.folder)}/report.html")
    rows = release.rows.model_dump()
    return {"release": release.name, "path": workspace.address(release.folder), "rows": rows, "metrics": release.metrics, **more}


if __name__ == "__main__":
    run_job(main)
