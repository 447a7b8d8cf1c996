"""Recall and NDCG."""

from collections.abc import Callable

import numpy as np
import pytest

from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.measures import NOT_FOUND, figure_name, found_at, recall_and_ndcg
from shelfcode.retrieval.lists import Lists

MakeCases, MakeLists = Callable[..., Cases], Callable[..., Lists]


def test_a_target_is_found_at_the_first_place_that_has_it(cases_of: MakeCases, lists_of: MakeLists) -> None:
    cases = cases_of([[0], [0], [0]], [[5, 9], [5], [-1]])
    lists = lists_of([[7, 5, 8, 5], [9, 1], []])
    assert found_at(lists, cases).tolist() == [1, NOT_FOUND, NOT_FOUND, NOT_FOUND]


def test_recall_and_ndcg_by_hand(cases_of: MakeCases, lists_of: MakeLists) -> None:
    cases = cases_of([[0], [0]], [[5, 6, 7], [8]])
    lists = lists_of([[5, 1, 7, 6], [2, 3, 8]])
    tail = np.array([False, True, True, False])
    found = recall_and_ndcg(lists, cases, {"tail": tail}, cut_offs=(2, 3))
    discount = 1 / np.log2([2, 3, 4, 5])
    assert found["recall@2"].tolist() == [1 / 2, 0]
    assert found["recall@3"].tolist() == [2 / 3, 1]
    assert found["ndcg@2"] == pytest.approx([discount[0] / discount[:2].sum(), 0])
    assert found["ndcg@3"] == pytest.approx([(discount[0] + discount[2]) / discount[:3].sum(), discount[2]])
    # Targets 6 and 7 of the first case are of the tail; the second case has none, and so no figure.
    assert found["recall@3/tail"] == pytest.approx([1 / 2, np.nan], nan_ok=True)
    assert found["ndcg@3/tail"] == pytest.approx([discount[2] / discount[:2].sum(), np.nan], nan_ok=True)
    assert found[figure_name("recall", 2, "tail")] == pytest.approx([0, np.nan], nan_ok=True)


def test_a_list_that_is_shorter_than_the_cut_off_counts_as_it_is(cases_of: MakeCases, lists_of: MakeLists) -> None:
    found = recall_and_ndcg(lists_of([[5]]), cases_of([[0]], [[5, 6]]), {}, cut_offs=(10,))
    assert found["recall@10"].tolist() == [0.5]


def test_a_target_that_the_assortment_lacks_is_missed(cases_of: MakeCases, lists_of: MakeLists) -> None:
    assert recall_and_ndcg(lists_of([[5, -1]]), cases_of([[0]], [[5, -1]]), {}, cut_offs=(2,))["recall@2"].tolist() == [0.5]


def test_there_is_a_list_for_each_case(cases_of: MakeCases, lists_of: MakeLists) -> None:
    with pytest.raises(ValueError, match="1 lists for 2 cases"):
        recall_and_ndcg(lists_of([[1]]), cases_of([[0], [0]], [[1], [1]]), {})
