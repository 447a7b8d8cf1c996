"""The report of a release: one self-contained HTML page about what its semantic IDs are worth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import AppliedLabels
from shelfcode.evaluation.behaviour.behavioural_alignment import BehaviouralAlignment
from shelfcode.evaluation.behaviour.behavioural_report import behavioural_notes, lift_plot, lift_rows
from shelfcode.evaluation.quality.codebook_health import codeword_counts
from shelfcode.evaluation.quality.collisions import UNLIKE_BELOW, Collision
from shelfcode.evaluation.quality.evaluate import Evaluation, headline
from shelfcode.evaluation.quality.figure_guide import guide_of, judged_figures
from shelfcode.evaluation.quality.hierarchy_map import MapNode, hierarchy_map, map_positions
from shelfcode.evaluation.quality.quality_plots import codeword_plot, map_plot, similarity_plot, taxonomy_alignment_plot
from shelfcode.evaluation.stability.churn import Churn
from shelfcode.evaluation.stability.churn_report import stability_section
from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import as_html, shorten

_CARDS = (
    "similarity_depth_spearman",
    "share_at_l1_cosine_90",
    "share_at_l{levels}_cosine_90",
    "codewords_used_share",
    "distinct_share",
    "unlike_collision_share",
    "l1_largest_over_even",
    "ami_l1_top",
    "purity_l2_leaf",
)


@dataclass(frozen=True)
class ReportExamples:
    """What the report says about single products, for the positions that `positions_needed` gives.

    Attributes:
        titles: position -> title.
        leaves: position -> leaf of the category path; products without a path are missing.
    """

    titles: Mapping[int, str]
    leaves: Mapping[int, str]

    @classmethod
    def from_columns(
        cls, positions: Sequence[int] | NDArray[np.integer], titles: Sequence[str], leaves: Sequence[str | None]
    ) -> "ReportExamples":
        """From columns of equal length; an empty or missing leaf is left out."""
        numbers = [int(position) for position in positions]
        return cls(dict(zip(numbers, titles, strict=True)), {number: leaf for number, leaf in zip(numbers, leaves, strict=True) if leaf})


def positions_needed(evaluation: Evaluation, codes_NL: NDArray[np.integer]) -> NDArray[np.int64]:
    """Positions of the products whose titles the report shows: int64, sorted, each once. About ten thousand at most."""
    map_N = map_positions(hierarchy_map(codes_NL, evaluation.codebook_sizes))
    worst = (*evaluation.collisions.most_products, *evaluation.collisions.least_alike)
    worst_N = np.array([position for collision in worst for position in collision.examples], dtype=np.int64)
    return np.union1d(map_N, worst_N)


def report_html(
    evaluation: Evaluation,
    codes_NL: NDArray[np.integer],
    examples: ReportExamples,
    title: str,
    recipe_yaml: str,
    facts: Mapping[str, object],
    behaviour: BehaviouralAlignment | None = None,
    churn: Churn | None = None,
    labels: AppliedLabels | None = None,
) -> str:
    """The whole page as text; the caller writes it.

    Titles, leaves, recipe and facts are the user's data and are shown as text, whatever markup they hold.

    Args:
        evaluation: of these codes.
        codes_NL: the semantic IDs of all products.
        examples: titles and leaves of `positions_needed(evaluation, codes_NL)`.
        title: of the page, such as the name of the release.
        recipe_yaml: the recipe as it was used.
        facts: what else there is to know about the release: catalog, parent release, versions; nested values are shown as JSON.
        behaviour: behavioural alignment of these codes, where relations are known.
        churn: against the previous release, where there is one.
        labels: decided labels that were laid over the catalog, where there are any.

    Raises:
        KeyError: `examples` lacks a title that is needed.
    """
    levels = len(evaluation.codebook_sizes)
    nodes = hierarchy_map(codes_NL, evaluation.codebook_sizes)
    plots = {
        "similarity": similarity_plot(evaluation.similarity_depth, levels),
        "codewords": codeword_plot(codeword_counts(codes_NL, evaluation.codebook_sizes)),
        "map": map_plot(nodes, examples.titles, examples.leaves),
    }
    if evaluation.taxonomy_alignment is not None:
        plots["alignment"] = taxonomy_alignment_plot(evaluation.taxonomy_alignment, levels)
    if behaviour is not None:
        plots["behaviour"] = lift_plot(behaviour)
    return render_page(
        "evaluation/report.html.j2",
        title,
        with_plots=True,
        plots={name: as_html(figure, f"plot-{name}") for name, figure in plots.items()},
        cards=_cards(evaluation),
        evaluation=evaluation,
        lift_rows=lift_rows(behaviour) if behaviour else [],
        lift_notes=behavioural_notes(behaviour) if behaviour else [],
        unlike_below=UNLIKE_BELOW,
        map_left_out=_left_out(nodes),
        worst=[
            ("Most products", [_collision_row(collision, examples) for collision in evaluation.collisions.most_products]),
            ("Least alike", [_collision_row(collision, examples) for collision in evaluation.collisions.least_alike]),
        ],
        recipe_yaml=recipe_yaml,
        facts={name: value if isinstance(value, str) else json.dumps(value, default=str, indent=1) for name, value in facts.items()},
        labels=labels,
        **stability_section(churn),
    )


def _cards(evaluation: Evaluation) -> list[dict[str, str | None]]:
    """One card for each headline figure that a reader needs; an undefined one says why."""
    values, levels = headline(evaluation), len(evaluation.codebook_sizes)
    names = dict.fromkeys(name.format(levels=levels) for name in _CARDS)
    return [
        {
            "label": judged.name,
            "value": judged.text,
            "note": _note(judged.figure, evaluation) if judged.value is None else _interval(judged.figure, values),
            "sentence": guide_of(judged.figure, levels).sentence,
            "verdict": judged.verdict,
        }
        for judged in judged_figures(values, tuple(names), levels)
    ]


def _note(figure: str, evaluation: Evaluation) -> str:
    """Why a headline figure is undefined."""
    similarity, alignment = evaluation.similarity_depth, evaluation.taxonomy_alignment
    if figure == "similarity_depth_spearman":
        return similarity.undefined.get("spearman", "")
    if figure.startswith("share_at_"):
        return similarity.similar.undefined.get("share_at_level", "")
    if figure == "unlike_collision_share":
        return evaluation.collisions.undefined.get("unlike_share", "")
    if alignment is None:
        return evaluation.undefined.get("taxonomy_alignment", "")
    cell = alignment.at(1, 1) if figure == "ami_l1_top" else alignment.at(2, "leaf")
    return next(iter(cell.undefined.values()), "") if cell else "there is one level only"


def _interval(figure: str, values: Mapping[str, float]) -> str:
    if figure == "similarity_depth_spearman" and "spearman_low" in values:
        return f"95% interval {values['spearman_low']:.3f} to {values['spearman_high']:.3f}"
    return ""


def _collision_row(collision: Collision, examples: ReportExamples) -> dict[str, object]:
    products = [(shorten(examples.titles[position], 140), examples.leaves.get(position, "")) for position in collision.examples]
    return {"collision": collision, "examples": products, "more": collision.products - len(products)}


def _left_out(nodes: Sequence[MapNode]) -> str:
    drawn = sum(node.kind == "prefix" for node in nodes)
    left_out = sum(node.left_out for node in nodes)
    return f"{drawn:,} prefixes are drawn, the largest" + (f"; {left_out:,} of their child prefixes are not." if left_out else ".")
