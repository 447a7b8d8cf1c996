"""The page about retrievers."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.taxonomy import build_taxonomy
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.evaluate import Answers, Cost, DecodeTime, RetrievalEvaluation, evaluate_retrievers
from shelfcode.retrieval.evaluation.parameters import parameter_ratio
from shelfcode.retrieval.evaluation.product_facts import product_facts
from shelfcode.retrieval.evaluation.report import case_examples, report_html
from shelfcode.retrieval.evaluation.retailer_products import everything_allowed
from shelfcode.retrieval.lists import Lists

HOSTILE = "<script>alert(1)</script>"
SHOWN = "&lt;script&gt;alert(1)&lt;/script&gt;"
COST = Cost(
    parameters=4_200_000, embedding_parameters=131_072, training_seconds=1_500, device="two cores",
    decode=(DecodeTime(beams=50, batch=1, p50_ms=29.04, p99_ms=44.5),),
)  # fmt: skip


@pytest.fixture
def cases(cases_of: Callable[..., Cases]) -> Cases:
    return cases_of([[0]] * 12, [[1, 3]] * 6 + [[2]] * 6)


@pytest.fixture
def answers(lists_of: Callable[..., Lists]) -> list[Answers]:
    good = (lists_of([[1, 3]] * 6 + [[2, 1]] * 6), lists_of([[1, 2]] * 6 + [[2, 1]] * 6))
    return [Answers("generator", "generator", good, COST), Answers(HOSTILE, "control", (lists_of([[1]] * 12),))]


@pytest.fixture
def evaluation(cases: Cases, answers: list[Answers]) -> RetrievalEvaluation:
    facts = product_facts(
        np.array([5, 4, 3, 0]), pa.chunked_array([["a", "b", "c", "d"]]), build_taxonomy(np.array([0, 0, 1, 1]), [("A",), ("B",)])
    )
    return evaluate_retrievers(
        cases, answers, facts, everything_allowed(4), HOSTILE, "Half of each basket.", [("generator", HOSTILE)],
        parameters=parameter_ratio(4, [128] * 4, 128, 128), resamples=50,
    )  # fmt: skip


def test_the_page_has_all_that_was_measured(evaluation: RetrievalEvaluation) -> None:
    page = report_html(evaluation, "Retrievers", {"release": "precision@v0001"})
    found = evaluation.retriever("generator").figures["recall@10"]
    assert found.spread is not None
    assert f"{found.value:.4f} ± {found.spread:.4f}<span" in page
    assert "(2 seeds)" in page
    assert "25.0 min" in page
    assert "29.0 ms" in page
    assert "holds from 128,000 products on" in page
    assert "never sold: products that training never saw" in page
    assert "new brand: products of a brand that training never saw</li>" in page
    assert "without a leaf: products without a category path (no target is one)" in page
    assert '<td class="number bold">+0.6250<span' in page
    assert "precision@v0001" in page
    assert all(f'id="plot-{name}"' in page for name in ("slices", "cut_offs", "drift", "parameters"))


def test_names_and_titles_are_shown_as_text(evaluation: RetrievalEvaluation, cases: Cases, answers: list[Answers]) -> None:
    examples = case_examples(cases, answers, lambda product: f"{HOSTILE} {product}", number=1)
    page = report_html(evaluation, HOSTILE, {HOSTILE: HOSTILE}, examples)
    assert HOSTILE not in page
    assert f"{SHOWN} 0</summary>" in page
    assert f'<li class="hit">{SHOWN}' in page


def test_controls_alone_make_a_page(evaluation: RetrievalEvaluation) -> None:
    alone = evaluation.model_copy(update={"retrievers": evaluation.retrievers[1:], "differences": (), "parameters": None})
    page = report_html(alone, "Controls")
    assert "What it costs" not in page
    assert "What one has over another" not in page
    assert "Best control" in page
    assert "Best retriever" not in page


def test_examples_are_drawn_cases_with_what_was_taken(cases: Cases, answers: list[Answers]) -> None:
    (example,) = case_examples(cases, answers, "abcd".__getitem__, number=1, seed=3)
    again = case_examples(cases, answers, "abcd".__getitem__, number=1, seed=3)
    assert again == [example]
    assert example.cart == ("a",)
    name, results = example.lists[0]
    assert name == "generator"
    assert [title for title, taken in results if taken] == list(example.targets)
