"""Let a language model judge the clusters of a release, or of two flavors side by side, beside controls that say whether it can.

python jobs/judge_clusters.py --release precision@current [--against discovery@current] --workspace WS --model Qwen/Qwen3-4B-Instruct-2507
    [--endpoint http://host:8000/v1] [--interactions BASKETS] [--themes TABLE] [--set clusters=200] [--set instruments=[pmi]]
"""

from typing import Annotated, Any

import typer

from shelfcode.job.command import run_job
from shelfcode.job.flags import WorkspaceFlag
from shelfcode.job.judging import judge, show_judgment

ReleaseFlag = Annotated[str, typer.Option("--release", help="precision@v0001, or precision@current.")]
AgainstFlag = Annotated[str | None, typer.Option("--against", help="A release of another flavor, judged over the same products.")]
ModelFlag = Annotated[
    str | None, typer.Option("--model", help="A hub name, a folder, or package:NAME; at an endpoint the name that it knows.")
]
EndpointFlag = Annotated[str | None, typer.Option("--endpoint", help="URL of an OpenAI-compatible endpoint; its key is in OPENAI_API_KEY.")]
InteractionsFlag = Annotated[
    str | None, typer.Option("--interactions", help="Baskets as Parquet (order_id or session_id, item_id); they control purchase.")
]
ThemesFlag = Annotated[str | None, typer.Option("--themes", help="Parquet of item_id and theme (a text or a list); they control journey.")]
SetFlag = Annotated[list[str] | None, typer.Option("--set", help="key=value: any setting of docs/judge.md; may be given several times.")]


def main(
    release: ReleaseFlag, workspace: WorkspaceFlag, against: AgainstFlag = None, model: ModelFlag = None, endpoint: EndpointFlag = None,
    interactions: InteractionsFlag = None, themes: ThemesFlag = None, set_: SetFlag = None,
) -> dict[str, Any]:  # fmt: skip
    """Judge clusters and write what was said under judgments/; releases are not touched. A judge that cannot tell gives no scores."""
    given = [f"{name}={value}" for name, value in (("model", model), ("endpoint", endpoint)) if value]
    judgment = judge([release, *([against] if against else [])], workspace, [*given, *(set_ or [])], interactions, themes)
    show_judgment(judgment)
    return judgment.result()


if __name__ == "__main__":
    run_job(main)
