"""What semantic IDs are worth, drawn. All text that comes from the catalog is escaped: plotly reads some HTML."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from shelfcode.evaluation.quality.hierarchy_map import MapNode
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth
from shelfcode.evaluation.quality.taxonomy_alignment import TaxonomyAlignment
from shelfcode.reporting.plots import ACCENT, BRANCHES, INK, SOFT, WARNING, level_colours, shorten, shorten_front, style

_COLUMNS = 4
"""Panels side by side."""


def similarity_plot(similarity: SimilarityDepth, levels: int) -> go.Figure:
    """Agreement per level, mean shared depth and number of pairs, by bin of cosine."""
    bins = [part for part in similarity.bins if part.share_at_level is not None]
    middle = [(part.cosine_low + part.cosine_high) / 2 for part in bins]
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=[0.52, 0.28, 0.2], vertical_spacing=0.05)
    for level, colour in enumerate(level_colours(levels), start=1):
        share = [part.share_at_level[level - 1] for part in bins if part.share_at_level is not None]
        hover = "cosine %{x:.3f}: %{y:.1%} agree down to L" + str(level) + "<extra></extra>"
        line = {"color": colour, "width": 2.5}
        figure.add_scatter(
            x=middle, y=share, name=f"agree down to L{level}", mode="lines+markers", line=line, hovertemplate=hover, row=1, col=1
        )
    depth = [part.mean_shared_depth for part in bins]
    figure.add_scatter(
        x=middle,
        y=depth,
        mode="lines+markers",
        line={"color": INK, "width": 2.5},
        showlegend=False,
        hovertemplate="cosine %{x:.3f}: %{y:.2f} levels shared<extra></extra>",
        row=2,
        col=1,
    )
    pairs = [part.pairs for part in bins]
    bars = {"marker_color": "#b6c2cc", "showlegend": False, "hovertemplate": "cosine %{x:.3f}: %{y:,} pairs<extra></extra>"}
    figure.add_bar(x=middle, y=pairs, **bars, row=3, col=1)
    style(figure, 620)
    figure.update_yaxes(title_text="share of pairs", tickformat=".0%", range=[-0.02, 1.03], row=1, col=1)
    figure.update_yaxes(title_text="mean depth", range=[-0.03 * levels, levels * 1.03], dtick=1, row=2, col=1)
    figure.update_yaxes(title_text="pairs", type="log", dtick=2, range=[0, np.log10(max(pairs, default=1)) + 0.3], row=3, col=1)
    figure.update_xaxes(title_text="cosine of the two products", range=[-0.01, 1.01], row=3, col=1)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, bargap=0.15)
    return figure


def codeword_plot(counts: Sequence[NDArray[np.int64]]) -> go.Figure:
    """Products of each codeword over an even share, commonest first, unused ones shaded; one panel per level."""
    rows = -(-len(counts) // _COLUMNS)
    titles = [f"L{level}: {int((count_K > 0).sum()):,} of {len(count_K):,} used" for level, count_K in enumerate(counts, start=1)]
    figure = make_subplots(
        rows=rows,
        cols=min(len(counts), _COLUMNS),
        subplot_titles=titles,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        vertical_spacing=0.28 / rows,
    )
    for index, count_K in enumerate(counts):
        row, column = index // _COLUMNS + 1, index % _COLUMNS + 1
        size, used = len(count_K), int((count_K > 0).sum())
        ratio = np.sort(count_K[count_K > 0])[::-1] * (size / count_K.sum())
        figure.add_scatter(
            x=np.arange(used + 1) + 0.5,
            y=np.append(ratio, ratio[-1]),
            customdata=np.minimum(np.arange(used + 1) + 1, used),
            mode="lines",
            line={"color": ACCENT, "width": 2.5, "shape": "hv"},
            showlegend=False,
            hovertemplate="codeword no. %{customdata}: %{y:.2f} x even share<extra></extra>",
            row=row,
            col=column,
        )
        figure.add_hline(y=1, line={"color": SOFT, "dash": "dot", "width": 1}, row=row, col=column)
        if used < size:
            note = {"annotation_text": f"{size - used:,} unused", "annotation_position": "top left"} if used < 0.9 * size else {}
            figure.add_vrect(x0=used + 0.5, x1=size + 0.5, fillcolor=WARNING, opacity=0.18, line_width=0, row=row, col=column, **note)
        figure.update_xaxes(range=[0, size + 1], row=row, col=column)
    style(figure, 60 + 270 * rows)
    top = max(2.0, *(count_K.max() * len(count_K) / count_K.sum() for count_K in counts))
    bottom = min(0.5, *(count_K[count_K > 0].min() * len(count_K) / count_K.sum() for count_K in counts))
    figure.update_yaxes(type="log", dtick=1, range=[np.log10(bottom) - 0.1, np.log10(top) + 0.15])
    figure.update_yaxes(title_text="products over even share", col=1)
    figure.update_xaxes(title_text="codewords, commonest first", row=rows)
    return figure


def taxonomy_alignment_plot(alignment: TaxonomyAlignment, levels: int) -> go.Figure:
    """Adjusted mutual information and purity of each prefix depth with each depth of the tree."""
    labels = list(dict.fromkeys(cell.label_depth for cell in alignment.cells))
    names = ["leaf" if label == "leaf" else f"depth {label}" for label in labels]
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["adjusted mutual information", "purity"], shared_yaxes=True, horizontal_spacing=0.04
    )
    for column, figure_name in enumerate(("ami", "purity"), start=1):
        grid = [[getattr(alignment.at(depth, label), figure_name, None) for label in labels] for depth in range(1, levels + 1)]
        figure.add_heatmap(
            z=grid,
            x=names,
            y=[f"L{depth}" for depth in range(1, levels + 1)],
            text=[["-" if value is None else f"{value:.2f}" for value in row] for row in grid],
            texttemplate="%{text}",
            colorscale=[[0, "#f4f7f6"], [0.5, "#7dbdb3"], [1, "#0b4f4a"]],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="prefix down to %{y}, %{x} of the tree: %{text}<extra></extra>",
            row=1,
            col=column,
        )
    style(figure, 110 + 46 * levels)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(title_text="prefix down to", col=1)
    return figure


def map_plot(nodes: Sequence[MapNode], titles: Mapping[int, str], leaves: Mapping[int, str]) -> go.Figure:
    """The zoomable map of the hierarchy."""
    first_level = [node.key for node in nodes if node.kind == "prefix" and node.parent == nodes[0].key]
    hue = {key: BRANCHES[number % len(BRANCHES)] for number, key in enumerate(first_level)}
    labels, hovers, colours = [], [], []
    for node in nodes:
        label, hover = _words(node, titles, leaves)
        labels.append(label)
        hovers.append(hover)
        branch = node.key.split("/")[0].split("_")[0]
        colours.append("#f3f4f2" if node.kind in ("product", "more") else hue.get(branch, "#ffffff"))
    figure = go.Figure(
        go.Treemap(
            ids=[node.key for node in nodes],
            parents=[node.parent for node in nodes],
            labels=labels,
            values=[node.drawn_size for node in nodes],
            branchvalues="total",
            customdata=hovers,
            hovertemplate="%{customdata}<extra></extra>",
            marker={"colors": colours, "line": {"color": "white", "width": 1}},
            maxdepth=3,
            tiling={"pad": 2},
            pathbar={"thickness": 24},
            textfont={"color": INK},
        )
    )
    style(figure, 720)
    figure.update_layout(margin={"l": 5, "r": 5, "t": 30, "b": 5})
    return figure


def _words(node: MapNode, titles: Mapping[int, str], leaves: Mapping[int, str]) -> tuple[str, str]:
    """Label and hover text of a cell, catalog text escaped."""
    if node.kind == "root":
        return f"catalog · {node.products:,}", f"{node.products:,} products"
    if node.kind == "more":
        inside = f"{node.left_out:,} prefixes ({node.products:,} products)" if node.left_out else f"{node.products:,} products"
        return f"and {inside} more", f"{inside} more under {node.parent}, not drawn"
    if node.kind == "product":
        title = html.escape(shorten(titles[node.examples[0]], 120))
        leaf = html.escape(leaves.get(node.examples[0], ""))
        return title, "<br>".join(part for part in (title, leaf, node.parent) if part)
    lines = [f"<b>{node.key}</b>: {node.products:,} products"]
    label = f"<b>{node.key}</b> · {node.products:,}"
    seen: Counter[str] = Counter(leaves[position] for position in node.examples if leaves.get(position))
    if seen:
        common = seen.most_common(2)
        lines += [f"{times} of {len(node.examples)} examples: {html.escape(leaf)}" for leaf, times in common]
        if 2 * common[0][1] > len(node.examples):
            common = common[:1]
        label += "<br>" + html.escape(", ".join(shorten_front(leaf, 40) for leaf, _ in common))
    lines += [f"- {html.escape(shorten(titles[position], 80))}" for position in node.examples[:5]]
    return label, "<br>".join(lines)
