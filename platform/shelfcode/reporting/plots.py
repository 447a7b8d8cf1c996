"""How drawings look, and how they get into a page. Text from a catalog must be escaped before it is drawn: plotly reads some HTML."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

INK, SOFT, GRID, ACCENT, WARNING = "#1f2933", "#667482", "#e6eaee", "#0f766e", "#c2410c"
BRANCHES = ("#7fb5ae", "#e3b778", "#94add6", "#d79a94", "#a9c486", "#b9a3d0", "#8cc3d9", "#d8a8c0", "#c9bd84", "#9fb0bd")
"""Areas side by side."""

LINES = ("#0f766e", "#c2410c", "#4f6bb0", "#a3428b", "#7a8b1f", "#1f2933", "#b98900", "#5b8f99")
"""Lines in one drawing."""


def style(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure the look of the report."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    return figure


def level_colours(levels: int) -> list[str]:
    """Dark for level 1, lighter below."""
    dark, light = np.array([11, 79, 74]), np.array([150, 205, 196])
    return [f"rgb{tuple(int(part) for part in dark + (light - dark) * level / max(levels - 1, 1))}" for level in range(levels)]


def shorten(text: str, length: int) -> str:
    """At most `length` characters, an ellipsis where text was cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def shorten_front(text: str, length: int) -> str:
    """At most `length` characters, cut at the front: of a whole path, the leaf is what tells."""
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :].lstrip()


def as_html(figure: go.Figure, name: str) -> Markup:
    """A figure as a <div> and its script, without plotly.js; the JSON in it has <, > and / escaped."""
    config: dict[str, Any] = {"displayModeBar": False, "responsive": True}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))
