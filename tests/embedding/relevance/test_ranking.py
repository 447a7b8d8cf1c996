"""Figures of a ranking as a reader gets them: values, intervals, reasons, and what a comparison adds."""

import numpy as np
import pytest

from shelfcode.embedding.relevance.ranking import (
    Ranking,
    RankingFigures,
    compare_rankings,
    comparison_columns,
    evaluate_ranking,
    ranking_columns,
    ranking_headline,
)
from shelfcode.reporting.intervals import LEAST_GROUPS

E, S, C, I = range(4)  # noqa: E741
FIGURES = list(RankingFigures.model_fields.keys() - {"undefined"})


def random_rows(queries: int, rows: int, seed: int = 0, noise: float = 1.0):
    """Cosines that fall with the label and differ from query to query."""
    rng = np.random.default_rng(seed)
    query_R = np.repeat(np.arange(queries), rows)
    label_R = rng.choice(4, queries * rows, p=[0.4, 0.3, 0.1, 0.2])
    similarity_R = -0.3 * label_R + noise * rng.standard_normal(len(label_R)) + 0.3 * rng.standard_normal(queries)[query_R]
    return similarity_R, query_R, label_R


def values(figures: RankingFigures) -> dict[str, float]:
    return {name: getattr(figures, name).value for name in FIGURES}


def test_a_case_computed_by_hand():
    # Query 7 ranks S, E, I, E; query 9 ranks E, C.
    ranking = evaluate_ranking(
        np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([7, 7, 7, 7, 9, 9]), np.array([S, E, I, E, E, C]), resamples=10
    )  # fmt: skip
    gain = 1 / np.log2([2, 3, 4, 5])
    ndcg = (0.1 * gain[0] + gain[1] + gain[3]) / (gain[0] + gain[1] + 0.1 * gain[2])
    # Pooled: E at .8, .6, .5 over S .9, I .7, C .4.
    assert values(ranking) == pytest.approx({
        "ndcg_at_10": (ndcg + 1) / 2, "mrr": (1 / 2 + 1) / 2, "auc_exact": (2 + 1 + 1) / 9, "auc_substitute": 1.0,
        "auc_exact_within": (1 + 0 + 1) / 5, "auc_substitute_within": None,
    })  # fmt: skip
    assert (ranking.queries, ranking.rows, ranking.labels) == (2, 6, {"E": 3, "S": 1, "C": 1, "I": 1})
    assert (ranking.auc_substitute.queries, ranking.auc_substitute.rows) == (2, 2)
    assert ranking.auc_substitute_within.undefined["value"] == "no query has both a substitute and a complement"
    assert ranking.mrr.undefined == dict.fromkeys(("low", "high"), f"fewer than {LEAST_GROUPS} queries")


def test_the_same_seed_gives_the_same_and_the_order_of_rows_decides_nothing():
    similarity_R, query_R, label_R = random_rows(30, 12)
    similarity_R = similarity_R.round(1)
    ranking = evaluate_ranking(similarity_R, query_R, label_R, seed=3, resamples=50)
    assert ranking == evaluate_ranking(similarity_R, query_R, label_R, seed=3, resamples=50)
    order = np.random.default_rng(1).permutation(len(label_R))
    shuffled = evaluate_ranking(similarity_R[order], query_R[order], label_R[order], seed=3, resamples=50)
    for name in FIGURES:
        one, other = getattr(ranking, name), getattr(shuffled, name)
        assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))
        assert (other.queries, other.rows) == (one.queries, one.rows)
        assert one.low < one.value < one.high
    assert evaluate_ranking(similarity_R, query_R, label_R, seed=4, resamples=50).mrr.low != ranking.mrr.low


def test_single_precision_is_enough_and_numbers_of_queries_mean_nothing():
    similarity_R, query_R, label_R = random_rows(12, 8)
    one = evaluate_ranking(similarity_R.astype(np.float32), query_R.astype(np.int32), label_R.astype(np.int8), resamples=20)
    other = evaluate_ranking(similarity_R.astype(np.float32), query_R * 1000 + 5, label_R, resamples=20)
    assert one == other


@pytest.mark.parametrize(
    ("labels", "undefined"),
    [
        ([E, E], {"auc_exact", "auc_exact_within", "auc_substitute", "auc_substitute_within"}),
        ([E, I], {"auc_substitute", "auc_substitute_within"}),
        ([S, C], {"mrr", "auc_exact", "auc_exact_within"}),
        ([I, I], set(FIGURES)),
        ([], set(FIGURES)),
    ],
)
def test_what_is_undefined_says_why(labels, undefined):
    queries = 12
    query_R = np.repeat(np.arange(queries), len(labels))
    label_R = np.tile(np.array(labels, dtype=int), queries)
    similarity_R = np.random.default_rng(0).random(len(label_R))
    comparison = compare_rankings(similarity_R, -similarity_R, query_R, label_R, resamples=20)
    for figures in (comparison.a, comparison.b, comparison.difference):
        assert {name for name in FIGURES if getattr(figures, name).value is None} == undefined
        for name in undefined:
            figure = getattr(figures, name)
            assert set(figure.undefined) == {"value", "low", "high"}
            assert (figure.queries, figure.rows) == (0, 0)
    assert Ranking.model_validate_json(comparison.a.model_dump_json()) == comparison.a


