"""Train a flavor: catalog -> embeddings -> quantizer -> semantic IDs -> evaluation -> a published release.

python jobs/train_flavor.py --flavor precision --catalog CATALOG --workspace WS [--set key.sub=value ...] [--hold]
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.snapshot import snapshot_taxonomy
from shelfcode.embedding.pipeline import embed_catalog, pin_models
from shelfcode.evaluation.evaluate import headline
from shelfcode.evaluation.release_files import evaluate_catalog, example_prefixes, read_coded_catalog, write_evaluation
from shelfcode.flavor import load_recipe
from shelfcode.job import (
    CatalogFlag,
    FlavorFlag,
    SetFlag,
    WorkspaceFlag,
    has_gpu,
    run_job,
    say,
    say_embedded,
    show_figures,
    show_prefixes,
    show_rejected,
    stage,
    start_ray,
)
from shelfcode.quantization.fitting import check_size, contrast_possible
from shelfcode.quantization.model_file import save_model
from shelfcode.quantization.pipeline import encode_embeddings
from shelfcode.quantization.train import prepare_targets, train_quantizer, training_run
from shelfcode.release import current_name, draft_manifest, publish
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run

FLAVORS = Path(__file__).parent / "flavors"

HoldFlag = Annotated[bool, typer.Option("--hold", help="Publish the release and leave CURRENT where it is; promote_release moves it.")]


def main(
    flavor: FlavorFlag, catalog: CatalogFlag, workspace: WorkspaceFlag, set_: SetFlag = None, hold: HoldFlag = False
) -> dict[str, Any]:
    """Train a flavor on a catalog and publish the release."""
    start_ray()
    recipe, home = load_recipe(flavor, FLAVORS, set_ or [], has_gpu()), Workspace(workspace)
    recipe = pin_models(recipe, home)
    run = new_run(f"train-{recipe.name}")

    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, recipe.catalog, home, run, progress)
    check_size(recipe, snapshot.products)

    with stage("embedding", snapshot.products) as progress:
        embedded = embed_catalog(snapshot, recipe, home, run, progress)
    say_embedded(embedded)

    taxonomy = snapshot_taxonomy(home, snapshot).of(embedded.positions_N).without_leaves(recipe.catalog.no_leaf_names)
    if recipe.quantizer.contrastive_weight and not contrast_possible(taxonomy):
        say("the taxonomy has fewer than two leaves with products: the contrastive term is off")
    folder = training_run(recipe, embedded, taxonomy)
    draft = f"{folder}/draft"
    if has_checkpoint(home, folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    with stage("finding each product's neighbourhood"):
        prepare_targets(recipe, embedded, taxonomy, home, folder)
    with stage(f"training {recipe.training.steps} steps"):
        weights = train_quantizer(recipe, embedded, home, folder)
    home.remove(draft)
    save_model(home, draft, weights)

    with stage("encoding", len(embedded.keys_N)) as progress:
        encode_embeddings(embedded, recipe, home, draft, f"{draft}/semantic_ids", progress)

    with stage("evaluating"):
        coded = read_coded_catalog(home, snapshot, embedded, draft)
        evaluation = evaluate_catalog(coded, recipe)
        figures = headline(evaluation)
        manifest = draft_manifest(recipe, snapshot, embedded, figures, parent=current_name(home, recipe.name))
        write_evaluation(coded, evaluation, recipe, draft, recipe.name, manifest.facts())

    release = publish(home, draft, manifest, make_current=not hold)
    home.remove(folder)
    show_prefixes(example_prefixes(coded))
    show_figures(release.name, {"value": {**figures, **{f"rows {name}": count for name, count in release.rows.model_dump().items()}}})
    show_rejected(home, snapshot, run)
    say(f"report: {home.address(release.folder)}/report.html")
    if hold:
        say(f"{release.name} is held: {current_name(home, recipe.name) or 'no release'} is current. To promote it:")
        say(f"  python jobs/promote_release.py promote --release {release.name} --workspace {workspace}")
    result = {"release": release.name, "path": home.address(release.folder), "rows": release.rows.model_dump(), "metrics": figures}
    return result | ({"extraction": embedded.extracted.counts()} if embedded.extracted else {})


if __name__ == "__main__":
    run_job(main)
