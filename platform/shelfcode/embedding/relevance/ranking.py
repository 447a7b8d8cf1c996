"""What an encoder is worth at ranking judged products, with intervals; of two encoders, what one has over the other.

The formulas, and how ties and resamples are taken, are in ranking_measures.py.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.embedding.relevance.ranking_measures import JudgedRows, measures
from shelfcode.interactions.columns import LABELS
from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import LEAST_GROUPS, bootstrap_interval

RESAMPLES = 1_000

_BOOTSTRAP = 5
_NAMES = {
    "ndcg_at_10": "NDCG@10",
    "mrr": "MRR",
    "auc_exact": "AUC exact over rest",
    "auc_exact_within": "AUC exact over rest, within queries",
    "auc_substitute": "AUC substitute over complement",
    "auc_substitute_within": "AUC substitute over complement, within queries",
}
_WHY = {
    "ndcg_at_10": "no query has a product with a gain",
    "mrr": "no query has an exact product",
    "auc_exact": "it takes exact products and others",
    "auc_exact_within": "no query has both an exact product and another",
    "auc_substitute": "it takes substitutes and complements",
    "auc_substitute_within": "no query has both a substitute and a complement",
}
_FEW = f"fewer than {LEAST_GROUPS} queries"
_RARE = "it is undefined in many resamples"


class RankingFigure(Figures):
    """One figure of a ranking, or the difference of two.

    Attributes:
        value: 0 to 1, higher is better; of a difference -1 to 1.
        low, high: bootstrap 95% interval, by query.
        queries, rows: that have a part in it.
    """

    value: float | None
    low: float | None
    high: float | None
    queries: int
    rows: int


class RankingFigures(Figures):
    """The figures of a ranking.

    Attributes:
        ndcg_at_10: of queries that have a product with a gain.
        mrr: of queries that have an exact product.
        auc_exact: exact products over all others, pooled: pairs may be of two queries.
        auc_substitute: substitutes over complements, pooled.
        auc_exact_within, auc_substitute_within: the same over pairs of products of one query.
    """

    ndcg_at_10: RankingFigure
    mrr: RankingFigure
    auc_exact: RankingFigure
    auc_substitute: RankingFigure
    auc_exact_within: RankingFigure
    auc_substitute_within: RankingFigure


class Ranking(RankingFigures):
    """How one encoder ranks judged products.

    Attributes:
        queries, rows: judged.
        labels: label -> rows.
        seed, resamples: of the intervals.
    """

    queries: int
    rows: int
    labels: dict[str, int]
    seed: int
    resamples: int


class RankingComparison(Figures):
    """How two encoders rank the same judged products.

    Attributes:
        a, b: of either.
        difference: b - a; its intervals are paired, a resample serves both.
    """

    a: Ranking
    b: Ranking
    difference: RankingFigures


def evaluate_ranking(
    similarity_R: NDArray[np.floating],
    query_R: NDArray[np.integer],
    label_R: NDArray[np.integer],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Ranking:
    """The figures of one encoder.

    Args:
        similarity_R: cosine of each row's query and product.
        query_R: which query; rows may be in any order.
        label_R: place in LABELS.
        seed: of the resamples.

    Raises:
        ValueError: lengths differ, a cosine is not finite, or a label is none.
    """
    rows = _rows([similarity_R], query_R, label_R)
    (values,) = _measured([similarity_R], rows, seed, resamples)
    return _ranking(values, rows, seed, resamples)


def compare_rankings(
    a_R: NDArray[np.floating],
    b_R: NDArray[np.floating],
    query_R: NDArray[np.integer],
    label_R: NDArray[np.integer],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> RankingComparison:
    """The figures of two encoders on the same judgments, and the difference.

    Args:
        a_R, b_R: cosines of either; of `a` the figures and intervals are those that evaluate_ranking gives, and so of `b`.
        query_R, label_R, seed, resamples: as in evaluate_ranking.

    Raises:
        ValueError: as in evaluate_ranking.
    """
    rows = _rows([a_R, b_R], query_R, label_R)
    a, b = _measured([a_R, b_R], rows, seed, resamples)
    difference = RankingFigures(**_figures({name: b[name] - a[name] for name in _NAMES}, rows))
    return RankingComparison(a=_ranking(a, rows, seed, resamples), b=_ranking(b, rows, seed, resamples), difference=difference)


def ranking_columns(ranking: Ranking, name: str = "value") -> dict[str, dict[str, str]]:
    """The figures as columns for the screen: value and interval, and how many queries and judgments are behind them."""
    figures = {label: getattr(ranking, field) for field, label in _NAMES.items()}
    return {
        name: _cells(ranking),
        "queries": {label: f"{figure.queries:,}" for label, figure in figures.items()},
        "judgments": {label: f"{figure.rows:,}" for label, figure in figures.items()},
    }


def comparison_columns(comparison: RankingComparison, names: tuple[str, str] = ("base", "new")) -> dict[str, dict[str, str]]:
    """The figures of two encoders and their difference as columns for the screen."""
    return {names[0]: _cells(comparison.a), names[1]: _cells(comparison.b), "difference": _cells(comparison.difference, sign="+")}


def ranking_headline(comparison: RankingComparison) -> dict[str, dict[str, float | None]]:
    """The value of every figure for base and new encoder, and the difference, without intervals."""
    parts = {"base": comparison.a, "new": comparison.b, "difference": comparison.difference}
    return {name: {part: getattr(figures, name).value for part, figures in parts.items()} for name in _NAMES}


def _rows(scores: Sequence[NDArray[np.floating]], query_R: NDArray[np.integer], label_R: NDArray[np.integer]) -> JudgedRows:
    for score_R in scores:
        if not len(score_R) == len(query_R) == len(label_R):
            raise ValueError(f"{len(score_R)} cosines, {len(query_R)} queries and {len(label_R)} labels: a row has one of each")
        if not np.isfinite(score_R).all():
            raise ValueError("a cosine is not finite")
    if len(label_R) and not 0 <= label_R.min() <= label_R.max() < len(LABELS):
        raise ValueError(f"labels are numbers from 0 to {len(LABELS) - 1}")
    queries, dense_R = np.unique(query_R, return_inverse=True)
    return JudgedRows(dense_R.astype(np.int64), np.asarray(label_R, np.int8), len(queries))


def _measured(scores: Sequence[NDArray[np.floating]], rows: JudgedRows, seed: int, resamples: int) -> list[dict[str, NDArray[np.float64]]]:
    return measures([np.asarray(score_R, np.float64) for score_R in scores], rows, np.random.default_rng([seed, _BOOTSTRAP]), resamples)


def _ranking(values: dict[str, NDArray[np.float64]], rows: JudgedRows, seed: int, resamples: int) -> Ranking:
    counts = np.bincount(rows.label_R, minlength=len(LABELS)).tolist()
    return Ranking(
        **_figures(values, rows), queries=rows.queries, rows=len(rows.label_R), labels=dict(zip(LABELS, counts, strict=True)), seed=seed,
        resamples=resamples,
    )  # fmt: skip


def _figures(values: dict[str, NDArray[np.float64]], rows: JudgedRows) -> dict[str, RankingFigure]:
    parts = rows.parts()
    return {name: _figure(values[name], len(np.unique(rows.query_R[parts[name]])), int(parts[name].sum()), _WHY[name]) for name in _NAMES}


def _figure(value_S: NDArray[np.float64], queries: int, rows: int, why: str) -> RankingFigure:
    """From the measure of the rows as they are and of the resamples, which follow it."""
    undefined: dict[str, str] = {}
    interval = None
    if not rows:
        undefined = dict.fromkeys(("value", "low", "high"), why)
    elif queries < LEAST_GROUPS:
        undefined = dict.fromkeys(("low", "high"), _FEW)
    elif (interval := bootstrap_interval(value_S[1:])) is None:
        undefined = dict.fromkeys(("low", "high"), _RARE)
    low, high = interval or (None, None)
    return RankingFigure(value=float(value_S[0]) if rows else None, low=low, high=high, queries=queries, rows=rows, undefined=undefined)


def _cells(figures: RankingFigures, sign: str = "") -> dict[str, str]:
    return {label: _cell(getattr(figures, field), sign) for field, label in _NAMES.items()}


def _cell(figure: RankingFigure, sign: str) -> str:
    if figure.value is None:
        return "not defined"
    shape = f"{sign}z.3f"  # z: no minus before a zero
    value = f"{figure.value:{shape}}"
    return value if figure.low is None else f"{value} [{figure.low:{shape}}, {figure.high:{shape}}]"
