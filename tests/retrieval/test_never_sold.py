"""Which products that nobody bought yet are bought first, and how they come into lists."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from small_contexts import contexts_of

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import never_sold
from shelfcode.retrieval.decoder.trie import build_trie
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.never_sold import (
    LEAST_CHOICES,
    Neighbourhoods,
    NeverSoldModel,
    add_never_sold,
    feature_count,
    first_sale_features,
    fit_never_sold,
    log_share,
    neighbourhoods,
)
from shelfcode.retrieval.product_vectors import ProductVectors
from shelfcode.retrieval.ranking import Ranker
from shelfcode.retrieval.sharing import Sales, count_sales

SIZES = (3, 4, 5)
CODES_NL = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [1, 0, 0], [1, 0, 1], [1, 2, 0], [0, 0, 1]], np.uint16)
SOLD_N = np.array([5, 2, 0, 0, 3, 0, 0, 0], np.float32)
LATE_N = np.array([1, 2, 0, 0, 0, 0, 0, 0], np.float32)
MAY_N = np.ones(8, bool)


def around_of(at_retailer: NDArray[np.float32] | None = None) -> Neighbourhoods:
    sales = Sales(SOLD_N, LATE_N, sparse.csr_array((SOLD_N if at_retailer is None else at_retailer)[None]))
    vectors = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    return neighbourhoods(build_trie(CODES_NL, SIZES), sales, ProductVectors((vectors,)))


def products(*numbers: int) -> NDArray[np.int32]:
    return np.array(numbers, np.int32)


@pytest.mark.parametrize(
    ("cart", "history", "near"), [([0], [], {2, 7}), ([3], [], {3}), ([], [4], {5}), ([1], [4, 6], {2, 5, 6, 7}), ([], [], set())]
)
def test_those_are_near_that_share_two_codewords_with_the_cart_or_the_history(cart: list[int], history: list[int], near: set[int]) -> None:
    assert set(around_of().near(products(*cart), products(*history)).tolist()) == near


def test_features_count_what_is_below_each_prefix() -> None:
    around = around_of(np.array([4, 0, 0, 0, 0, 0, 0, 0], np.float32))
    x_CF = first_sale_features(products(2, 5), products(0, 1), products(4, 4, 4), 0, around)
    assert x_CF.shape == (2, feature_count(len(SIZES)))
    of_a_level = np.expm1(x_CF[:, :24].reshape(2, 3, 8))
    late, waiting, fresh, _, sold, here, cart, history = of_a_level.transpose(2, 0, 1)
    np.testing.assert_allclose(late, [[3, 3, 0], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(waiting, [[3, 2, 1], [2, 1, 1]], atol=1e-5)
    np.testing.assert_allclose(fresh, [[1, 1, 0], [0, 0, 0]], atol=1e-5)  # product 1 had all of its sales of late
    np.testing.assert_allclose(sold, [[2, 2, 0], [1, 1, 0]], atol=1e-5)
    np.testing.assert_allclose(here, [[4, 4, 0], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(cart, [[2, 2, 0], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(history, [[0, 0, 0], [3, 3, 0]], atol=1e-5)
    likeness = around.vectors.of(products(2, 5)) @ around.vectors.of(products(0, 1)).T
    np.testing.assert_allclose(x_CF[:, 24:26], np.stack([likeness.max(1), likeness.mean(1)], axis=1), atol=1e-6)
    np.testing.assert_allclose(np.expm1(x_CF[:, 28:]), [[2, 3], [2, 3]], rtol=1e-5)
    unknown = first_sale_features(products(2), products(0), products(), -1, around)
    assert np.isfinite(unknown).all()


def a_model(share: float) -> NeverSoldModel:
    """Whose network finds all candidates alike."""
    network = Ranker(feature_count(len(SIZES)))
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return NeverSoldModel(network.eval(), float(np.log(share)))


def test_each_has_its_share_of_what_the_list_adds_up_to() -> None:
    lists = Lists(np.array([[1, 4, -1, -1]], np.int32), np.array([[np.log(0.6), np.log(0.4), -np.inf, -np.inf]], np.float32))
    added = add_never_sold(lists, contexts_of([[0]], [[4]]), iter([MAY_N]), a_model(0.3), around_of(), number_R=np.array([4]))
    assert set(added.products_RK[0, :2].tolist()) == {1, 4}
    assert set(added.products_RK[0, 2:].tolist()) < {2, 5, 7}
    np.testing.assert_allclose(np.exp(added.scores_RK[0, 2:]), [0.1, 0.1], rtol=1e-5)
    assert (np.diff(added.scores_RK[0]) <= 0).all()


def test_only_what_the_retailer_has_is_added_once_and_none_that_is_in_the_cart() -> None:
    lists = Lists(np.array([[7, 1, -1, -1]], np.int32), np.array([[0.0, -1, -np.inf, -np.inf]], np.float32))
    may_N = MAY_N.copy()
    may_N[[2, 5]] = False  # one is in the cart, the other is not at the retailer
    added = add_never_sold(lists, contexts_of([[0, 2]], [[4]]), iter([may_N]), a_model(0.3), around_of(), number_R=np.array([4]))
    assert sorted(added.products_RK[0].tolist()) == [-1, -1, 1, 7]
    alone = add_never_sold(lists, contexts_of([[]], [[]]), iter([MAY_N]), a_model(0.3), around_of(), number_R=np.array([4]))
    assert alone.products_RK.tolist() == lists.products_RK.tolist()


def test_the_share_of_targets_is_counted() -> None:
    lists = Lists(np.array([[1, 4], [4, 1]], np.int32), np.zeros((2, 2), np.float32))
    contexts = contexts_of([[0], [4]])
    cases = Cases(contexts, np.array([0, 2, 5]), products(1, 2, 5, 3, 0), np.array([0, 1], np.int32))
    # Found: product 1. Never sold and near: products 2 and 5; product 3 is near nothing of its request.
    assert log_share(lists, cases, around_of()) == pytest.approx(np.log(2.5 / 2))


MANY, MANY_SIZES = 24_000, (4, 3, 8)


def a_log_of_first_sales(sessions: int) -> tuple[SessionLog, NDArray[np.uint16]]:
    """Three common products and a new one a session, which share two codewords; of the new ones the third is always 0."""
    random, number_N = np.random.default_rng(0), np.arange(MANY)
    codes_NL = np.stack([number_N % 4, number_N // 4 % 3, random.integers(0, 8, MANY)], axis=1).astype(np.uint16)
    rows = []
    for fresh in random.permutation(np.flatnonzero(codes_NL[:, 2] == 0)[60:])[:sessions].tolist():
        rows.append([*(fresh % 12 + 12 * random.choice(5, 3, replace=False)).tolist(), fresh])
    times = [1_700_000_000 + 3600 * session for session in range(sessions)]
    return log_of_sessions(rows, [str(session % 20) for session in range(sessions)], None, times, ordered=False), codes_NL


def test_past_first_sales_teach_which_ones_come_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(never_sold, "STEPS", 60)
    log, codes_NL = a_log_of_first_sales(800)
    trie, vectors, every_S = (
        build_trie(codes_NL, MANY_SIZES),
        ProductVectors((np.zeros((MANY, 2), np.float32),)),
        np.ones(log.sessions, bool),
    )
    network = fit_never_sold(log, every_S, trie, vectors, seed=0)
    assert network is not None
    around = neighbourhoods(trie, count_sales(log, MANY, every_S), vectors)
    lists = Lists(np.full((12, 30), -1, np.int32), np.full((12, 30), -np.inf, np.float32))
    lists.products_RK[:, 0], lists.scores_RK[:, 0] = np.arange(12), 0
    contexts = contexts_of([[12 + number, 24 + number] for number in range(12)])
    model, holds = NeverSoldModel(network, log_share=0.0), iter([np.ones(MANY, bool)] * 12)
    added = add_never_sold(lists, contexts, holds, model, around, number_R=np.full(len(contexts), 20)).products_RK[:, 1:21]
    assert (around.sales.all_N[added] == 0).all()
    assert (added % 12 == np.arange(12)[:, None]).all()  # as near as the first two codewords say
    assert (codes_NL[added, 2] == 0).mean() > 0.9


def test_few_first_sales_teach_nothing() -> None:
    log, codes_NL = a_log_of_first_sales(LEAST_CHOICES)
    trie, vectors = build_trie(codes_NL, MANY_SIZES), ProductVectors((np.zeros((MANY, 2), np.float32),))
    assert fit_never_sold(log, np.ones(log.sessions, bool), trie, vectors, seed=0) is None
