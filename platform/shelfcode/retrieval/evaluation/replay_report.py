"""The report of a split: one self-contained HTML page about how its sides fared, surface by surface."""

import html
from typing import Any

import plotly.graph_objects as go

from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import LINES, SOFT, as_html, shorten, style
from shelfcode.reporting.tables import NOT_DEFINED
from shelfcode.retrieval.evaluation.evaluate import Difference
from shelfcode.retrieval.evaluation.intervals import Figure
from shelfcode.retrieval.evaluation.replay import ESTIMATES, LIMITS, ReplayEvaluation, SideFigures, SurfaceReplay, figure_name
from shelfcode.retrieval.evaluation.shown_lists import REWARDS

REWARD_NAMES = {"hit": "hit rate", "chosen": "chosen a list", "reciprocal_rank": "reciprocal rank"}
ESTIMATE_NAMES = {"mean": "as shown", "ips": "by inverse propensity", "self_normalised": "self-normalised"}

MEANINGS = {
    "Hit rate": "Share of the lists of which anything was chosen.",
    "Chosen a list": "Products of the list that were chosen, each once.",
    "Reciprocal rank": "1 / the position of the first product that was chosen; 0 where none was. The mean over lists.",
    "As shown": "The mean over the lists of this side alone.",
    "By inverse propensity": "What all requests would have been worth, had this side answered every one: each of its lists counts as many "
    "times as there were requests for one of its own (Horvitz and Thompson, 1952), up to the clip (Ionides, 2008).",
    "Self-normalised": "The same over the sum of these weights instead of the number of requests: a small bias, and less chance "
    "(Swaminathan and Joachims, 2015). Look at this one first.",
    "Effective": "As many requests, or users, of equal weight would say as much.",
    "Intervals": "95%, by bootstrap over users.",
}


def replay_html(evaluation: ReplayEvaluation, title: str) -> str:
    """The whole page as text; the caller writes it. Names are the user's data and are shown as text, whatever they hold."""
    return render_page(
        "retrieval/evaluation/replay.html.j2",
        title,
        with_plots=True,
        evaluation=evaluation,
        surfaces=[_surface(each, number) for number, each in enumerate(evaluation.surfaces)],
        limits=LIMITS,
        meanings=MEANINGS,
    )


def interval_plot(surface: SurfaceReplay, reward: str = "hit") -> go.Figure:
    """One reward of each side by all estimates, as points with their intervals."""
    figure = go.Figure()
    for number, side in enumerate(surface.sides):
        names = [name for name in ESTIMATES if figure_name(reward, name) in side.figures]
        figures = [side.figures[figure_name(reward, name)] for name in names]
        name = html.escape(shorten(side.side, 40))
        figure.add_scatter(
            x=[ESTIMATE_NAMES[each] for each in names], y=[each.value for each in figures], name=name, mode="markers",
            marker={"color": LINES[number % len(LINES)], "size": 10},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1.5, "width": 5, "color": LINES[number % len(LINES)],
                "array": [_reach(each.high, each.value) for each in figures],
                "arrayminus": [_reach(each.value, each.low) for each in figures],
            },
            customdata=[f"{name}: {figure_text(each)}" for each in figures], hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    style(figure, 380)
    figure.update_layout(scattermode="group", showlegend=True, legend={"orientation": "h", "y": 1.04, "yanchor": "bottom", "x": 0})
    figure.update_xaxes(type="category", linecolor=SOFT)
    figure.update_yaxes(title_text=REWARD_NAMES[reward], rangemode="tozero")
    return figure


def figure_text(figure: Figure, sign: str = "") -> str:
    """A figure with its interval."""
    if figure.value is None:
        return NOT_DEFINED
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:{sign}z.4f}, {figure.high:{sign}z.4f}]"
    return f"{figure.value:{sign}z.4f}{interval}"


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else max(high - low, 0.0)


def _surface(surface: SurfaceReplay, number: int) -> dict[str, Any]:
    names = [figure_name(reward, estimate) for reward in REWARDS for estimate in ESTIMATES]
    shown = [name for name in names if any(name in side.figures for side in surface.sides)]
    facts = [side_facts(side) for side in surface.sides]
    return {
        "of": surface,
        "plot": as_html(interval_plot(surface), f"plot-{number}"),
        "columns": [side.side for side in surface.sides],
        "facts": [(label, [each[label] for each in facts]) for label in facts[0]],
        "figures": [(figure_label(name), [_cell(side.figures[name]) for side in surface.sides]) for name in shown],
        "differences": [(each, _differences(surface, each, shown)) for each in surface.differences],
    }


def _differences(surface: SurfaceReplay, difference: Difference, names: list[str]) -> list[tuple[str, dict[str, str], str]]:
    return [(figure_label(name), _cell(difference.figures[name], "+"), surface.verdict(difference, name)) for name in names]


def figure_label(name: str) -> str:
    """A figure as a reader knows it."""
    reward, _, estimate = name.partition("/")
    return f"{REWARD_NAMES[reward]}, {ESTIMATE_NAMES[estimate or 'mean']}"


def _cell(figure: Figure, sign: str = "") -> dict[str, str]:
    return {"text": figure_text(figure, sign), "why": "; ".join(dict.fromkeys(figure.undefined.values()))}


def side_facts(side: SideFigures) -> dict[str, str]:
    """What there is to know of a side besides its figures, as a reader wants it."""
    low, high = side.propensities
    return {
        "requests": f"{side.requests:,}",
        "users": f"{side.users:,}",
        "share of the traffic": f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}",
        "effective requests": f"{side.effective_requests:,.0f}",
        "effective users": f"{side.effective_users:,.0f}",
        "weights clipped": f"{side.clipped:.1%}",
        "retriever": ", ".join(side.retrievers),
    }
