"""What a retailer may be answered with."""

import numpy as np

from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.retrieval.evaluation.retailer_products import everything_allowed, sold_there_or_new
from shelfcode.retrieval.evaluation.training_counts import count_training

LOG = log_of_sessions([[3, 0], [1, 3]], None, ["x", "y"])


def test_a_retailer_has_what_it_sold_and_what_nobody_ever_sold() -> None:
    allowed = sold_there_or_new(count_training(LOG, 6))
    assert [allowed.at(retailer).tolist() for retailer in (0, 1, -1)] == [[0, 2, 3, 4, 5], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]


def test_products_are_looked_up_row_by_row() -> None:
    allowed = sold_there_or_new(count_training(LOG, 6))
    held = allowed.holds(np.array([0, 1, -1]), np.array([[0, 1, 5], [0, 1, -1], [0, 1, -1]]))
    assert held.tolist() == [[True, False, True], [False, True, False], [True, True, False]]


def test_without_retailers_everything_is_allowed() -> None:
    allowed = sold_there_or_new(count_training(log_of_sessions([[1]]), 3))
    assert allowed.at(-1).tolist() == [0, 1, 2]
    assert everything_allowed(3).at(7).tolist() == [0, 1, 2]
    assert everything_allowed(3).holds(np.array([-1]), np.array([[0, 2]])).all()
