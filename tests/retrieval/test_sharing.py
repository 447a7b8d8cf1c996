"""Products that share an ID, told apart."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here C candidates, F features.

import numpy as np
import pytest
from numpy.typing import NDArray

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import sharing
from shelfcode.retrieval.contexts import own_products
from shelfcode.retrieval.sharing import BY_SALES, FEATURES, count_sales, features, fit_sharing, latest_sessions

DAY = 86_400
NOBODY = own_products(np.empty(0, np.int32))


def history(*products: int) -> sharing.OwnProducts:
    return own_products(np.array(products, np.int32))


def every(log: SessionLog) -> NDArray[np.bool_]:
    return np.ones(log.sessions, bool)


@pytest.fixture
def log() -> SessionLog:
    """South sold product 0 twice, long ago and now; north sold 1 and 2; at an unknown retailer and time, 2 again."""
    times = [0, 100 * DAY, 100 * DAY - 1, None]
    return log_of_sessions([[0, 3], [0], [1, 2], [2]], list("abcd"), ["south", "south", "north", None], times)


def test_sales_are_counted_in_all_of_late_and_by_retailer(log: SessionLog) -> None:
    sales = count_sales(log, 5, every(log))
    assert sales.all_N.tolist() == [2, 1, 2, 1, 0]
    assert sales.late_N.tolist() == [1, 1, 1, 0, 0]
    assert sales.at_retailer.toarray().tolist() == [[0, 1, 1, 0, 0], [2, 0, 0, 1, 0]]
    assert sales.of_retailer(1, np.array([3, 4, 0, 1])).tolist() == [1, 0, 2, 0]


def test_only_some_sessions_count_and_late_is_counted_back_from_the_last_of_them(log: SessionLog) -> None:
    sales = count_sales(log, 5, np.array([True, False, False, True]))
    assert sales.all_N.tolist() == [1, 0, 1, 1, 0]
    assert sales.late_N.tolist() == [1, 0, 0, 1, 0]
    assert sales.of_retailer(0, np.arange(5)).tolist() == [0] * 5


def test_what_is_known_of_a_candidate(log: SessionLog) -> None:
    sales = count_sales(log, 5, every(log))
    known = features(np.array([0, 4]), sales, 1, history(0, 9, 0, 3))
    expected = [[np.log(3), 0, np.log(2), np.log(3), 0, np.log(3), 1, np.log(2)], [0, 1, 0, 0, 1, 0, 0, 0]]
    np.testing.assert_allclose(known, expected, rtol=1e-6)
    assert known.shape == (2, len(FEATURES))
    nowhere = features(np.array([0, 4]), sales, -1, NOBODY)
    np.testing.assert_allclose(nowhere, [[np.log(3), 0, np.log(2), 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]], rtol=1e-6)


def pairs_of_products(faithful: bool) -> SessionLog:
    """Two of ten products share an ID, and the even one sells four times as often. A user who is faithful always takes the same of two."""
    random = np.random.default_rng(0)
    products, users = [], []
    for user in range(80):
        odd_I = random.random(5) < 0.2
        for _ in range(4):
            if not faithful:
                odd_I = random.random(5) < 0.2
            products.append((2 * np.arange(5) + odd_I).tolist())
            users.append(str(user))
    return log_of_sessions(products, users, times=[DAY * (number % 4) for number in range(320)], ordered=False)


def chosen(model: sharing.SharingModel, own: sharing.OwnProducts) -> float:
    """How probable it is that of products 2 and 3 the first is meant."""
    logit_C = model.scores(np.array([2, 3]), -1, own)
    return float(1 / (1 + np.exp(logit_C[1] - logit_C[0])))


def test_what_the_user_had_is_meant_and_else_what_sells() -> None:
    log = pairs_of_products(faithful=True)
    model = fit_sharing(log, every(log), np.arange(10) // 2, seed=0)
    assert chosen(model, history(2, 2)) > 0.95
    assert chosen(model, history(3, 3)) < 0.05


def test_choices_are_as_likely_as_they_were_and_a_history_that_says_nothing_is_not_listened_to() -> None:
    log = pairs_of_products(faithful=False)
    model = fit_sharing(log, every(log), np.arange(10) // 2, seed=0)
    odd = model.sales.all_N[1::2].sum() / model.sales.all_N.sum()
    assert chosen(model, NOBODY) > 0.6
    assert chosen(model, history(2, 3)) == pytest.approx(1 - odd, abs=0.12)
    assert abs(chosen(model, history(2)) - chosen(model, history(3))) < 0.3


def test_sales_are_those_of_all_that_is_learnt_from_and_of_nothing_else() -> None:
    log = pairs_of_products(faithful=True)
    train_S = np.asarray(log.at_S) < 3 * DAY
    model = fit_sharing(log, train_S, np.arange(10) // 2, seed=0)
    assert model.sales.all_N.sum() == train_S.sum() * 5


def test_of_many_products_with_one_id_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SIBLINGS_MAX", 3)
    monkeypatch.setattr(sharing, "CHOICES_MAX", 200)
    log = pairs_of_products(faithful=True)
    model = fit_sharing(log, every(log), np.zeros(10, np.int64), seed=0)
    own = model.scores(np.arange(10), -1, history(3, 5))
    assert set(np.argsort(-own)[:2].tolist()) == {3, 5}


def test_without_a_choice_that_could_be_learnt_from_sales_decide() -> None:
    log = pairs_of_products(faithful=True)
    assert fit_sharing(log, every(log), np.arange(10), seed=0).weight_F.tolist() == BY_SALES.tolist()


def test_the_latest_sessions_are_those_of_the_last_tenth_of_the_time() -> None:
    log = log_of_sessions([[1]] * 6, list("abcdef"), times=[0, 50, 89, 91, 100, 400])
    train_S = np.array([True, True, True, True, True, False])
    assert latest_sessions(log, train_S).tolist() == [False, False, False, True, True, False]


def test_without_times_every_tenth_session_is_taken_for_late() -> None:
    log = log_of_sessions([[1]] * 30, [str(user) for user in range(30)])
    train_S = np.arange(30) != 0
    assert np.flatnonzero(latest_sessions(log, train_S)).tolist() == [10, 20]
    at_once = log_of_sessions([[1]] * 20, [str(user) for user in range(20)], times=[7] * 20)
    assert np.flatnonzero(latest_sessions(at_once, every(at_once))).tolist() == [9, 19]
