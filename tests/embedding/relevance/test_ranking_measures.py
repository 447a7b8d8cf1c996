"""Measures against scikit-learn and against counts over all orders of what is tied, as a whole and for resamples."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from shelfcode.embedding.relevance.ranking_measures import GAINS, JudgedRows, measures

E, S, C, I = range(4)  # noqa: E741


def rows_of(query, label) -> JudgedRows:
    query_R = np.asarray(query, np.int64)
    return JudgedRows(query_R, np.asarray(label, np.int8), int(query_R.max()) + 1)


def measure(score, query, label) -> dict[str, float]:
    """The rows as they are."""
    (found,) = measures([np.asarray(score, float)], rows_of(query, label), np.random.default_rng(0), 0)
    return {name: value_S[0] for name, value_S in found.items()}


def random_case(seed: int, decimals: int):
    """Queries of 1 to 15 rows in any order; few decimals make ties."""
    rng = np.random.default_rng(seed)
    query = rng.permutation(np.repeat(np.arange(25), rng.integers(1, 16, 25)))
    label = rng.choice(4, len(query), p=[0.3, 0.3, 0.2, 0.2])
    return (rng.standard_normal(len(query)) - 0.3 * label).round(decimals), query, label


def expected_over_orders(score, label, value) -> float:
    """Mean of a value of the labels in ranked order, over all orders that the scores allow."""
    ties = [[place for place in range(len(score)) if score[place] == level] for level in sorted(set(score), reverse=True)]
    orders = itertools.product(*(itertools.permutations(tie) for tie in ties))
    return float(np.mean([value([label[place] for tie in order for place in tie]) for order in orders]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_against_scikit_learn_with_and_without_ties(seed, decimals):
    score, query, label = random_case(seed, decimals)
    found = measure(score, query, label)
    gain = np.array(GAINS)[label]
    of_query = [np.flatnonzero(query == number) for number in range(25)]
    ranked = [rows for rows in of_query if (label[rows] != I).any()]
    ndcg = [ndcg_score([gain[rows]], [score[rows]], k=10) if len(rows) > 1 else 1.0 for rows in ranked]
    assert found["ndcg_at_10"] == pytest.approx(np.mean(ndcg))
    assert found["auc_exact"] == pytest.approx(roc_auc_score(label == E, score))
    either = (label == S) | (label == C)
    assert found["auc_substitute"] == pytest.approx(roc_auc_score(label[either] == S, score[either]))
    for name, better, rest in (("auc_exact_within", E, (S, C, I)), ("auc_substitute_within", S, (C,))):
        right = pairs = 0.0
        for rows in of_query:
            mine = rows[np.isin(label[rows], [better, *rest])]
            positive = label[mine] == better
            if positive.any() and not positive.all():
                here = positive.sum() * (~positive).sum()
                right, pairs = right + here * roc_auc_score(positive, score[mine]), pairs + here
        assert found[name] == pytest.approx(right / pairs)


@pytest.mark.parametrize("seed", range(30))
def test_tied_ranks_are_expected_values_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    label = rng.choice(4, 6)
    label[0] = E
    score = rng.integers(0, 3, 6).astype(float)
    found = measure(score, np.zeros(6, int), label)

    def dcg(ranked):
        return sum(GAINS[one] / np.log2(place + 2) for place, one in enumerate(ranked))

    assert found["mrr"] == pytest.approx(expected_over_orders(score, label, lambda ranked: 1 / (ranked.index(E) + 1)))
    assert found["ndcg_at_10"] == pytest.approx(expected_over_orders(score, label, dcg) / dcg(sorted(label)))


def test_when_all_is_tied():
    found = measure(np.ones(12), np.repeat([0, 1], 6), np.tile([E, E, S, C, I, I], 2))
    assert {name: found[name] for name in found if name.startswith("auc")} == dict.fromkeys(
        ("auc_exact", "auc_substitute", "auc_exact_within", "auc_substitute_within"), 0.5
    )
    first = [2 / 6, 4 / 6 * 2 / 5, 4 / 6 * 3 / 5 * 2 / 4, 4 / 6 * 3 / 5 * 2 / 4 * 2 / 3, 4 / 6 * 3 / 5 * 2 / 4 * 1 / 3]
    assert found["mrr"] == pytest.approx(sum(chance / (place + 1) for place, chance in enumerate(first)))


def test_only_the_first_ten_count_in_ndcg():
    score = np.arange(12.0)[::-1]
    assert measure(score, np.zeros(12, int), [I] * 10 + [E, S])["ndcg_at_10"] == 0
    # Of eleven exact ones ten are enough.
    assert measure(score, np.zeros(12, int), [E] * 10 + [I, E])["ndcg_at_10"] == pytest.approx(1)


def test_a_pooled_auc_sees_what_differs_between_queries_and_the_one_within_does_not():
    # Each list is in order, but the second query's cosines are all lower.
    found = measure([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], [E, I, E, I])
    assert (found["auc_exact"], found["auc_exact_within"]) == (0.75, 1.0)


def test_rows_may_stand_in_any_order():
    score, query, label = random_case(5, 1)
    order = np.random.default_rng(0).permutation(len(query))
    assert measure(score[order], query[order], label[order]) == pytest.approx(measure(score, query, label))


def test_resamples_are_measures_of_queries_as_often_as_they_are_drawn():
    score, query, label = random_case(7, 1)
    rows = rows_of(query, label)
    (found,) = measures([score], rows, np.random.default_rng(3), 6)
    weights = np.random.default_rng(3).multinomial(rows.queries, np.full(rows.queries, 1 / rows.queries), size=6)
    for sample, weight_Q in enumerate(weights):
        copies = np.concatenate([np.repeat(np.flatnonzero(query == number), times) for number, times in enumerate(weight_Q)])
        # Copies of a query are queries of their own where figures are by query.
        number_of = np.concatenate([
            np.tile(np.arange(times), (query == number).sum()) * 1000 + number for number, times in enumerate(weight_Q)
        ])  # fmt: skip
        again = measure(score[copies], np.unique(number_of, return_inverse=True)[1], label[copies])
        assert {name: value_S[1 + sample] for name, value_S in found.items()} == pytest.approx(again)
        assert found["auc_exact"][1 + sample] == pytest.approx(roc_auc_score(label == E, score, sample_weight=weight_Q[query]))


def test_one_resample_serves_all_encoders():
    score, query, label = random_case(2, 2)
    one, other, reversed_ = measures([score, np.exp(score), -score], rows_of(query, label), np.random.default_rng(0), 20)
    for name, value_S in one.items():
        assert value_S.std() > 0
        np.testing.assert_allclose(other[name], value_S)
        if name.startswith("auc"):
            np.testing.assert_allclose(reversed_[name], 1 - value_S)


def test_many_samples_come_in_chunks_and_are_the_same():
    score, query, label = random_case(2, 2)
    (whole,) = measures([score], rows_of(query, label), np.random.default_rng(0), 23)
    (chunked,) = measures([score], rows_of(query, label), np.random.default_rng(0), 23, cells_at_once=5 * len(query))
    for name, value_S in whole.items():
        assert value_S.shape == (24,)
        np.testing.assert_allclose(chunked[name], value_S)


def test_a_resample_without_either_kind_is_undefined():
    (found,) = measures([np.array([0.5, 0.4, 0.3])], rows_of([0, 1, 2], [S, C, I]), np.random.default_rng(0), 100)
    undefined = np.isnan(found["auc_substitute"])
    assert not undefined[0]
    assert 0 < undefined.sum() < 100
    assert np.isnan(found["mrr"]).all()
