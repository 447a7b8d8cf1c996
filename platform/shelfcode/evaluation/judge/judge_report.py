"""A judge's evaluation as a page: the gate, the dose-response plot, releases side by side by level, the worst clusters, the cost."""

import html
from collections.abc import Sequence

import plotly.graph_objects as go

from shelfcode.evaluation.judge.contrast import Contrast
from shelfcode.evaluation.judge.gate import GateFigures, Separation
from shelfcode.evaluation.judge.judge_evaluation import JudgeEvaluation
from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import LINES, SOFT, as_html, style

VERDICTS = {"usable": "good", "weak": "fair", "cannot_tell": "poor"}


def judge_page(evaluation: JudgeEvaluation) -> str:
    """The whole page."""
    plots = {"dose": as_html(dose_plot(evaluation.gates), "dose")}
    if evaluation.scores:
        plots["levels"] = as_html(level_plot(evaluation), "levels")
    return render_page(
        "evaluation/judge/judge.html.j2", f"{' and '.join(evaluation.releases)}, judged by {evaluation.model}", with_plots=True,
        evaluation=evaluation, gates=[gate_row(gate) for gate in evaluation.gates], verdicts=VERDICTS, plots=plots,
        scores=score_rows(evaluation), headline=[contrast_text(each) for each in evaluation.headline], verdict=VERDICTS[evaluation.verdict],
    )  # fmt: skip


def gate_row(gate: GateFigures) -> dict[str, str]:
    """A gate as text, by the heads of its columns."""
    return {
        "scale": gate.name,
        "verdict": gate.verdict,
        "leaf / shuffled": _separation(gate.separation),
        "no word in common": _separation(gate.beyond_words),
        "own control": _separation(gate.positive),
        "dose": " > ".join(f"{value:.3g}" for value in gate.dose.values()),
        "alpha": "-" if gate.alpha is None else f"{gate.alpha:.2f}",
        "flips": "-" if gate.flips is None else f"{gate.flips:.1%}",
        "valid": f"{gate.valid:.1%}",
        "purity within": "-" if gate.recovered_within is None else f"{gate.recovered_within:.1%}",
    }


def gate_columns(evaluation: JudgeEvaluation) -> dict[str, dict[str, str]]:
    """The gates as columns for the screen."""
    rows = [gate_row(gate) for gate in evaluation.gates]
    return {head: {row["scale"]: row[head] for row in rows} for head in rows[0] if head != "scale"}


def score_rows(evaluation: JudgeEvaluation) -> list[dict[str, str]]:
    """One row a dimension and level: each release's score, and the difference."""
    rows = []
    places = {(score.release, score.dimension, score.level): score for score in evaluation.scores}
    for dimension in dict.fromkeys(score.dimension for score in evaluation.scores):
        for level in dict.fromkeys(score.level for score in evaluation.scores):
            row = {"dimension": dimension, "level": f"L{level}"}
            for release in evaluation.releases:
                score = places[release, dimension, level]
                looks = "" if score.purity is None else f", like a leaf with {1 - score.purity:.0%} intruders"
                row[release] = _value(score.value, score.low, score.high) + looks
            gap = next((each for each in evaluation.differences.get(dimension, ()) if each.level == level), None)
            row["difference"] = "" if gap is None else _value(gap.value, gap.low, gap.high)
            rows.append(row)
    return rows


def score_columns(evaluation: JudgeEvaluation) -> dict[str, dict[str, str]]:
    """The scores as columns for the screen."""
    rows = score_rows(evaluation)
    heads = [*evaluation.releases, *(["difference"] if len(evaluation.releases) == 2 else [])]
    return {head: {f"{row['dimension']} {row['level']}": row[head] for row in rows} for head in heads}


def contrast_text(contrast: Contrast) -> str:
    """A contrast of one level as a line."""
    return f"{'all levels' if contrast.level == 0 else f'L{contrast.level}'}: {_value(contrast.value, contrast.low, contrast.high)}"


def dose_plot(gates: Sequence[GateFigures]) -> go.Figure:
    """How each scale's value falls with planted products, as a share of what it has for a leaf."""
    figure = go.Figure()
    for number, gate in enumerate(gates):
        values = list(gate.dose.values())
        if len(values) < 2 or not values[0]:
            continue
        figure.add_scatter(
            x=list(gate.dose), y=[value / values[0] for value in values], name=html.escape(gate.name), mode="lines+markers",
            line={"color": LINES[number % len(LINES)], "width": 2},
        )  # fmt: skip
    style(figure, 360)
    figure.update_xaxes(title_text="products of a leaf's set that were replaced by others", type="category")
    figure.update_yaxes(title_text="value over that of the leaf")
    figure.update_layout(showlegend=True)
    return figure


def level_plot(evaluation: JudgeEvaluation) -> go.Figure:
    """Calibrated scores by level, a line a release and dimension."""
    figure = go.Figure()
    lines = [(release, dimension) for release in evaluation.releases for dimension in dict.fromkeys(s.dimension for s in evaluation.scores)]
    for number, (release, dimension) in enumerate(lines):
        drawn = [s for s in evaluation.scores if (s.release, s.dimension) == (release, dimension) and s.value is not None]
        figure.add_scatter(
            x=[f"L{score.level}" for score in drawn], y=[score.value for score in drawn], name=html.escape(f"{release}, {dimension}"),
            mode="lines+markers", line={"color": LINES[number % len(LINES)], "width": 2},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1.2, "width": 4,
                "array": [max(0.0, (score.high or 0) - (score.value or 0)) if score.high is not None else 0.0 for score in drawn],
                "arrayminus": [max(0.0, (score.value or 0) - (score.low or 0)) if score.low is not None else 0.0 for score in drawn],
            },
        )  # fmt: skip
    for value, name in ((0, "shuffled"), (1, "leaf of the catalog")):
        figure.add_hline(y=value, line={"color": SOFT, "dash": "dot", "width": 1}, annotation_text=name)
    style(figure, 400)
    figure.update_xaxes(type="category")
    figure.update_yaxes(title_text="score: 0 shuffled, 1 a leaf")
    figure.update_layout(showlegend=True)
    return figure


def _separation(separation: Separation | None) -> str:
    return "-" if separation is None else f"{separation.auroc:.3f} [{separation.low:.3f}, {separation.high:.3f}]"


def _value(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "not judged"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
