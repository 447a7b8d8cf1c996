"""The sides of a split held against each other by what was shown and chosen; needs no Ray, no retriever and no catalog."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shelfcode.errors import ShelfcodeError
from shelfcode.job.screen import say, show_figures, stage
from shelfcode.lease import hold_lease
from shelfcode.retrieval.evaluation.replay import (
    CLIP,
    ESTIMATES,
    LIMITS,
    ReplayEvaluation,
    SurfaceReplay,
    check_comparable,
    figure_name,
    replay,
)
from shelfcode.retrieval.evaluation.replay_report import figure_label, figure_text, replay_html, side_facts
from shelfcode.retrieval.evaluation.shown_lists import REWARDS, read_shown_lists
from shelfcode.workspace import Workspace, new_run
from shelfcode.workspace_layout import check_layout


@dataclass(frozen=True)
class EvaluatedImpressions:
    """An evaluation just made.

    Attributes:
        address: of the folder with evaluation.json and report.html; None where no workspace was given.
    """

    evaluation: ReplayEvaluation
    address: str | None

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        of = self.evaluation
        counts = ("requests", "repeated", "chosen", "unshown", "elsewhere")
        metrics = {
            surface.surface: {side.side: {name: figure.value for name, figure in side.figures.items()} for side in surface.sides}
            for surface in of.surfaces
        }
        kept = {"path": self.address, "report": f"{self.address}/report.html"} if self.address else {}
        return {**kept, "rows": {name: getattr(of, name) for name in counts}, "metrics": metrics}


def check_one_way(
    retrievers: Sequence[str] | None, interactions: str | None, cases: str | None, workspace: str | None, impressions: str | None
) -> None:
    """Refuse flags that do not say which evaluation is meant.

    Raises:
        ShelfcodeError: some of one way are missing, or there are some of both.
    """
    asking = {"--retriever": retrievers, "--interactions": interactions, "--cases": cases}
    if impressions is not None:
        if mixed := [flag for flag, value in asking.items() if value]:
            raise ShelfcodeError(
                f"--impressions compares what was shown and asks no retriever, so {' and '.join(mixed)} cannot be given with it. Run the "
                "job once for each"
            )
    elif missing := [flag for flag, value in {**asking, "--workspace": workspace}.items() if not value and flag != "--cases"]:
        raise ShelfcodeError(
            f"{' and '.join(missing)} missing. Give --retriever, --interactions and --workspace to ask retrievers for what training kept "
            "apart, or --impressions to compare those that have answered a surface"
        )


def evaluate_on_impressions(impressions: str, workspace: str | None = None, clip: float = CLIP, seed: int = 0) -> EvaluatedImpressions:
    """Compare the sides of each surface's split by what was chosen of their lists, and write the page where a workspace is given.

    Args:
        impressions: file, folder or glob of Parquet; local or s3://.
        clip: the largest weight of a request.
        seed: of the intervals.

    Raises:
        ShelfcodeError: nothing is there, or it cannot be weighed.
    """
    try:
        with stage("reading the impressions", unit="lists") as progress:
            lists = read_shown_lists(impressions)
            progress(len(lists))
    except ShelfcodeError as error:
        raise ShelfcodeError(f"--impressions {impressions}: {error}") from error
    with stage("measuring"):
        evaluation = replay(lists, impressions, clip, seed)
    return EvaluatedImpressions(evaluation, None if workspace is None else _written(evaluation, workspace))


def _written(evaluation: ReplayEvaluation, workspace: str) -> str:
    """Write the evaluation and its page; the address of their folder."""
    opened, run = Workspace(workspace), new_run("evaluate-impressions")
    folder = f"evaluations/impressions-{run}"
    if told := check_layout(opened):
        say(told)
    with hold_lease(opened, run, run):  # keeps out whoever deletes
        opened.write_bytes(f"{folder}/evaluation.json", evaluation.model_dump_json(indent=1).encode())
        opened.write_bytes(f"{folder}/report.html", replay_html(evaluation, "Impressions: the sides of a split").encode())
    return opened.address(folder)


def show_impressions(evaluated: EvaluatedImpressions) -> None:
    """A table a surface, on stderr, what the figures cannot say, and where the page is.

    Raises:
        ShelfcodeError: at no surface were there two sides to compare; after all that there is was shown.
    """
    of = evaluated.evaluation
    say(
        f"{of.requests:,} lists shown, {of.chosen:,} products chosen; left out: {of.repeated:,} repeated answers, {of.unshown:,} products "
        f"chosen of requests that were never shown, {of.elsewhere:,} that their list did not have"
    )
    for surface in of.surfaces:
        _show_surface(surface)
    for limit in LIMITS:
        say(limit)
    if evaluated.address:
        say(f"report: {evaluated.address}/report.html")
    check_comparable(of)


def _show_surface(surface: SurfaceReplay) -> None:
    names = [figure_name(reward, estimate) for reward in REWARDS for estimate in ESTIMATES]
    names = [name for name in names if any(name in side.figures for side in surface.sides)]
    columns: dict[str, dict[str, object]] = {}
    for side in surface.sides:
        columns[side.side] = {**side_facts(side), **{figure_label(name): figure_text(side.figures[name]) for name in names}}
    for each in surface.differences:
        columns[f"{each.name} over {each.over}"] = {
            figure_label(name): f"{figure_text(each.figures[name], '+')} {surface.verdict(each, name)}" for name in names
        }
    show_figures(f"surface {surface.surface}", columns)
    if surface.problem:
        say(f"surface {surface.surface} is not compared: {surface.problem}")
    for warning in surface.warnings:
        say(f"surface {surface.surface}: {warning}")
