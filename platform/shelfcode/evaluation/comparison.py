"""Two evaluations side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralComparison
from shelfcode.evaluation.behaviour.behavioural_report import ratio_rows
from shelfcode.evaluation.quality.evaluate import Evaluation, headline
from shelfcode.evaluation.quality.figure_guide import FigureGuide, guide_of
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth
from shelfcode.evaluation.stability.churn import Churn
from shelfcode.evaluation.stability.churn_report import stability_section
from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import ACCENT, WARNING

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 850, 340, 46, 44, 12
_COLOURS = (ACCENT, WARNING)


@dataclass(frozen=True)
class ComparisonRow:
    """One headline figure of two evaluations.

    Attributes:
        figure: its name in `headline`.
        guide: how to read it.
        a, b: the values, None where undefined.
        difference: b - a, None where one is undefined.
        better: the name of the better evaluation; None where neither direction is better by itself, where the values are equal or one
            is undefined, and where the 95% intervals of the similarity-depth overlap.
    """

    figure: str
    guide: FigureGuide
    a: float | None
    b: float | None
    difference: float | None
    better: str | None

    @property
    def difference_text(self) -> str:
        """The difference with its sign, nothing where there is none."""
        if self.difference is None:
            return ""
        text = self.guide.text(abs(self.difference))
        return f"{'-' if self.difference < 0 else '+'}{text}" if float(text.rstrip("%x")) else text


def compare(a: Evaluation, b: Evaluation, names: tuple[str, str]) -> list[ComparisonRow]:
    """A row for each headline figure that at least one of the evaluations has, in the order of `headline`.

    Figures are compared as they are: purity and distinct share move with the codebook sizes, which the two may not share.
    """
    figures_a, figures_b = headline(a), headline(b)
    levels = max(len(a.codebook_sizes), len(b.codebook_sizes))
    # Shares of the deepest levels exist only in the evaluation with more levels; they belong beside the other shares.
    longer, shorter = (figures_a, figures_b) if len(figures_a) >= len(figures_b) else (figures_b, figures_a)
    rows = []
    for figure in dict.fromkeys((*longer, *shorter)):
        value_a, value_b = figures_a.get(figure), figures_b.get(figure)
        guide = guide_of(figure, levels)
        difference, better = None, None
        if value_a is not None and value_b is not None:
            difference = value_b - value_a
            if guide.higher_is_better is not None and difference != 0:
                better = names[int((difference > 0) == guide.higher_is_better)]
            if figure == "similarity_depth_spearman" and _overlap(a.similarity_depth, b.similarity_depth):
                better = None
        rows.append(ComparisonRow(figure, guide, value_a, value_b, difference, better))
    return rows


def comparison_columns(rows: Sequence[ComparisonRow], names: tuple[str, str]) -> dict[str, dict[str, object]]:
    """The rows of `compare` as a job shows them: name of a column -> label of a figure -> its cell."""
    return {
        names[0]: {row.guide.label: row.a for row in rows},
        names[1]: {row.guide.label: row.b for row in rows},
        "difference": {row.guide.label: row.difference for row in rows},
        "better": {row.guide.label: row.better for row in rows},
    }


def comparison_html(
    a: Evaluation, b: Evaluation, names: tuple[str, str], title: str = "Comparison", behaviour: BehaviouralComparison | None = None,
    churn: Churn | None = None,
) -> str:  # fmt: skip
    """A self-contained page: the rows of `compare`, both similarity-depth curves, the lifts of both, and what changed. Names are escaped.

    Without a churn the page is small: only its plots need plotly.js.
    """
    levels = max(len(a.codebook_sizes), len(b.codebook_sizes))
    curves = [
        {"name": name, "colour": colour, "points": _curve(evaluation.similarity_depth, levels)}
        for name, colour, evaluation in zip(names, _COLOURS, (a, b), strict=True)
    ]
    return render_page(
        "evaluation/comparison.html.j2",
        title,
        with_plots=churn is not None,
        names=names,
        evaluations=(a, b),
        rows=compare(a, b, names),
        curves=curves,
        behaviour=ratio_rows(behaviour) if behaviour else [],
        levels=levels,
        x=_x,
        y=partial(_y, levels=levels),
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        **stability_section(churn),
    )


def _overlap(a: SimilarityDepth, b: SimilarityDepth) -> bool:
    if a.spearman_low is None or a.spearman_high is None or b.spearman_low is None or b.spearman_high is None:
        return False
    return a.spearman_low <= b.spearman_high and b.spearman_low <= a.spearman_high


def _x(cosine: float) -> float:
    return _LEFT + cosine * (_WIDTH - _LEFT - 16)


def _y(depth: float, levels: int) -> float:
    return _HEIGHT - _BOTTOM - depth / levels * (_HEIGHT - _BOTTOM - _TOP)


def _curve(similarity: SimilarityDepth, levels: int) -> list[tuple[float, float, str]]:
    """Points of mean shared depth by the middle of each bin of cosine: x, y, and the text on hovering."""
    points = []
    for part in similarity.bins:
        if part.mean_shared_depth is not None:
            middle = (part.cosine_low + part.cosine_high) / 2
            text = f"cosine {middle:.3f}: {part.mean_shared_depth:.2f} levels shared, {part.pairs:,} pairs"
            points.append((round(_x(middle), 1), round(_y(part.mean_shared_depth, levels), 1), text))
    return points
