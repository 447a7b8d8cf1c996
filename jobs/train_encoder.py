"""Train a relevance encoder: judgments of products for queries -> a fine-tuned model, published in the workspace with its figures.

python jobs/train_encoder.py --catalog CATALOG --judgments JUDGMENTS --workspace WS [--name esci] [--set key.sub=value ...]
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.rejected import write_rejected
from shelfcode.catalog.snapshot import snapshot_item_keys, snapshot_taxonomy
from shelfcode.embedding.published_encoder import EncoderCard, check_name, pin_encoder, publish_encoder
from shelfcode.embedding.relevance.ranking import compare_rankings, comparison_columns, ranking_headline
from shelfcode.embedding.relevance.recipe import RelevanceRecipe, load_relevance_recipe
from shelfcode.embedding.relevance.train import finish_encoder, mine_catalog, train_encoder, training_run
from shelfcode.embedding.relevance.training_set import gather_set, split_queries
from shelfcode.interactions.judgments import read_judgments
from shelfcode.job.capacity import Stage, encoder_need, training_stage
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, JudgmentsFlag, RecipeFlag, SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.lease import Lease
from shelfcode.train import has_checkpoint
from shelfcode.workspace import Workspace, new_run

RECIPES = Path(__file__).parent / "encoders"

NameFlag = Annotated[str, typer.Option("--name", help="Of the encoder: a recipe names it workspace:encoders/NAME@current.")]
TestFlag = Annotated[
    str | None, typer.Option("--test", help="Judgments of other queries, to measure base and new encoder on; never learnt from.")
]


def main(
    catalog: CatalogFlag, judgments: JudgmentsFlag, workspace: WorkspaceFlag, name: NameFlag = "esci",
    recipe: RecipeFlag = "relevance", test: TestFlag = None, set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a relevance encoder on judgments and publish it."""
    check_name(name)
    opened, settings = Workspace(workspace), load_relevance_recipe(recipe, RECIPES, set_ or [])
    settings = settings.model_copy(update={"encoder": pin_encoder(settings.encoder, opened)})
    check_catalog(catalog, settings.catalog)
    start_ray()
    settings = fit_to_cluster(
        settings,
        [
            Stage("embedding", (encoder_need(settings.encoder),), spare=1),
            training_stage(settings.training.workers, settings.training.cpus_per_worker, settings.training.use_gpu),
        ],
    )
    run = new_run(f"encoder-{name}")
    with open_workspace(workspace, f"encoder-{name}", run) as (opened, lease):
        return train(settings, name, catalog, judgments, test, opened, lease, run)


def train(
    settings: RelevanceRecipe, name: str, catalog: str, judgments: str, test: str | None, workspace: Workspace, lease: Lease, run: str
) -> dict[str, Any]:
    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, settings.catalog, workspace, run, progress)
    keys_N = snapshot_item_keys(workspace, snapshot)
    judged = read_judgments(judgments, keys_N, settings.data.unknown_products_max)
    tested = read_judgments(test, keys_N, settings.data.unknown_products_max, flag="--test") if test else None
    for flag, read in (("judgments", judged), ("test", tested)):
        if read:
            write_rejected(workspace, run, flag, read.rejected)
            say("\n".join((f"--{flag}", *read.account.lines())))

    learning, validation = split_queries(judged, settings.data.validation_share, settings.training.seed)
    leaf_N = snapshot_taxonomy(workspace, snapshot).without_leaves(settings.catalog.no_leaf_names).leaf_of_N
    with stage("finding hard negatives", snapshot.products) as progress:
        hard = mine_catalog(settings, learning, leaf_N, snapshot, workspace, run, progress)
    say(f"{len(hard.query_H) if hard else 0:,} hard negatives of {len(learning.queries):,} queries")
    taught = gather_set(learning, hard, leaf_N, settings.text_view, workspace, snapshot)
    sets = {"validation": gather_set(validation, None, leaf_N, settings.text_view, workspace, snapshot)}

    folder = training_run(settings, name, taught, sets["validation"])
    if has_checkpoint(workspace, folder):
        say("an earlier run of this training was broken off: going on from its last checkpoint")
    with stage("training"):
        tuned = train_encoder(settings, taught, sets["validation"], workspace, folder)
    if tested:
        sets["test"] = gather_set(tested, None, leaf_N, settings.text_view, workspace, snapshot)
    workspace.remove(f"{folder}/draft")
    with stage("measuring base and new encoder"):
        similarities = finish_encoder(settings, tuned.weights, sets, workspace, f"{folder}/draft")
    figures = {split: compare_rankings(*similarities[split], sets[split].query_R, sets[split].label_R) for split in sets}

    card = EncoderCard(
        name=name, base=settings.encoder.model, recipe=settings.model_dump(mode="json"),
        data={"catalog": snapshot.source, "fingerprint": snapshot.fingerprint, "judgments": judgments, **asdict(judged.account)},
        training={"kept_step": tuned.kept_step, "steps": tuned.steps, "evaluations": tuned.evaluations},
        figures={split: comparison.model_dump(mode="json") for split, comparison in figures.items()},
    )  # fmt: skip
    lease.check()
    encoder = publish_encoder(workspace, f"{folder}/draft", card)
    workspace.remove(folder)
    for split, comparison in figures.items():
        show_figures(f"{encoder.model} on {split} queries", comparison_columns(comparison, ("base", "new")))
    say(f"in a recipe: encoder.model: {encoder.model}")
    return {
        "encoder": encoder.model, "path": workspace.address(encoder.folder), "rows": asdict(judged.account),
        "metrics": {split: ranking_headline(comparison) for split, comparison in figures.items()},
    }  # fmt: skip


if __name__ == "__main__":
    run_job(main)
