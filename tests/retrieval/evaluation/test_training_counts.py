"""Counts of what was sold."""

from shelfcode.interactions.session_log import log_of_sessions
from shelfcode.retrieval.evaluation.training_counts import count_training


def test_events_are_counted_by_retailer_and_user_and_sessions_once() -> None:
    log = log_of_sessions([[0, 1, 1], [1, 3], [1]], ["a", "b", "a"], ["x", None, "y"])
    sales = count_training(log, 5)
    assert sales.sold_N.tolist() == [1, 4, 0, 1, 0]
    assert sales.session_SN.toarray().sum(axis=0).tolist() == [1, 3, 0, 1, 0]
    assert sales.retailer_MN.toarray().tolist() == [[1, 2, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert sales.user_UN.toarray().tolist() == [[1, 3, 0, 0, 0], [0, 1, 0, 1, 0]]
    assert sales.products == 5
