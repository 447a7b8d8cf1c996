import numpy as np
import pytest

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import cooccurrence
from shelfcode.retrieval.cooccurrence import count_cooccurrence, nothing_counted

BASKETS = [[0, 1, 2], [0, 1], [0, 3], [1, 2], [4], [0, 1, 3]]


def all_of(log: SessionLog) -> np.ndarray:
    return np.ones(log.sessions, bool)


@pytest.fixture
def often_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six baskets are enough to count by."""
    monkeypatch.setattr(cooccurrence, "LEAST_SALES", 1)


@pytest.mark.usefixtures("often_sold")
@pytest.mark.parametrize("pairs", [2, 10, 10_000])
def test_neighbours_are_the_best_cosines_whatever_is_counted_at_a_time(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(cooccurrence, "PAIRS_AT_A_TIME", pairs)
    log = log_of_sessions(BASKETS, ordered=False)
    counted = count_cooccurrence(log, all_of(log), 6, neighbours=2)
    # Product 0 is in four baskets: in three of them with 1 (of four), in two with 3 (of two), in one with 2 (of two).
    assert counted.neighbour_NK[0].tolist() == [1, 3]
    np.testing.assert_allclose(counted.cosine_NK[0], [3 / 4, 2 / np.sqrt(8)], rtol=1e-6)
    assert counted.neighbour_NK[4].tolist() == counted.neighbour_NK[5].tolist() == [-1, -1]


@pytest.mark.usefixtures("often_sold")
def test_only_sessions_to_learn_from_count() -> None:
    log = log_of_sessions(BASKETS, ordered=False)
    some = all_of(log)
    some[0] = some[3] = False
    counted = count_cooccurrence(log, some, 6)
    assert 2 not in counted.neighbour_NK
    assert 2 in count_cooccurrence(log, all_of(log), 6).neighbour_NK


@pytest.mark.usefixtures("often_sold")
def test_where_order_means_something_products_of_one_user_go_together() -> None:
    log = log_of_sessions([[0], [1], [2]], users=["a", "a", "b"], times=[1, 2, 3])
    counted = count_cooccurrence(log, all_of(log), 3)
    assert counted.neighbour_NK[0, 0] == 1
    assert (counted.neighbour_NK[2] == -1).all()


def test_a_product_that_was_sold_once_proves_little() -> None:
    log = log_of_sessions([[0, 1]], ordered=False)
    assert count_cooccurrence(log, all_of(log), 2).cosine_NK[0, 0] == pytest.approx(1 / cooccurrence.LEAST_SALES)


@pytest.mark.usefixtures("often_sold")
def test_another_numbering_says_the_same_of_the_same_products() -> None:
    log = log_of_sessions(BASKETS, ordered=False)
    counted = count_cooccurrence(log, all_of(log), 6, neighbours=3)
    place_N = np.array([5, 2, -1, 0, 1, 3])
    moved = counted.of(place_N, 8)
    before = counted.with_cart(np.array([1, 3]), np.array([0]))
    after = moved.with_cart(place_N[[1, 3]], place_N[[0]])
    np.testing.assert_allclose(before, after)
    assert (moved.neighbour_NK[[4, 6, 7]] == -1).all()


def test_nothing_counted_adds_nothing() -> None:
    total, most = nothing_counted(4).with_cart(np.array([1, 2]), np.array([0, 3]))
    assert total.tolist() == most.tolist() == [0, 0]
    total, most = nothing_counted(4).with_cart(np.array([], np.int64), np.array([0]))
    assert len(total) == len(most) == 0