def test_queries_without_a_part_are_left_out_and_counted():
    query_R = np.array([0, 0, 1, 1, 2, 2])
    ranking = evaluate_ranking(np.arange(6.0), query_R, np.array([E, I, S, I, I, I]), resamples=0)
    assert (ranking.ndcg_at_10.queries, ranking.ndcg_at_10.rows) == (2, 4)
    assert (ranking.mrr.queries, ranking.mrr.rows, ranking.mrr.value) == (1, 2, 0.5)
    assert (ranking.auc_exact.queries, ranking.auc_exact.rows, ranking.auc_exact.value) == (3, 6, 0.0)
    assert (ranking.auc_exact_within.queries, ranking.auc_exact_within.rows) == (1, 2)


def test_a_figure_that_few_resamples_have_has_no_interval():
    similarity_R, query_R, label_R = random_rows(40, 3)
    label_R[:] = I
    label_R[0::3] = C
    label_R[1] = S
    ranking = evaluate_ranking(similarity_R, query_R, label_R, resamples=200)
    assert ranking.auc_substitute.low is not None  # the one substitute's query is in 63% of the resamples
    alone = evaluate_ranking(similarity_R[:33], query_R[:33], np.where(np.arange(33) < 2, [S, C] + [I] * 31, I), resamples=200)
    assert alone.auc_substitute.undefined["low"] == f"fewer than {LEAST_GROUPS} queries"


def test_a_comparison_has_the_figures_of_either_and_the_difference():
    a_R, query_R, label_R = random_rows(60, 10)
    b_R = a_R - 0.2 * label_R
    comparison = compare_rankings(a_R, b_R, query_R, label_R, seed=2, resamples=300)
    assert comparison.a == evaluate_ranking(a_R, query_R, label_R, seed=2, resamples=300)
    assert comparison.b == evaluate_ranking(b_R, query_R, label_R, seed=2, resamples=300)
    for name in FIGURES:
        difference, a, b = (getattr(part, name) for part in (comparison.difference, comparison.a, comparison.b))
        assert difference.value == pytest.approx(b.value - a.value)
        assert (difference.queries, difference.rows) == (a.queries, a.rows)
    pooled = comparison.difference.auc_exact
    assert 0 < pooled.low < pooled.value < pooled.high
    assert pooled.high - pooled.low < (comparison.a.auc_exact.high - comparison.a.auc_exact.low) / 2, "a resample serves both"


def test_an_encoder_has_nothing_over_itself():
    a_R, query_R, label_R = random_rows(20, 10)
    difference = compare_rankings(a_R, 2 * a_R + 1, query_R, label_R, resamples=50).difference
    assert {(getattr(difference, name).low, getattr(difference, name).high) for name in FIGURES} == {(0.0, 0.0)}


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = evaluate_ranking(*random_rows(4000, 8, seed=99), resamples=0)
    found = [evaluate_ranking(*random_rows(40, 8, seed=seed), seed=seed, resamples=100) for seed in range(100)]
    for name in FIGURES:
        figures = [getattr(ranking, name) for ranking in found]
        covered = np.mean([figure.low <= getattr(truth, name).value <= figure.high for figure in figures])
        assert 0.86 <= covered <= 0.995, name


@pytest.mark.parametrize(
    ("similarity", "labels", "message"),
    [
        ([0.1, 0.2], [0], "2 cosines, 1 queries and 1 labels"),
        ([np.nan], [0], "not finite"),
        ([0.1], [4], "0 to 3"),
        ([0.1], [-1], "0 to 3"),
    ],
)
def test_what_is_no_ranking_is_refused(similarity, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate_ranking(np.array(similarity), np.zeros(len(labels), int), np.array(labels))


def test_columns_have_a_row_a_figure():
    a_R, query_R, label_R = random_rows(20, 100)
    comparison = compare_rankings(a_R, a_R - 0.1 * label_R, query_R, label_R, resamples=50)
    columns = ranking_columns(comparison.a, "all-MiniLM-L6-v2")
    assert list(columns) == ["all-MiniLM-L6-v2", "queries", "judgments"]
    figure = comparison.a.ndcg_at_10
    assert columns["all-MiniLM-L6-v2"]["NDCG@10"] == f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
    assert (columns["queries"]["MRR"], columns["judgments"]["AUC exact over rest"]) == ("20", "2,000")
    columns = comparison_columns(comparison, ("base", "new"))
    assert {name: list(column) for name, column in columns.items()} == {
        name: list(columns["base"]) for name in ("base", "new", "difference")
    }
    assert columns["difference"]["AUC exact over rest"].startswith("+0.")
    assert columns["difference"]["AUC exact over rest"].count("+") == 3


def test_cells_say_what_is_not_there_and_show_no_minus_before_zero():
    few = compare_rankings(np.array([0.1, 0.2]), np.array([0.1, 0.2]), np.array([0, 0]), np.array([E, I]), resamples=10)
    assert ranking_columns(few.a)["value"]["MRR"] == "0.500"
    assert ranking_columns(few.a)["value"]["AUC substitute over complement"] == "not defined"
    tiny = few.difference.model_copy(update={"mrr": few.difference.mrr.model_copy(update={"value": -0.0001})})
    assert comparison_columns(few.model_copy(update={"difference": tiny}))["difference"]["MRR"] == "+0.000"


def test_the_headline_has_the_values_of_both_and_the_difference():
    a_R, query_R, label_R = random_rows(5, 10)
    comparison = compare_rankings(a_R, a_R - label_R, query_R, label_R, resamples=5)
    headline = ranking_headline(comparison)
    assert set(headline) == set(FIGURES)
    assert headline["mrr"] == {
        "base": comparison.a.mrr.value, "new": comparison.b.mrr.value, "difference": comparison.difference.mrr.value
    }  # fmt: skip
