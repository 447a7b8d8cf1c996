"""Retrievers held against the same cases."""

from collections.abc import Callable

import numpy as np
import pytest

from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.evaluate import Answers, RetrievalEvaluation, evaluate_retrievers
from shelfcode.retrieval.evaluation.product_facts import product_facts
from shelfcode.retrieval.evaluation.retailer_products import everything_allowed
from shelfcode.retrieval.lists import Lists

FACTS = product_facts(np.array([5, 4, 3, 0]))


@pytest.fixture
def cases(cases_of: Callable[..., Cases]) -> Cases:
    return cases_of([[0]] * 12, [[1, 3]] * 6 + [[2]] * 6)


@pytest.fixture
def answers(lists_of: Callable[..., Lists]) -> tuple[Answers, Answers]:
    good = (lists_of([[1, 3]] * 6 + [[2, 1]] * 6), lists_of([[1, 2]] * 6 + [[2, 1]] * 6))
    return Answers("good", "generator", good), Answers("control", "control", (lists_of([[1, 1]] * 12),))


def evaluate(cases: Cases, answers: tuple[Answers, ...], compared: list[tuple[str, str]]) -> RetrievalEvaluation:
    return evaluate_retrievers(cases, answers, FACTS, everything_allowed(4), "data", "protocol", compared, resamples=50)


def test_all_are_measured_and_compared(cases: Cases, answers: tuple[Answers, Answers]) -> None:
    evaluation = evaluate(cases, answers, [("good", "control")])
    good, control = evaluation.retriever("good"), evaluation.retriever("control")
    assert (evaluation.cases, evaluation.targets, evaluation.products, evaluation.slices["cold"]) == (12, 18, 4, 6)
    assert good.figures["recall@10"].value == pytest.approx((1 + 0.75) / 2)
    assert good.figures["recall@10"].spread == pytest.approx(0.25 / np.sqrt(2))
    assert good.figures["recall@10/cold"].value == 0.5
    assert control.figures["recall@10"].value == 0.25
    assert evaluation.differences[0].figures["recall@10"].value == pytest.approx((1 + 0.75) / 2 - 0.25)
    assert (good.versions, good.faults.total, good.shown.products) == (2, 0, 3)
    assert control.faults.doubled == 12


def test_it_survives_json_without_nan(cases: Cases, answers: tuple[Answers, Answers]) -> None:
    evaluation = evaluate(cases, answers, [("control", "good")])
    text = evaluation.model_dump_json()
    assert "NaN" not in text
    assert RetrievalEvaluation.model_validate_json(text) == evaluation
    assert evaluation.retriever("good").figures["recall@20/cold_brand"].value is None
    assert evaluation.retriever("good").figures["no_leaf_of_cart"].undefined


def test_two_of_one_name_are_refused(cases: Cases, answers: tuple[Answers, Answers]) -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        evaluate(cases, (answers[0], answers[0]), [])
    with pytest.raises(KeyError):
        evaluate(cases, answers, [("good", "gone")])
