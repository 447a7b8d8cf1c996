"""Judging releases as a job does: flags checked before a Ray is started, progress meanwhile, and the gate first in what is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.judge.judge_evaluation import JudgeEvaluation
from shelfcode.evaluation.judge.judge_report import contrast_text, gate_columns, score_columns
from shelfcode.evaluation.judge.judgments import REPORT_FILE
from shelfcode.evaluation.judge.pipeline import baskets_of, judge_releases, read_judged_catalog, themes_of
from shelfcode.evaluation.judge.settings import JudgeSettings
from shelfcode.interactions.relations import read_relations
from shelfcode.job.cluster import start_ray
from shelfcode.job.leased_workspace import open_workspace
from shelfcode.job.screen import say, show_figures, show_lines, stage
from shelfcode.llm.engine import check_installed
from shelfcode.recipe_file import apply_overrides, validate_settings
from shelfcode.releases.release import load_manifest
from shelfcode.reporting.plots import shorten
from shelfcode.store import open_filesystem
from shelfcode.workspace import Workspace, new_run

SHOWN_WORST = 3


@dataclass(frozen=True)
class Judgment:
    """What a judge said of releases of a workspace."""

    workspace: Workspace
    evaluation: JudgeEvaluation
    folders: tuple[str, ...]

    @property
    def report(self) -> str:
        """Where the report is."""
        return self.workspace.address(f"{self.folders[0]}/{REPORT_FILE}")

    def result(self) -> dict[str, Any]:
        """The last line of the job."""
        of = self.evaluation
        return {
            "release": of.releases[0], "against": of.releases[1] if len(of.releases) == 2 else None, "judge": of.judge,
            "path": self.workspace.address(self.folders[0]), "report": self.report, "verdict": of.verdict, "sentence": of.sentence,
            "chosen": of.chosen, "scores": [score.model_dump(mode="json") for score in of.scores],
            "headline": [each.model_dump(mode="json") for each in of.headline], "cost": of.cost.model_dump(mode="json"),
        }  # fmt: skip


def judge(
    releases: Sequence[str], workspace: str, overrides: Sequence[str] = (), interactions: str | None = None, themes: str | None = None
) -> Judgment:
    """Judge one release, or two over the same products, and write what was said under judgments/.

    Args:
        releases: precision@v0001, precision@current, or a flavor for its current release.
        overrides: `key=value` of any setting of the judge.
        interactions: baskets, which control purchase.
        themes: a Parquet file or folder of item_id and themes, which control journey.

    Raises:
        ShelfcodeError: whatever the user can mend.
    """
    settings = validate_settings(JudgeSettings, apply_overrides({}, overrides), "settings of the judge")
    if not settings.endpoint:
        check_installed(settings)
    manifests = [load_manifest(Workspace(workspace), name) for name in releases]
    if len({manifest.name for manifest in manifests}) < len(manifests):
        raise ShelfcodeError(f"--release and --against are both {manifests[0].name}: give two releases")
    relations = read_relations(interactions) if interactions else None
    if not settings.endpoint:
        start_ray()
    run = new_run("judge")
    with open_workspace(workspace, run, run) as (opened, _):
        with stage("reading the releases"):
            catalog = read_judged_catalog(opened, manifests)
            baskets = baskets_of(catalog, relations) if relations else None
            groups = themes_of(catalog, _table(themes), settings.theme_column) if themes else None
        with stage("asking the judge", unit="questions") as progress:
            judged = judge_releases(opened, catalog, settings, baskets, groups, progress, _announce)
    return Judgment(opened, judged.evaluation, judged.folders)


def _announce(questions: int, sets: int) -> None:
    say(f"{sets:,} sets of products, controls among them: {questions:,} questions")


def _table(url: str) -> Any:
    fs, path = open_filesystem(url)
    try:
        return pq.read_table(path, filesystem=fs)
    except (OSError, ValueError) as error:
        raise ShelfcodeError(f"--themes {url} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from error


def show_judgment(judgment: Judgment) -> None:
    """The gate first, then what it lets through."""
    of = judgment.evaluation
    say(f"verdict: {of.verdict}. {of.sentence}")
    show_figures(f"gates of {of.judge}", gate_columns(of), row="scale")
    for gate in of.gates:
        if gate.reasons:
            say(f"{gate.name}: {'; '.join(gate.reasons)}")
    if of.scores:
        show_figures("score: 0 shuffled products, 1 a leaf of the catalog", score_columns(of), row="clusters")
    for line in of.headline:
        say(f"what the first has over the second is function rather than occasion, {contrast_text(line)}")
    for number, worst in enumerate(of.worst[:SHOWN_WORST], start=1):
        title = f"{number}. {worst.prefix} of {worst.release}, score {worst.value:.2f}"
        show_lines(title, [(shorten(each, 100),) for each in worst.titles[:4]])
    for scale, gap in of.largest_difference.items():
        say(f"read twice in two orders, largest difference of a cluster by {scale}: {gap:.2f}")
    for note in of.notes:
        say(note)
    cost = of.cost
    say(f"{cost.questions:,} questions ({cost.asked:,} asked now), {cost.tokens:,} tokens, {cost.seconds:.0f} s")
    say(f"report: {judgment.report}")
