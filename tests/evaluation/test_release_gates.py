import numpy as np
import pytest

from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.evaluation.release_gates import Gate, release_gates
from shelfcode.evaluation.stability.churn import measure_churn

OLD_NL = np.array([[0, 0]] * 6 + [[1, 1]] * 4)
NEW_NL = np.array([[0, 0]] * 5 + [[0, 1]] + [[1, 1]] * 2 + [[2, 1]] * 2)


@pytest.fixture
def worse(clustered):
    shuffled_NL = clustered.codes_NL.copy()
    shuffled_NL[:200] = np.random.default_rng(0).permutation(shuffled_NL[:200])
    return evaluate(clustered.x_ND, shuffled_NL, clustered.sizes, None)


def gates(release, against, churn=None, **limits):
    churn = churn or measure_churn(OLD_NL, NEW_NL, "a", 0, 0)
    return {gate.name: gate for gate in release_gates(limits, churn, release, against)}


def test_only_limits_that_were_given_are_gates(evaluation):
    assert gates(evaluation, evaluation, max_churn_l1=None, max_churn=None, max_spearman_loss=None) == {}
    assert list(gates(evaluation, evaluation, max_churn_l1=None, max_churn=0.0)) == ["max_churn"]


def test_a_gate_holds_up_to_its_limit(evaluation):
    found = gates(evaluation, evaluation, max_churn_l1=0.2, max_churn=0.29)
    assert (found["max_churn_l1"].value, found["max_churn_l1"].held) == (0.2, True)
    assert (found["max_churn"].value, found["max_churn"].held) == (pytest.approx(0.3), False)
    assert found["max_churn_l1"].sentence() == (
        "max_churn_l1 holds: the share of products with another first codeword is 0.2000, 0 below the limit of 0.2"
    )
    assert found["max_churn"].sentence() == (
        "max_churn does not hold: the share of products with another semantic ID is 0.3000, 0.01 above the limit of 0.29"
    )


def test_a_loss_counts_and_a_gain_does_not(evaluation, worse):
    lost = evaluation.similarity_depth.spearman - worse.similarity_depth.spearman
    assert lost > 0.01
    assert not gates(worse, evaluation, max_spearman_loss=lost - 0.001)["max_spearman_loss"].held
    assert gates(worse, evaluation, max_spearman_loss=lost)["max_spearman_loss"].held
    gained = gates(evaluation, worse, max_spearman_loss=0.0)["max_spearman_loss"]
    assert gained.held
    assert gained.value == -lost


def test_churn_that_cannot_be_had_does_not_hold_and_says_why(evaluation):
    nothing = measure_churn(OLD_NL[:0], NEW_NL[:0], "a", 5, 5)
    found = gates(evaluation, evaluation, nothing, max_churn_l1=1.0, max_churn=1.0, max_spearman_loss=0.0)
    assert [(gate.value, gate.held) for gate in found.values()] == [(None, False), (None, False), (0.0, True)]
    assert found["max_churn"].sentence().endswith("cannot be measured, the two releases have no product in common")


def test_no_semantic_id_of_fewer_levels_is_the_same(clustered, evaluation):
    shallow = evaluate(clustered.x_ND, clustered.codes_NL[:, :2], clustered.sizes[:2], None)
    found = gates(shallow, evaluation, measure_churn(OLD_NL, OLD_NL, "a", 0, 0), max_churn_l1=0.0, max_churn=1.0)
    assert found["max_churn_l1"].held
    assert not found["max_churn"].held
    assert "semantic IDs of 2 levels cannot equal those of 3" in found["max_churn"].sentence()


def test_a_similarity_depth_that_one_lacks_does_not_hold_and_says_why(clustered, evaluation):
    collapsed = evaluate(clustered.x_ND, np.zeros_like(clustered.codes_NL), clustered.sizes, None)
    for pair in ((collapsed, evaluation), (evaluation, collapsed)):
        (gate,) = gates(*pair, max_spearman_loss=1.0).values()
        assert not gate.held
        assert gate.reason == collapsed.similarity_depth.undefined["spearman"]


def test_a_value_hardly_above_its_limit_is_told_apart_from_it():
    assert "0.0500, 1e-06 above the limit of 0.05" in Gate("max_churn", "churn", 0.05, 0.050001).sentence()
