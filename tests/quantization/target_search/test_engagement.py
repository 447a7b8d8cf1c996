"""Engagement by hand: what counts as a pair, how kinds of products are taken together, and what is left out."""

import numpy as np
import pytest

from shelfcode.quantization.target_search.engagement import (
    CHANCES,
    Engagement,
    engagement,
    excess,
    kinds_together,
    popularity,
    trust,
    unpack_engagement,
)


def of_rows(rows: list[tuple[int, int]]) -> Engagement:
    group_R, product_R = np.array(rows).T
    return engagement([(group_R, product_R)])


def test_self_pairs_unknown_products_and_lone_products_say_nothing():
    engaged = of_rows([(0, 3), (0, 3), (1, 3), (1, -1), (2, 5), (4, 5), (4, 2), (4, 5)])
    assert (engaged.group_R.tolist(), engaged.product_R.tolist()) == ([0, 0], [2, 5])
    assert not engagement([])
    assert not of_rows([(0, -1), (1, -1)])


def test_sources_count_their_groups_each_for_itself():
    engaged = engagement([(np.array([0, 0, 7, 7]), np.array([1, 2, 2, 3])), (np.array([0, 0]), np.array([1, 3]))])
    assert list(zip(engaged.group_R.tolist(), engaged.product_R.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 1), (2, 3)]


def test_a_large_basket_weighs_as_much_a_product_as_a_small_one():
    engaged = of_rows([(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)])
    together_NN = kinds_together(engaged, np.arange(4), 4)
    third = 1 / 3
    once, both = [third, third], 1 + third
    expected = [[0, both, *once], [both, 0, *once], [*once, 0, third], [*once, third, 0]]
    np.testing.assert_allclose(together_NN, expected)
    np.testing.assert_allclose(together_NN.sum(axis=1), popularity(engaged, 4))


def test_within_a_kind_only_pairs_of_two_products_count():
    engaged = of_rows([(0, 0), (0, 1), (0, 2)])
    np.testing.assert_allclose(kinds_together(engaged, np.array([0, 0, 1]), 2), [[1, 1], [1, 0]])


def test_excess_is_over_chance_and_shrinks_with_little_support():
    together_GG = np.array([[0.0, 30, 10], [30, 0, 10], [10, 10, 0]])
    count_G = np.array([40, 40, 20])
    np.testing.assert_allclose(excess(together_GG, 0), together_GG - CHANCES * np.outer(count_G, count_G) / 100)
    np.testing.assert_allclose(trust(together_GG, 20), [2 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose(excess(together_GG, 20)[0, 2], excess(together_GG, 0)[0, 2] / 3)


@pytest.mark.parametrize("support", [0, 20])
def test_a_kind_without_history_is_neither_pulled_nor_driven_off(support):
    together_GG = np.array([[0.0, 5, 0], [5, 0, 0], [0, 0, 0]])
    assert trust(together_GG, support)[2] == 0
    np.testing.assert_array_equal(excess(together_GG, support)[2], np.zeros(3))
    np.testing.assert_array_equal(excess(np.zeros((2, 2)), support), np.zeros((2, 2)))


def test_some_of_the_products_keep_what_they_were_taken_with_among_themselves():
    engaged = of_rows([(0, 0), (0, 4), (0, 2), (1, 1), (1, 2)]).of(np.array([2, 4]), 5)
    assert (engaged.group_R.tolist(), engaged.product_R.tolist()) == ([0, 0], [0, 1])


def test_packing_loses_nothing():
    engaged = of_rows([(0, 0), (0, 4), (9, 2), (9, 4)])
    again = unpack_engagement(engaged.pack())
    np.testing.assert_array_equal(again.group_R, engaged.group_R)
    np.testing.assert_array_equal(again.product_R, engaged.product_R)
