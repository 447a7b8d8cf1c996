"""Train a retriever on interactions: a generator, which writes semantic IDs, or CR, which scores atomic product IDs.

python jobs/train_retriever.py --kind generator|cr --interactions I --workspace WS [--release precision@current] [--recipe small]
    [--name NAME] [--set key.sub=value ...]
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shelfcode.job.command import run_job
from shelfcode.job.flags import InteractionsFlag, SetFlag, WorkspaceFlag
from shelfcode.job.retrieving import show_retriever, train_and_publish

RECIPES = Path(__file__).parent / "retrievers"

KindFlag = Annotated[
    Literal["generator", "cr"], typer.Option("--kind", help="generator: writes semantic IDs. cr: scores atomic product IDs.")
]
ReleaseFlag = Annotated[str, typer.Option("--release", help="Whose products are meant and, for a generator, whose codes it learns.")]
RecipeFlag = Annotated[str, typer.Option("--recipe", help="Name under jobs/retrievers/, or the path of a YAML file.")]
NameFlag = Annotated[str | None, typer.Option("--name", help="Of the retriever; its kind when left out.")]


def main(
    kind: KindFlag, interactions: InteractionsFlag, workspace: WorkspaceFlag, release: ReleaseFlag = "precision@current",
    recipe: RecipeFlag = "small", name: NameFlag = None, set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a retriever and publish it under retrievers/."""
    published = train_and_publish(kind, interactions, workspace, release, recipe, RECIPES, set_ or [], name)
    show_retriever(published)
    return published.result()


if __name__ == "__main__":
    run_job(main)
