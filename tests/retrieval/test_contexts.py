"""What is known of a request, and what a history comes to."""

import numpy as np
from small_contexts import contexts_of

from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.retrieval.contexts import HISTORY_EVENTS, OwnProducts, before_session, own_products


def triples(own: OwnProducts) -> list[tuple[int, int, int]]:
    """Product, count and age of each."""
    return list(zip(own.product_O.tolist(), own.count_O.tolist(), own.age_O.tolist(), strict=True))


def test_a_history_is_summed_up_by_how_often_and_how_long_ago() -> None:
    own = own_products(np.array([5, 3, 5, 7, 3, 5], np.int32))
    assert triples(own) == [(7, 1, 2), (3, 2, 1), (5, 3, 0)]
    assert triples(own_products(np.empty(0, np.int32))) == []


def test_the_most_frequent_products_are_kept_and_of_equal_ones_the_latest_in_their_order() -> None:
    own = own_products(np.array([4, 1, 4, 2, 3], np.int32))
    assert triples(own.top(2)) == [(4, 2, 2), (3, 1, 0)]
    assert triples(own.top(0)) == []
    assert triples(own.top(9)) == triples(own)


def test_before_a_session_its_user_had_what_stands_in_his_earlier_ones() -> None:
    log = log_of_sessions([[1], [2, 3], [4], [5], [6], [7]], ["a", "a", "b", "b", None, None])
    assert [before_session(log, session).tolist() for session in range(6)] == [[], [1], [], [4], [], []]


def test_only_the_latest_of_a_long_history_is_looked_at() -> None:
    log = log_of_sessions([list(range(150)), list(range(150, 300)), list(range(300, 340)), [999]], ["a"] * 4)
    assert before_session(log, 3).tolist() == list(range(340 - HISTORY_EVENTS, 340))
    assert contexts_of([[]], [list(range(HISTORY_EVENTS + 30))]).history(0).tolist() == list(range(30, HISTORY_EVENTS + 30))


def test_a_range_of_requests_says_what_the_whole_said_of_them() -> None:
    contexts = contexts_of([[1], [], [2, 3], [4]], [[9], [8, 7], [], [6]], [0, 1, -1, 2], [3, 4, 5, 6], [10, 20, 30, 40])
    part = contexts.rows(1, 3)
    assert len(part) == 2
    for row in range(2):
        assert part.history(row).tolist() == contexts.history(row + 1).tolist()
        assert part.cart(row).tolist() == contexts.cart(row + 1).tolist()
    assert (part.retailer_R.tolist(), part.surface_R.tolist(), part.at_R.tolist()) == ([1, -1], [4, 5], [20, 30])
    assert part.history_first_R.tolist() == [0, 2, 2]
    assert part.history_H.tolist() == [8, 7]
