"""Churn as a reader wants it: columns for the screen, and the section on stability of a page with its drawings.

Axes of the drawings are numbers with texts beside them: as categories, names that are alike when shortened would become one, and
codewords would be taken for numbers. Names from the catalog are escaped: plotly reads some HTML.
"""

import html
from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from shelfcode.evaluation.stability.churn import FEWEST_PRODUCTS, MOSTLY, SMALLEST_PART, Churn, FirstLevelMoves
from shelfcode.reporting.plots import ACCENT, INK, as_html, level_colours, shorten, style

DEPARTMENTS_DRAWN = 12


def churn_columns(churn: Churn, departments: int = 12) -> dict[str, dict[str, object]]:
    """Churn as a job shows it: name of a column -> department, or all products -> cell."""
    largest = churn.departments[:departments]
    rows = [*((each.department, each.products, each.changed) for each in largest), ("all products", churn.products, churn.changed)]
    columns: dict[str, dict[str, object]] = {"products": {name: f"{products:,}" for name, products, _ in rows}}
    for level in range(len(churn.changed)):
        columns[f"L{level + 1} changed"] = {name: changed[level] for name, _, changed in rows}
    return columns


def fate_columns(churn: Churn) -> dict[str, dict[str, object]]:
    """What became of prefixes as a job shows it: fate -> level -> prefixes."""
    return {fate: {f"L{level.level}": getattr(level, fate) for level in churn.fates} for fate in ("kept", "moved", "split", "merged")}


def stability_section(churn: Churn | None) -> dict[str, object]:
    """What `stability.html.j2` shows; a page includes it where `churn` is not None."""
    return {
        "churn": churn,
        "stability_plots": churn_plots(churn) if churn else {},
        "mostly": MOSTLY,
        "fewest_products": FEWEST_PRODUCTS,
        "smallest_part": SMALLEST_PART,
    }


def churn_plots(churn: Churn) -> dict[str, Markup]:
    """All drawings as HTML, by name; none where the releases have no product in common."""
    if churn.moves is None:
        return {}
    figures = {"kept": kept_plot(churn), "changed": changed_plot(churn), "moves": moves_plot(churn.moves)}
    return {name: as_html(figure, f"plot-{name}") for name, figure in figures.items()}


def kept_plot(churn: Churn) -> go.Figure:
    """Share of the products that keep their prefix down to each level."""
    levels = len(churn.changed)
    kept = [1 - share for share in churn.changed]
    texts = [f"{share:.1%}" for share in kept]
    hover = "%{text} of the products kept down to L%{x}<extra></extra>"
    bars = {"marker_color": level_colours(levels), "textposition": "auto", "width": 0.6}
    figure = style(go.Figure(go.Bar(x=list(range(1, levels + 1)), y=kept, text=texts, hovertemplate=hover, **bars)), 300)
    figure.update_xaxes(tickvals=list(range(1, levels + 1)), ticktext=[f"L{level}" for level in range(1, levels + 1)])
    figure.update_yaxes(title_text="products kept", tickformat=".0%", range=[0, 1.03])
    return figure


def changed_plot(churn: Churn) -> go.Figure:
    """Share of products whose prefix changed: bars for all of them and for each of the largest departments, one per level."""
    drawn = churn.departments[:DEPARTMENTS_DRAWN]
    groups = [("all products", churn.products, churn.changed), *((each.department, each.products, each.changed) for each in drawn)]
    figure = go.Figure()
    for level, colour in enumerate(level_colours(len(churn.changed)), start=1):
        shares = [changed[level - 1] for _, _, changed in groups]
        words = [f"{_name(name)}: L{level} changed for {changed[level - 1]:.1%} of {products:,}" for name, products, changed in groups]
        figure.add_bar(
            x=list(range(len(groups))), y=shares, name=f"L{level}", marker_color=colour, customdata=words,
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    style(figure, 420)
    figure.update_xaxes(tickvals=list(range(len(groups))), ticktext=[_name(name) for name, _, _ in groups], automargin=True)
    figure.update_yaxes(title_text="products changed", tickformat=".0%", rangemode="tozero")
    figure.update_layout(barmode="group", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=True)
    return figure


def moves_plot(moves: FirstLevelMoves) -> go.Figure:
    """Share of each old first codeword's products at each new one: what stayed lies on the diagonal."""
    sides = range(len(moves.codewords) + 1)
    rows = [row for row in sides if any(moves.products[row])]
    columns = [column for column in sides if any(moves.products[row][column] for row in sides)]
    shares, words = [], []
    for row in rows:
        total, old = sum(moves.products[row]), _codeword(moves, row)
        cells = [(moves.products[row][column], _codeword(moves, column)) for column in columns]
        shares.append([count / total if count else None for count, _ in cells])
        words.append([f"{count:,} of the {total:,} products of {old}<br>are now of {new} ({count / total:.1%})" for count, new in cells])
    heat = go.Heatmap(
        z=shares, customdata=words, hovertemplate="%{customdata}<extra></extra>", hoverongaps=False, zmin=0, zmax=1, xgap=1, ygap=1,
        colorscale=[[0, "#f1f5f4"], [0.15, "#a8d3cc"], [0.6, ACCENT], [1, "#0b4f4a"]],
        colorbar={"tickformat": ".0%", "title": {"text": "of the old"}, "thickness": 14},
    )  # fmt: skip
    figure = style(go.Figure(heat), 190 + 22 * len(rows))
    figure.update_xaxes(
        title_text="first codeword now", tickvals=list(range(len(columns))), ticktext=_ticks(moves, moves.new_departments, columns),
        tickangle=-60, automargin=True, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(
        title_text="before", tickvals=list(range(len(rows))), ticktext=_ticks(moves, moves.old_departments, rows),
        autorange="reversed", automargin=True, showgrid=False, color=INK,
    )  # fmt: skip
    return figure


def _codeword(moves: FirstLevelMoves, place: int) -> str:
    return f"codeword {moves.codewords[place]}" if place < len(moves.codewords) else "other codewords"


def _ticks(moves: FirstLevelMoves, departments: Sequence[str | None], places: Sequence[int]) -> list[str]:
    """Codewords, each with the commonest department of its products."""
    named = zip(moves.codewords, departments, strict=True)
    texts = [*(f"{codeword} {_name(name, 18)}" if name else str(codeword) for codeword, name in named), "others"]
    return [texts[place] for place in places]


def _name(department: str, length: int = 30) -> str:
    return html.escape(shorten(department, length))
