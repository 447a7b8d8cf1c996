"""The report of retrievers: one self-contained HTML page about what each finds, shows and costs, with where it loses."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shelfcode.reporting.page import render_page
from shelfcode.reporting.plots import as_html
from shelfcode.reporting.tables import NOT_DEFINED, ratio_text, share_text
from shelfcode.retrieval.evaluation.breadth import NEAR_THE_TOP, SHOWN
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.evaluate import Answers, Difference, RetrievalEvaluation, RetrieverFigures
from shelfcode.retrieval.evaluation.intervals import Figure
from shelfcode.retrieval.evaluation.measures import figure_name
from shelfcode.retrieval.evaluation.parameters import PUBLISHED_RATIO
from shelfcode.retrieval.evaluation.plots import bar_plot, cut_off_plot, parameter_plot
from shelfcode.retrieval.evaluation.product_facts import SLICES

MAIN = 20
"""The cut-off of slices, differences and cards."""

_COLUMNS = {
    figure_name(measure, cut_off): f"{label}@{cut_off}"
    for measure, label in (("recall", "Recall"), ("ndcg", "NDCG"))
    for cut_off in (10, 20, 50)
}
_SLICES = {
    "head": "head", "middle": "middle", "tail": "tail", "tail80": "least sold 80%", "cold": "never sold", "cold_brand": "new brand",
    "new_to_household": "new to the household", "without_leaf": "without a leaf",
}  # fmt: skip
_DRIFT = {"no_leaf_of_cart": "no leaf of the cart", "no_parent_of_cart": "no parent", "no_department_of_cart": "no department"}
_ALIKE = {"pairs_of_a_leaf": "pairs of one leaf", "pairs_of_a_department": "pairs of one department"}

MEANINGS = {
    "Recall@K": "Of the products that were taken, the share among the first K results; of more than K taken ones, K count as all.",
    "NDCG@K": "The same, but a product found further down counts less; 1 is a list that begins with what was taken.",
    "Slices": "The same of some of the targets alone, over the cases that have such. Few cases, wide interval.",
    "Coverage": "Share of the catalog that anybody is shown at all.",
    "Drift": "Share of the first results that have nothing in common with the cart, by the catalog's own tree. Some drift is right: people "
    "do buy milk with shampoo.",
    "Alike": "Share of the pairs within a list that are of one leaf or department. High is monotonous, low is scattered.",
    "Intervals": "95%, by bootstrap over cases. They say how much the choice of cases matters, not how much training does: that is the "
    "spread over seeds.",
    "Difference": "Taken case by case, and in bold where its interval leaves out 0.",
}


@dataclass(frozen=True)
class CaseExample:
    """One case as a reader sees it.

    Attributes:
        cart, targets: titles.
        lists: of each retriever, its name and its first results: title, and whether it was taken.
    """

    cart: tuple[str, ...]
    targets: tuple[str, ...]
    lists: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]


def case_examples(
    cases: Cases, answers: Sequence[Answers], title_of: Callable[[int], str], number: int = 4, results: int = 8, seed: int = 0
) -> list[CaseExample]:
    """Some cases drawn at random, with what each retriever's first version answered.

    Args:
        title_of: the title of a product by its place.
    """
    examples = []
    for row in np.sort(np.random.default_rng(seed).permutation(len(cases))[:number]).tolist():
        cart = [product for product in cases.contexts.cart(row).tolist() if product >= 0]
        targets = [
            product for product in cases.target_T[cases.target_first_R[row] : cases.target_first_R[row + 1]].tolist() if product >= 0
        ]
        lists = []
        for each in answers:
            products = [product for product in each.versions[0].products_RK[row, :results].tolist() if product >= 0]
            lists.append((each.name, tuple((title_of(product), product in targets) for product in products)))
        examples.append(CaseExample(tuple(map(title_of, cart)), tuple(map(title_of, targets)), tuple(lists)))
    return examples


def report_html(
    evaluation: RetrievalEvaluation, title: str, facts: Mapping[str, object] | None = None, examples: Sequence[CaseExample] = ()
) -> str:
    """The whole page as text; the caller writes it. Titles, names and facts are the user's data and are shown as text, whatever they hold.

    Args:
        facts: what else there is to know: releases, versions, commands; nested values are shown as JSON.
    """
    slices = {figure_name("recall", MAIN, name): _SLICES[name] for name, count in evaluation.slices.items() if count}
    plots = {
        "slices": bar_plot(evaluation, list(slices), list(slices.values()), f"Recall@{MAIN}", "{:.4f}".format),
        "cut_offs": cut_off_plot(evaluation),
        "drift": bar_plot(evaluation, list(_DRIFT), list(_DRIFT.values()), "share of the first results", share_text),
    }
    if evaluation.parameters is not None:
        plots["parameters"] = parameter_plot(evaluation.parameters)
    compared = {figure_name(measure, MAIN): _COLUMNS[figure_name(measure, MAIN)] for measure in ("recall", "ndcg")} | slices
    return render_page(
        "retrieval/evaluation/report.html.j2",
        title,
        with_plots=True,
        plots={name: as_html(figure, f"plot-{name}") for name, figure in plots.items()},
        evaluation=evaluation,
        cards=_cards(evaluation),
        columns=list(_COLUMNS.values()),
        rows=_rows(evaluation, list(_COLUMNS)),
        slices=[(_SLICES[name], SLICES[name], count) for name, count in evaluation.slices.items()],
        slice_rows=_rows(evaluation, list(slices)),
        compared=list(compared.values()),
        differences=[_difference(each, list(compared)) for each in evaluation.differences],
        breadth=[_breadth(each) for each in evaluation.retrievers],
        breadth_shares=[*_DRIFT.values(), *_ALIKE.values()],
        costs=[(each.name, each.cost, _duration(each.cost.training_seconds)) for each in evaluation.retrievers if each.cost],
        several_versions=any(each.versions > 1 for each in evaluation.retrievers),
        meanings=MEANINGS,
        main=MAIN,
        shown=SHOWN,
        near_the_top=NEAR_THE_TOP,
        published_ratio=PUBLISHED_RATIO,
        examples=examples,
        facts={
            name: value if isinstance(value, str) else json.dumps(value, default=str, indent=1) for name, value in (facts or {}).items()
        },
    )


def _cards(evaluation: RetrievalEvaluation) -> list[dict[str, str]]:
    """What matters at first sight: the best trained retriever, the best control, what is wrong, what it costs."""
    figure, cards = figure_name("recall", MAIN), []
    for label, is_control in (("Best retriever", False), ("Best control", True)):
        ranked = [
            each for each in evaluation.retrievers if (each.kind == "control") == is_control and each.figures[figure].value is not None
        ]
        if ranked:
            best = max(ranked, key=lambda each: each.figures[figure].value or 0.0)
            found = best.figures[figure]
            cards.append({"label": label, "value": _value(found), "note": _interval(found), "sentence": f"{best.name}, Recall@{MAIN}."})
    faults, results = (sum(getattr(each.faults, name) for each in evaluation.retrievers) for name in ("total", "results"))
    sentence = "Not allowed at the retailer, in the cart, doubled or missing."
    cards.append({"label": "Results that must not be", "value": f"{faults:,}", "note": f"of {results:,}", "sentence": sentence})
    if (parameters := evaluation.parameters) is not None:
        note = f"{PUBLISHED_RATIO}x from {parameters.published_ratio_at:,} products on"
        sentence = "Embedding parameters of the scoring model over those of the generator."
        cards.append({"label": "Fewer parameters", "value": f"{ratio_text(parameters.ratio)}x", "note": note, "sentence": sentence})
    return cards


def _rows(evaluation: RetrievalEvaluation, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each retriever with a cell for each figure; the best of a column is marked."""
    best = {name: max((each.figures[name].value or 0.0 for each in evaluation.retrievers), default=0.0) for name in names}
    rows = []
    for retriever in evaluation.retrievers:
        cells = [
            _cell(retriever.figures[name]) | {"bold": bool(best[name]) and retriever.figures[name].value == best[name]} for name in names
        ]
        rows.append({"name": retriever.name, "kind": retriever.kind, "versions": retriever.versions, "cells": cells})
    return rows


