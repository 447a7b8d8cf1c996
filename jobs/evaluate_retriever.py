"""Hold retrievers and controls against what training kept apart: recall, tail, cold start, brands, drift, parameters and time.

python jobs/evaluate_retriever.py --retriever generator@current --retriever cr@current --interactions I --workspace WS
    [--cases CASES] [--limit 3000]
"""

from typing import Annotated, Any

import typer

from shelfcode.job.command import run_job
from shelfcode.job.evaluating_retrievers import evaluate_on_interactions, show_evaluation
from shelfcode.job.flags import InteractionsFlag, WorkspaceFlag

RetrieversFlag = Annotated[
    list[str],
    typer.Option("--retriever", help="generator@v0001, cr@current, ...; may be given several times. Versions of one name are its seeds."),
]
CasesFlag = Annotated[
    str | None, typer.Option("--cases", help="Cases made elsewhere: cart and targets, and what else is known; asked for instead.")
]
LimitFlag = Annotated[int, typer.Option("--limit", min=1, help="Cases at the most, drawn at random.")]
SeedFlag = Annotated[int, typer.Option("--seed", help="Of that draw, and of the intervals.")]


def main(
    retriever: RetrieversFlag,
    interactions: InteractionsFlag,
    workspace: WorkspaceFlag,
    cases: CasesFlag = None,
    limit: LimitFlag = 3000,
    seed: SeedFlag = 0,
) -> dict[str, Any]:
    """Evaluate published retrievers side by side; they are not touched."""
    evaluated = evaluate_on_interactions(retriever, interactions, workspace, cases, limit, seed)
    show_evaluation(evaluated)
    return evaluated.result()


if __name__ == "__main__":
    run_job(main)
