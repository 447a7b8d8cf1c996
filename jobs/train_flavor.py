"""Train a flavor: catalog -> embeddings -> quantizer -> semantic IDs -> evaluation -> a published release.

python jobs/train_flavor.py --flavor precision --catalog CATALOG --workspace WS [--set key.sub=value ...] [--hold] [--wait SECONDS]
"""

from pathlib import Path
from typing import Any

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.snapshot import snapshot_item_keys, snapshot_taxonomy
from shelfcode.embedding.encoder import embeddings_folder
from shelfcode.embedding.pipeline import embed_catalog, pin_models
from shelfcode.evaluation.pipeline import evaluate_draft
from shelfcode.flavor import Recipe
from shelfcode.job.cluster import has_gpu, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, FlavorFlag, HoldFlag, SetFlag, WaitFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, say_embedded, show_rejected, show_release, stage
from shelfcode.lease import Lease
from shelfcode.quantization.fitting import check_size, contrast_possible
from shelfcode.quantization.model_file import save_model
from shelfcode.quantization.pipeline import encode_embeddings
from shelfcode.quantization.train import name_codewords, prepare_targets, train_quantizer, training_run
from shelfcode.recipe_file import load_recipe
from shelfcode.releases.release import current_name, current_release, publish
from shelfcode.releases.warm_start import choose_start
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run

FLAVORS = Path(__file__).parent / "flavors"


def main(
    flavor: FlavorFlag, catalog: CatalogFlag, workspace: WorkspaceFlag, set_: SetFlag = None, hold: HoldFlag = False, wait: WaitFlag = 0
) -> dict[str, Any]:
    """Train a flavor on a catalog and publish the release."""
    start_ray()
    recipe = load_recipe(flavor, FLAVORS, set_ or [], has_gpu())
    run = new_run(f"train-{recipe.name}")
    with open_workspace(workspace, recipe.name, run, wait) as (home, lease):
        return train(pin_models(recipe, home), catalog, home, lease, run, hold)


def train(recipe: Recipe, catalog: str, home: Workspace, lease: Lease, run: str, hold: bool) -> dict[str, Any]:
    parent = current_release(home, recipe.name)
    start = choose_start(recipe, embeddings_folder(recipe), parent)
    if start.told:
        say(start.told)

    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, home, run, progress)
    check_size(recipe, snapshot.products)

    with stage("embedding", snapshot.products) as progress:
        embedded = embed_catalog(snapshot, recipe, home, run, progress)
    say_embedded(embedded)

    taxonomy = snapshot_taxonomy(home, snapshot).of(embedded.positions_N).without_leaves(recipe.catalog.no_leaf_names)
    if recipe.quantizer.contrastive_weight and not contrast_possible(taxonomy):
        say("the taxonomy has fewer than two leaves with products: the contrastive term is off")
    folder = training_run(recipe, embedded, taxonomy, start.weights)
    draft = f"{folder}/draft"
    if has_checkpoint(home, folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    with stage("finding each product's neighbourhood"):
        prepare_targets(recipe, embedded, taxonomy, home, folder, start.weights)
    with stage(f"training {recipe.training.steps} steps"):
        weights = train_quantizer(recipe, embedded, home, folder, start.weights)
    if start.codes:
        item_keys_N = snapshot_item_keys(home, snapshot)[embedded.positions_N]
        with stage("naming codewords"):
            weights = name_codewords(recipe, embedded, item_keys_N, home, weights, start.codes)
    home.remove(draft)
    save_model(home, draft, weights)

    with stage("encoding", len(embedded.keys_N)) as progress:
        encode_embeddings(embedded, recipe, home, draft, f"{draft}/semantic_ids", progress)
    with stage("evaluating"):
        evaluated = evaluate_draft(home, snapshot, embedded, recipe, draft, parent)

    lease.check()
    release = publish(home, draft, evaluated.manifest, make_current=not hold)
    home.remove(folder)
    show_release(release, evaluated.prefixes)
    show_rejected(home, snapshot, run)
    say(f"report: {home.address(release.folder)}/report.html")
    if hold:
        say(f"{release.name} is held: {current_name(home, recipe.name) or 'no release'} is current. To promote it:")
        say(f"  python jobs/promote_release.py promote --release {release.name} --workspace {home.url}")
    result = {
        "release": release.name, "path": home.address(release.folder), "rows": release.rows.model_dump(), "metrics": release.metrics,
        "churn": release.churn and {"against": release.churn["against"], "changed": release.churn["changed"]},
    }  # fmt: skip
    return result | ({"extraction": embedded.extracted.counts()} if embedded.extracted else {})


if __name__ == "__main__":
    run_job(main)
