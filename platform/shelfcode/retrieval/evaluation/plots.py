"""What retrievers are worth, drawn. Names are the user's and are escaped: plotly reads some HTML."""

import html
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from shelfcode.reporting.plots import BRANCHES, LINES, SOFT, shorten, style
from shelfcode.reporting.tables import NOT_DEFINED, share_text
from shelfcode.retrieval.evaluation.evaluate import RetrievalEvaluation, RetrieverFigures
from shelfcode.retrieval.evaluation.intervals import Figure
from shelfcode.retrieval.evaluation.measures import CUT_OFFS, figure_name
from shelfcode.retrieval.evaluation.parameters import PUBLISHED_RATIO, ParameterRatio

_COLOURS = (*LINES, *BRANCHES)


def bar_plot(
    evaluation: RetrievalEvaluation, names: Sequence[str], labels: Sequence[str], title: str, text: Callable[[float], str]
) -> go.Figure:
    """Some figures of all retrievers side by side, with intervals.

    Args:
        names: of the figures.
        labels: theirs for a reader.
        title: of the axis.
        text: a value as a reader wants it.
    """
    figure = go.Figure()
    for number, retriever in enumerate(evaluation.retrievers):
        figures, name = [retriever.figures[each] for each in names], _name(retriever)
        values = [each.value for each in figures]
        texts = [NOT_DEFINED if value is None else text(value) for value in values]
        figure.add_bar(
            x=list(labels), y=values, name=name, marker_color=_COLOURS[number % len(_COLOURS)], error_y=_error_bars(figures),
            customdata=[f"{name}, {label}: {shown}" for label, shown in zip(labels, texts, strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="group")
    figure.update_yaxes(title_text=title, rangemode="tozero", tickformat=".0%" if text is share_text else None)
    return _with_legend(figure, 460)


def cut_off_plot(evaluation: RetrievalEvaluation) -> go.Figure:
    """Recall against the length of the list; controls dotted."""
    figure = go.Figure()
    for number, retriever in enumerate(evaluation.retrievers):
        name = _name(retriever)
        line = {
            "color": _COLOURS[number % len(_COLOURS)], "width": 2.5, "dash": "dot" if retriever.kind == "control" else "solid",
        }  # fmt: skip
        figure.add_scatter(
            x=list(CUT_OFFS), y=[retriever.figures[figure_name("recall", cut_off)].value for cut_off in CUT_OFFS], name=name,
            mode="lines+markers", line=line, hovertemplate=f"{name}, %{{x}}: %{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="results looked at", tickvals=list(CUT_OFFS))
    figure.update_yaxes(title_text="recall", rangemode="tozero")
    return _with_legend(figure, 440)


def parameter_plot(parameters: ParameterRatio) -> go.Figure:
    """Embedding parameters of both by the size of the catalog, with this catalog and where the published ratio holds."""
    low = min(parameters.products, parameters.published_ratio_at) / 10
    high = max(parameters.products, parameters.published_ratio_at) * 10
    size_S = np.geomspace(low, high, 40)
    scoring_S = size_S * parameters.scoring_model / parameters.products
    figure = go.Figure()
    for number, (name, value_S) in enumerate((("scoring model", scoring_S), ("generator", np.full(len(size_S), parameters.generator)))):
        figure.add_scatter(x=size_S, y=value_S, name=name, mode="lines", line={"color": LINES[number], "width": 2.5})
    marked = ((parameters.products, "this catalog", "right"), (parameters.published_ratio_at, f"{PUBLISHED_RATIO}x", "left"))
    for size, text, anchor in marked:
        figure.add_vline(x=size, line={"color": SOFT, "dash": "dot", "width": 1})
        # An annotation's place on a logarithmic axis is the logarithm.
        figure.add_annotation(x=np.log10(size), y=1, yref="paper", text=text, showarrow=False, xanchor=anchor, yanchor="top")
    figure.update_xaxes(title_text="products of the catalog", type="log", dtick=1)
    figure.update_yaxes(title_text="embedding parameters", type="log", dtick=1)
    return _with_legend(figure, 380)


def _error_bars(figures: Sequence[Figure]) -> dict[str, object]:
    """From each value to the ends of its interval; nothing where it has none."""
    up = [0.0 if each.high is None or each.value is None else max(each.high - each.value, 0.0) for each in figures]
    down = [0.0 if each.low is None or each.value is None else max(each.value - each.low, 0.0) for each in figures]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 2, "color": SOFT}


def _with_legend(figure: go.Figure, height: int) -> go.Figure:
    style(figure, height)
    figure.update_layout(legend={"orientation": "h", "y": 1.04, "yanchor": "bottom", "x": 0}, showlegend=True, margin={"t": 110})
    return figure


def _name(retriever: RetrieverFigures) -> str:
    return html.escape(shorten(retriever.name, 40))
