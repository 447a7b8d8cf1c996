"""Nearest neighbours against brute force: by every way of finding them, among copies, and in catalogs smaller than asked for."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.embedding.neighbours import EXACT_UP_TO, Neighbours, first_copies, nearest_neighbours, nearest_to, search_in_torch


def clustered(products: int = 2000, clusters: int = 60, spread: float = 0.3, dimensions: int = 16) -> NDArray[np.float32]:
    """Rows of unit norm around centres."""
    rng = np.random.default_rng(0)
    x_NE = rng.standard_normal((clusters, dimensions))[rng.integers(0, clusters, products)]
    x_NE += spread * rng.standard_normal((products, dimensions))
    return (x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True)).astype(np.float32)


CPU = torch.device("cpu")


def neighbours_of(x_NE: NDArray[np.float32], count: int, exact_up_to: int = EXACT_UP_TO, **settings: int) -> Neighbours:
    return nearest_neighbours(x_NE, count, CPU, threads=1, seed=0, exact_up_to=exact_up_to, **settings)


def by_brute_force(x_NE: NDArray[np.float32], count: int) -> Neighbours:
    cosine_NN = x_NE.astype(np.float64) @ x_NE.astype(np.float64).T
    np.fill_diagonal(cosine_NN, -np.inf)
    index_NK = np.argsort(-cosine_NN, axis=1)[:, :count]
    return Neighbours(index_NK, np.take_along_axis(cosine_NN, index_NK, axis=1))


def recall(found: Neighbours, true: Neighbours) -> float:
    return float((found.index_NK[:, :, None] == true.index_NK[:, None]).any(axis=2).mean())


def assert_same(one: Neighbours, other: Neighbours) -> None:
    np.testing.assert_array_equal(one.index_NK, other.index_NK)
    np.testing.assert_allclose(one.cosine_NK, other.cosine_NK, atol=1e-5)


@pytest.mark.parametrize("count", [1, 7, 399])
def test_they_are_those_of_brute_force(count):
    x_NE = clustered(400, clusters=10)
    found = neighbours_of(x_NE, count)
    assert_same(found, by_brute_force(x_NE, count))
    assert (found.index_NK.dtype, found.cosine_NK.dtype) == (np.int64, np.float32)


def test_the_way_of_a_gpu_finds_the_same_in_parts():
    x_NE = clustered(400, clusters=10)
    found = search_in_torch(x_NE, 11, CPU, cosines_at_once=20_000)
    np.testing.assert_array_equal(found.index_NK[:, 0], np.arange(400))
    assert_same(Neighbours(found.index_NK[:, 1:], found.cosine_NK[:, 1:]), neighbours_of(x_NE, 10))


def test_embeddings_may_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", clustered(200))
    assert_same(neighbours_of(np.load(tmp_path / "x.npy", mmap_mode="r"), 5), neighbours_of(clustered(200), 5))


@pytest.mark.parametrize("exact_up_to", [10**6, 0], ids=["exact", "cells"])
@pytest.mark.parametrize("copies", [2, 30])
def test_the_neighbours_of_copies_are_those_of_the_one_vector_that_they_share(exact_up_to, copies):
    """Searched among products, thirty copies would have nothing but each other for neighbours."""
    x_UE = clustered(60, clusters=20)
    x_NE = np.tile(x_UE, (copies, 1))
    found, alone = neighbours_of(x_NE, 4, exact_up_to, cells_probed=100), by_brute_force(x_UE, 4)
    assert_same(found, Neighbours(np.tile(alone.index_NK, (copies, 1)), np.tile(alone.cosine_NK, (copies, 1))))


def test_of_a_neighbours_copies_the_one_of_the_products_own_kind_is_named():
    x_NE = clustered(3)[[0, 1, 1, 1, 2]]
    found = nearest_neighbours(x_NE, 2, CPU, threads=1, seed=0, kind_N=np.array([4, -1, 4, 7, 5]))
    assert [sorted(row) for row in found.index_NK.tolist()] == [[2, 4], [0, 4], [0, 4], [0, 4], [0, 1]]


def test_copies_of_one_vector_have_no_neighbours():
    found = neighbours_of(np.repeat(clustered(1), 40, axis=0), 10)
    assert found.index_NK.shape == found.cosine_NK.shape == (40, 0)


def test_a_row_is_a_copy_of_the_first_with_its_vector_however_many_are_read_at_a_time(monkeypatch):
    monkeypatch.setattr("shelfcode.embedding.neighbours.ROWS_AT_ONCE", 3)
    assert first_copies(clustered(4)[[2, 0, 2, 1, 0, 0, 3, 2]]).tolist() == [0, 1, 0, 3, 1, 1, 6, 0]


@pytest.mark.parametrize("products", [1, 2, 4])
def test_a_small_catalog_gives_all_others(products):
    found = neighbours_of(clustered(products), 10)
    assert found.index_NK.shape == found.cosine_NK.shape == (products, products - 1)
    assert all({own, *row} == set(range(products)) for own, row in enumerate(found.index_NK.tolist()))


def test_a_search_in_cells_finds_most_and_on_every_run_the_same():
    x_NE = clustered(spread=0.6)
    found = neighbours_of(x_NE, 10, exact_up_to=100)
    assert 0.8 <= recall(found, by_brute_force(x_NE, 10)) < 1, "not approximate: compared all with all"
    np.testing.assert_array_equal(neighbours_of(x_NE, 10, exact_up_to=100).index_NK, found.index_NK)


def test_a_place_that_no_neighbour_was_found_for_is_the_product_itself():
    """One cell holds fewer products than asked for."""
    x_NE = clustered()
    found = neighbours_of(x_NE, 100, exact_up_to=100, cells_probed=1)
    itself_NK = found.index_NK == np.arange(len(x_NE))[:, None]
    assert itself_NK.any()
    assert not itself_NK.all()
    assert (found.cosine_NK[itself_NK] == 1).all()
    cosine_NK = np.einsum("ne,nke->nk", x_NE, x_NE[found.index_NK])
    np.testing.assert_allclose(found.cosine_NK, cosine_NK, atol=1e-5)


# Of a few vectors


@pytest.mark.parametrize("count", [1, 7, 200, 400])
def test_those_nearest_to_other_vectors_are_those_of_brute_force(count):
    x_NE, query_QE = clustered(400, clusters=10), clustered(5, clusters=5)
    found = nearest_to(query_QE, x_NE, count)
    index_QK = np.argsort(-(query_QE.astype(np.float64) @ x_NE.T), axis=1)[:, :count]
    assert_same(found, Neighbours(index_QK, np.take_along_axis(query_QE @ x_NE.T, index_QK, axis=1)))


@pytest.mark.parametrize("count", [1, 7, 399])
def test_those_nearest_to_some_products_leave_them_out(count, tmp_path):
    x_NE, own_Q = clustered(400, clusters=10), np.array([0, 3, 63, 64, 399])
    expected = by_brute_force(x_NE, count)
    np.save(tmp_path / "x.npy", x_NE)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for x in (x_NE, mapped):
        assert_same(nearest_to(x[own_Q], x, count, own_Q), Neighbours(expected.index_NK[own_Q], expected.cosine_NK[own_Q]))


def test_copies_come_in_the_order_of_the_catalog_without_the_one_that_is_asked_of():
    x_NE = np.repeat(clustered(1, clusters=1), 40, axis=0)
    found = nearest_to(x_NE, x_NE, 39, np.arange(40))
    assert found.index_NK.tolist() == [[other for other in range(40) if other != own] for own in range(40)]


@pytest.mark.parametrize("count", [1, 7, 39])
def test_a_search_among_some_products_is_one_in_a_catalog_of_these(monkeypatch, count):
    x_NE, query_QE, among_M = clustered(400, clusters=10), clustered(5, clusters=5), np.arange(3, 400, 10)
    monkeypatch.setattr("shelfcode.embedding.neighbours.ROWS_AT_ONCE", 16)
    found, alone = nearest_to(query_QE, x_NE, count, among_M=among_M), nearest_to(query_QE, x_NE[among_M], count)
    assert_same(found, Neighbours(among_M[alone.index_NK], alone.cosine_NK))
