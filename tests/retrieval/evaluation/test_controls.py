"""Retrievers that learn nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.evaluation import controls
from shelfcode.retrieval.evaluation.controls import item_cosine, item_cosine_and_own, own_frequency, popularity, text_neighbours
from shelfcode.retrieval.evaluation.retailer_products import everything_allowed, sold_there_or_new
from shelfcode.retrieval.evaluation.training_counts import TrainingCounts, count_training
from shelfcode.retrieval.lists import Lists

MakeContexts = Callable[..., Contexts]

SESSIONS = [[0, 1, 2], [0, 1], [0, 3], [3, 4], [3, 4], [5]]
RETAILERS = ["x", "x", "x", "y", "y", "y"]
SALES = count_training(log_of_sessions(SESSIONS, None, RETAILERS, ordered=False), 7)
"""x sold 0 three times, 1 twice, 2 and 3 once; y sold 3 and 4 twice, 5 once; nobody sold 6."""

ALLOWED = sold_there_or_new(SALES)


def test_a_retailers_best_sellers_come_first_without_the_cart_and_then_what_is_new(contexts_of: MakeContexts) -> None:
    lists = popularity(contexts_of([[1], [6], [], [0]], [0, 0, 1, -1]), SALES, ALLOWED, 6)
    assert lists.products_RK.tolist() == [[0, 3, 2, 6, -1, -1], [0, 1, 3, 2, -1, -1], [3, 4, 5, 6, -1, -1], [3, 1, 4, 2, 5, 6]]
    assert np.isneginf(lists.scores_RK[0, 4:]).all()


def test_own_products_come_first_and_the_most_frequent_of_them(contexts_of: MakeContexts) -> None:
    contexts = contexts_of([[0], []], [0, 1], [[2, 2, 3, 5, 0], []])
    assert own_frequency(contexts, SALES, ALLOWED, 3).products_RK.tolist() == [[2, 3, 1], [3, 4, 5]]
    own = SALES.user_UN[[0, 3]]
    assert own_frequency(contexts, SALES, ALLOWED, 2, own).products_RK.tolist() == [[1, 2], [3, 4]]


def test_a_cosine_is_summed_over_the_cart(contexts_of: MakeContexts) -> None:
    lists = item_cosine(contexts_of([[0], [1, 3]]), SALES, everything_allowed(7), 3)
    # With 0, sold in 3 sessions: 1 in two, 2 and 3 in one each; all are sold less often than LEAST_SALES = 5.
    assert lists.products_RK[0].tolist() == [1, 3, 2]
    assert lists.scores_RK[0] == pytest.approx([2 / np.sqrt(15), 1 / np.sqrt(15), 1 / np.sqrt(15)])
    # 0 comes twice with 1, sold twice, and once with 3, sold three times; 4 twice with 3; 2 once with 1.
    assert lists.products_RK[1].tolist() == [0, 4, 2]
    assert lists.scores_RK[1] == pytest.approx([2 / np.sqrt(10) + 1 / np.sqrt(15), 2 / np.sqrt(15), 1 / np.sqrt(10)])


def test_what_sells_often_is_divided_by_its_own_sales(contexts_of: MakeContexts) -> None:
    sales = count_training(log_of_sessions([*[[0, 1]] * 8, [0, 2], [0, 2]], ordered=False), 3)
    lists = item_cosine(contexts_of([[0]]), sales, everything_allowed(3), 2)
    assert lists.scores_RK[0] == pytest.approx([8 / np.sqrt(10 * 8), 2 / np.sqrt(10 * 5)])


def test_own_products_weigh_more_in_the_product_of_both(contexts_of: MakeContexts) -> None:
    contexts = contexts_of([[0]], [0], [[2, 5]])
    lists = item_cosine_and_own(contexts, SALES, ALLOWED, 3)
    assert lists.products_RK.tolist() == [[2, 1, 3]]
    assert lists.scores_RK[0] == pytest.approx([6 / np.sqrt(15), 2 / np.sqrt(15), 1 / np.sqrt(15)])


def test_a_long_session_says_nothing_of_what_belongs_together(contexts_of: MakeContexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "LARGEST_SESSION", 2)
    assert item_cosine(contexts_of([[2]]), SALES, everything_allowed(7), 3).scores_RK.tolist() == [[0, 0, 0]]


def test_text_neighbours_are_near_one_product_of_the_cart_or_near_its_mean(contexts_of: MakeContexts) -> None:
    degrees = np.radians([0, 90, 10, 45, 80, 45, 200])
    x = np.column_stack([np.cos(degrees), np.sin(degrees)]).astype(np.float32)
    contexts = contexts_of([[0, 1], []])
    nearest = text_neighbours(contexts, x, SALES, everything_allowed(7), 3)
    assert nearest.products_RK[0].tolist() in ([2, 4, 3], [4, 2, 3])
    assert nearest.scores_RK[0] == pytest.approx(np.cos(np.radians([10, 10, 45])), abs=1e-6)
    mean = text_neighbours(contexts, x, SALES, everything_allowed(7), 3, of="mean")
    assert mean.products_RK[0].tolist()[0] in (3, 5)
    assert mean.scores_RK[0] == pytest.approx(np.cos(np.radians([0, 0, 35])), abs=1e-6)
    assert mean.products_RK[1].tolist() == nearest.products_RK[1].tolist() == [0, 3, 1]  # an empty cart: what sells best


def test_of_products_with_one_text_the_better_seller_comes_first(contexts_of: MakeContexts) -> None:
    x = np.tile(np.array([1, 0], np.float32), (7, 1))
    assert text_neighbours(contexts_of([[0]]), x, SALES, everything_allowed(7), 4).products_RK.tolist() == [[3, 1, 4, 2]]


def test_batches_do_not_show(contexts_of: MakeContexts, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    products = [random.choice(40, 5, replace=False).tolist() for _ in range(200)]
    sales: TrainingCounts = count_training(log_of_sessions(products, None, [str(place % 3) for place in range(200)], ordered=False), 50)
    carts = [random.choice(50, 3, replace=False).tolist() for _ in range(30)]
    contexts = contexts_of(carts, [place % 4 - 1 for place in range(30)], carts[::-1])
    x = random.standard_normal((50, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)

    def answers() -> list[Lists]:
        counted = [
            control(contexts, sales, sold_there_or_new(sales), 9)
            for control in (popularity, own_frequency, item_cosine, item_cosine_and_own)
        ]
        return [*counted, *(text_neighbours(contexts, x, sales, sold_there_or_new(sales), 9, of) for of in ("nearest", "mean"))]

    whole = answers()
    for name, value in (("SCORES_AT_ONCE", 70), ("REQUESTS_AT_ONCE", 7), ("VECTORS_AT_ONCE", 11)):
        monkeypatch.setattr(controls, name, value)
    for one, other in zip(whole, answers(), strict=True):
        assert one.products_RK.tolist() == other.products_RK.tolist()
        assert one.scores_RK == pytest.approx(other.scores_RK, abs=1e-6)
