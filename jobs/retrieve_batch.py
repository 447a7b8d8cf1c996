"""Answer contexts in bulk: for every user, cart or case a list of products, best first.

python jobs/retrieve_batch.py --retriever generator@current --contexts CASES --workspace WS --out OUT [--k 20] [--beams B]
    [--temperature T] [--release R [--translate]] [--availability TABLE] [--set key=value ...]
"""

from typing import Annotated, Any

import typer

from shelfcode.job.answering import answer_in_bulk, show_answered
from shelfcode.job.command import run_job
from shelfcode.job.flags import WorkspaceFlag

RetrieverFlag = Annotated[str, typer.Option("--retriever", help="generator@v0001, or generator@current.")]
ContextsFlag = Annotated[
    str,
    typer.Option(
        "--contexts",
        help="Parquet, CSV or JSON with case_id and, as far as known, history, cart, retailer_id, surface and at: "
        "file, folder or glob; local or s3://.",
    ),
]
OutFlag = Annotated[str, typer.Option("--out", help="Folder or s3:// prefix for the lists, of their own; made when missing.")]
KFlag = Annotated[int | None, typer.Option("--k", min=1, help="Products of a list; 20 when left out.")]
BeamsFlag = Annotated[
    int | None, typer.Option("--beams", min=1, help="Of a generator: IDs that are followed; 120, or ten more than k, when left out.")
]
TemperatureFlag = Annotated[float | None, typer.Option("--temperature", min=0, help="Of a generator: above 0, IDs are drawn.")]
ReleaseFlag = Annotated[
    str | None, typer.Option("--release", help="Whose products are answered with; those that were trained on when left out.")
]
TranslateFlag = Annotated[bool, typer.Option("--translate", help="Answer with a release of other codes, by its translation.parquet.")]
AvailabilityFlag = Annotated[
    str | None, typer.Option("--availability", help="Parquet of item_id and retailer_id: what each retailer has; local or s3://.")
]
SetFlag = Annotated[list[str] | None, typer.Option("--set", help="key=value: how the work is done, such as actors_max=8.")]


def main(
    retriever: RetrieverFlag, contexts: ContextsFlag, workspace: WorkspaceFlag, out: OutFlag, k: KFlag = None, beams: BeamsFlag = None,
    temperature: TemperatureFlag = None, release: ReleaseFlag = None, translate: TranslateFlag = False,
    availability: AvailabilityFlag = None, set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Answer contexts of any number; a second start goes on where the first was broken off."""
    answered = answer_in_bulk(
        retriever, contexts, workspace, out, release, availability, translate, set_ or [], k=k, beams=beams, temperature=temperature
    )
    show_answered(answered)
    return answered.result()


if __name__ == "__main__":
    run_job(main)