def _difference(difference: Difference, names: Sequence[str]) -> dict[str, Any]:
    cells = [_cell(difference.figures[name], "+") | {"bold": difference.figures[name].apart} for name in names]
    return {"name": difference.name, "over": difference.over, "cells": cells}


def _breadth(retriever: RetrieverFigures) -> dict[str, Any]:
    """What its lists show, as text."""
    figures = retriever.figures
    shares = [NOT_DEFINED if (value := figures[name].value) is None else share_text(value) for name in (*_DRIFT, *_ALIKE)]
    means = [NOT_DEFINED if (value := figures[name].value) is None else f"{value:.1f}" for name in ("leaves_a_list", "brands_a_list")]
    shown = {"shown": retriever.shown, "coverage": share_text(retriever.shown.coverage), "means": means}
    return {"name": retriever.name, "shares": shares, "faults": retriever.faults, **shown}


def _cell(figure: Figure, sign: str = "") -> dict[str, Any]:
    spread = "" if figure.spread is None else f"± {figure.spread:.4f}"
    why = "; ".join(dict.fromkeys(figure.undefined.values()))
    return {"value": _value(figure, sign), "interval": _interval(figure), "spread": spread, "why": why}


def _value(figure: Figure, sign: str = "") -> str:
    return NOT_DEFINED if figure.value is None else f"{figure.value:{sign}z.4f}"  # z: no minus before a zero


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:z.3f} to {figure.high:z.3f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
