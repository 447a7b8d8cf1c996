"""Hold retrievers and controls against what training kept apart: recall, tail, cold start, brands, drift, parameters and time.

python jobs/evaluate_retriever.py --retriever generator@current --retriever cr@current --interactions I --workspace WS
    [--cases CASES] [--limit 3000]

Or hold the sides of a surface's split against each other, by what was shown to people and what they chose:

python jobs/evaluate_retriever.py --impressions WS/impressions [--clip 10] [--workspace WS]
"""

from typing import Annotated, Any

import typer

from shelfcode.job.command import run_job
from shelfcode.job.evaluating_impressions import check_one_way, evaluate_on_impressions, show_impressions
from shelfcode.job.evaluating_retrievers import evaluate_on_interactions, show_evaluation
from shelfcode.retrieval.evaluation.replay import CLIP

RetrieversFlag = Annotated[
    list[str] | None,
    typer.Option("--retriever", help="generator@v0001, cr@current, ...; may be given several times. Versions of one name are its seeds."),
]
InteractionsFlag = Annotated[
    str | None,
    typer.Option("--interactions", help="Sessions or baskets as Parquet, CSV or JSON: file, folder or glob; local or s3://."),
]
WorkspaceFlag = Annotated[
    str | None,
    typer.Option("--workspace", help="Folder or s3:// prefix of the retrievers, for the page; with --impressions it may be left out."),
]
CasesFlag = Annotated[
    str | None, typer.Option("--cases", help="Cases made elsewhere: cart and targets, and what else is known; asked for instead.")
]
LimitFlag = Annotated[int, typer.Option("--limit", min=1, help="Cases at the most, drawn at random.")]
SeedFlag = Annotated[int, typer.Option("--seed", help="Of that draw, and of the intervals.")]
ImpressionsFlag = Annotated[
    str | None,
    typer.Option("--impressions", help="What was shown and chosen, as Parquet: file, folder or glob; local or s3://. Asks no retriever."),
]
ClipFlag = Annotated[float, typer.Option("--clip", min=1, help="Of --impressions: the largest weight of a list.")]


def main(
    retriever: RetrieversFlag = None,
    interactions: InteractionsFlag = None,
    workspace: WorkspaceFlag = None,
    cases: CasesFlag = None,
    limit: LimitFlag = 3000,
    seed: SeedFlag = 0,
    impressions: ImpressionsFlag = None,
    clip: ClipFlag = CLIP,
) -> dict[str, Any]:
    """Evaluate published retrievers side by side, or those that answered a surface; they are not touched."""
    check_one_way(retriever, interactions, cases, workspace, impressions)
    if impressions is not None:
        shown = evaluate_on_impressions(impressions, workspace, clip, seed)
        show_impressions(shown)
        return shown.result()
    evaluated = evaluate_on_interactions(retriever or [], interactions or "", workspace or "", cases, limit, seed)
    show_evaluation(evaluated)
    return evaluated.result()


if __name__ == "__main__":
    run_job(main)
