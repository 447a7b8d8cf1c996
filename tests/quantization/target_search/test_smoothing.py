"""Smoothing by hand: weights of neighbours, rounds, and what they draw together."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.embedding.neighbours import Neighbours, nearest_neighbours
from shelfcode.quantization.settings import NeighbourhoodSettings
from shelfcode.quantization.target_search.smoothing import neighbour_weights, smooth

SETTINGS = NeighbourhoodSettings(width=0.5, same_leaf=0.8, sibling_leaf=0.4, other=0.1)


def near(index_NK: list[list[int]], cosine_NK: list[list[float]]) -> Neighbours:
    return Neighbours(np.array(index_NK), np.array(cosine_NK, dtype=np.float32))


def graph_of(x_NE: NDArray[np.float32], neighbours: int) -> Neighbours:
    return nearest_neighbours(x_NE, neighbours, torch.device("cpu"), threads=1, seed=0)


def test_weights_by_hand():
    """The median of the distances to the last neighbour is 0.2, half of it the width."""
    taxonomy = taxonomy_from_paths([["a", "x"], ["a", "x"], ["a", "y"]])
    weight_NK = neighbour_weights(near([[1, 2], [0, 2], [0, 1]], [[0.9, 0.8], [0.9, 0.7], [0.9, 0.9]]), taxonomy, SETTINGS)
    e = math.exp
    expected = [[e(-1) * 0.8, e(-2) * 0.4], [e(-1) * 0.8, e(-3) * 0.4], [e(-1) * 0.4, e(-1) * 0.4]]
    np.testing.assert_allclose(weight_NK, expected, rtol=1e-5)
    assert weight_NK.dtype == np.float32


def test_a_weight_falls_with_the_distance():
    taxonomy = taxonomy_from_paths([["a"]] * 5)
    index_NK = [[other for other in range(5) if other != own] for own in range(5)]
    weight_NK = neighbour_weights(near(index_NK, [[0.95, 0.9, 0.6, 0.1]] * 5), taxonomy, SETTINGS)
    assert (np.diff(weight_NK, axis=1) < 0).all()
    assert (weight_NK > 0).all()


def test_a_weight_is_graded_by_the_taxonomy_and_a_missing_path_counts_as_a_sibling():
    paths = [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "d"], None, ["a", "e", "f"], ["z"]]
    index_NK = [[other for other in range(6) if other != own] for own in range(6)]
    weight_NK = neighbour_weights(near(index_NK, [[0.5] * 5] * 6), taxonomy_from_paths(paths), SETTINGS)
    at_this_distance = math.exp(-2)
    np.testing.assert_allclose(weight_NK[0] / at_this_distance, [0.8, 0.4, 0.4, 0.1, 0.1], rtol=1e-5)
    np.testing.assert_allclose(weight_NK[3] / at_this_distance, [0.4] * 5, rtol=1e-5)


def test_two_products_without_a_path_are_no_leaf_of_their_own():
    weight_NK = neighbour_weights(near([[1], [0]], [[0.5], [0.5]]), taxonomy_from_paths([None, None]), SETTINGS)
    np.testing.assert_allclose(weight_NK, np.full((2, 1), 0.4 * math.exp(-2)), rtol=1e-5)


def test_how_narrow_an_encoders_cosines_are_does_not_matter():
    taxonomy, index_NK, distance_NK = taxonomy_from_paths([["a"]] * 3), [[1, 2], [0, 2], [0, 1]], np.array([[0.1, 0.4]] * 3)
    wide, narrow = (neighbour_weights(near(index_NK, 1 - distance_NK * scale), taxonomy, SETTINGS) for scale in (1, 0.1))
    np.testing.assert_allclose(wide, narrow, rtol=1e-4)


def test_one_round_by_hand():
    z_ND, graph = torch.tensor([[0.0, 1], [4, 1], [8, 1]]), near([[1, 2], [0, 2], [1, 0]], [[0.9, 0.8]] * 3)
    weight_NK = np.float32([[1.0, 0.5], [0.5, 0.5], [0.0, 0.25]])
    (after_ND,) = smooth(z_ND, graph, weight_NK, [1])
    expected = [[(0 + 4 + 0.5 * 8) / 2.5, 1], [(4 + 0 + 0.5 * 8) / 2, 1], [8 / 1.25, 1]]
    torch.testing.assert_close(after_ND, torch.tensor(expected))


def test_rounds_follow_one_another_in_any_order_asked_for():
    x_NE = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    graph, z_ND = graph_of(x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True), 5), torch.from_numpy(x_NE)
    weight_NK = neighbour_weights(graph, taxonomy_from_paths([["a"]] * 30), SETTINGS)
    one_by_one = [z_ND]
    for _ in range(3):
        one_by_one += smooth(one_by_one[-1], graph, weight_NK, [1])
    for found_ND, rounds in zip(smooth(z_ND, graph, weight_NK, [3, 1, 1, 2, 0]), [3, 1, 1, 2, 0], strict=True):
        torch.testing.assert_close(found_ND, one_by_one[rounds])


def test_no_rounds_leave_the_products_where_they_are():
    z_ND, graph = torch.randn(3, 2), near([[1], [0], [0]], [[0.9]] * 3)
    before_ND = z_ND.clone()
    none_ND, _ = smooth(z_ND, graph, np.ones((3, 1), dtype=np.float32), [0, 4])
    assert none_ND is z_ND
    assert torch.equal(z_ND, before_ND)


@pytest.mark.parametrize("paths", [[["a"], ["b"]], [["a", "x"], ["a", "y"]], [None, None]], ids=["strangers", "siblings", "no paths"])
def test_two_dense_clusters_draw_together_but_not_into_each_other(paths):
    """More neighbours than a cluster has products: each product sees into the other cluster."""
    rng, side_N = np.random.default_rng(0), np.arange(100) // 50
    x_NE = rng.standard_normal((2, 8))[side_N] + 0.25 * rng.standard_normal((100, 8))
    x_NE = (x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True)).astype(np.float32)
    graph = graph_of(x_NE, 55)
    weight_NK = neighbour_weights(graph, taxonomy_from_paths([paths[side] for side in side_N]), NeighbourhoodSettings())
    (after_ND,) = smooth(torch.from_numpy(x_NE), graph, weight_NK, [10])

    def within_and_between(x_ND: NDArray[np.float32]) -> tuple[float, float]:
        means = [x_ND[side_N == side].mean(axis=0) for side in (0, 1)]
        return float((x_ND - np.stack(means)[side_N]).std()), float(np.linalg.norm(means[0] - means[1]))

    (within, between), (within_after, between_after) = within_and_between(x_NE), within_and_between(after_ND.numpy())
    assert within_after < 0.1 * within
    assert between_after > 0.8 * between


def test_a_catalog_of_copies_stays_what_it_is():
    x_NE = np.tile(np.float32([0.6, 0.8, 0]), (40, 1))
    graph, z_ND = graph_of(x_NE, 5), torch.from_numpy(x_NE)
    weight_NK = neighbour_weights(graph, taxonomy_from_paths([["a"], ["b"]] * 20), SETTINGS)
    assert np.isfinite(weight_NK).all()
    torch.testing.assert_close(smooth(z_ND, graph, weight_NK, [30])[0], z_ND)


def test_thirty_copies_meet_the_thirty_copies_of_their_near_twin():
    """Among products, as many copies as that are each other's only neighbours, and nothing ever draws the two groups together."""
    rng = np.random.default_rng(0)
    x_NE = rng.standard_normal((200, 8)).astype(np.float32)
    x_NE[1] = x_NE[0] + 0.2 * rng.standard_normal(8)
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    x_NE = np.concatenate([x_NE, np.repeat(x_NE[:2], 29, axis=0)])
    graph = graph_of(x_NE, 20)
    weight_NK = neighbour_weights(graph, taxonomy_from_paths([["a"]] * len(x_NE)), NeighbourhoodSettings())
    (after_ND,) = smooth(torch.from_numpy(x_NE), graph, weight_NK, [10])
    copies, twins = after_ND[[0, *range(200, 229)]], after_ND[[1, *range(229, 258)]]
    assert (copies - copies[0]).abs().max() < 1e-5, "copies stay together"
    assert float((copies[0] - twins[0]).norm()) < 0.2 * float(np.linalg.norm(x_NE[0] - x_NE[1]))


def test_weights_are_the_same_whatever_the_number_of_rows_at_a_time(monkeypatch, planted):
    graph = graph_of(planted.x_NE[:100], 5)
    whole_NK = neighbour_weights(graph, planted.taxonomy.of(np.arange(100)), SETTINGS)
    monkeypatch.setattr("shelfcode.quantization.target_search.smoothing.ROWS_WEIGHED", 7)
    np.testing.assert_array_equal(neighbour_weights(graph, planted.taxonomy.of(np.arange(100)), SETTINGS), whole_NK)
