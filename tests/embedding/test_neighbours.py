"""Nearest neighbours against brute force: by every way of finding them, among copies, and in catalogs smaller than asked for."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.embedding.neighbours import EXACT_UP_TO, Neighbours, nearest_neighbours, nearest_to, search_in_torch


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


@pytest.mark.parametrize("exact_up_to", [10**6, 0], ids=["exact", "inverted file"])
@pytest.mark.parametrize("copies", [5, 50])
def test_a_product_among_its_copies_is_no_neighbour_of_its_own(exact_up_to, copies):
    """More copies than neighbours push the product itself out of its own list."""
    x_NE = np.repeat(clustered(20, clusters=20), copies, axis=0)
    found = neighbours_of(x_NE, 4, exact_up_to)
    assert (found.index_NK != np.arange(len(x_NE))[:, None]).all()
    np.testing.assert_array_equal(found.index_NK // copies, np.arange(len(x_NE))[:, None] // copies * np.ones(4))
    assert all(len(set(row)) == 4 for row in found.index_NK.tolist())


@pytest.mark.parametrize("products", [1, 2, 4])
def test_a_small_catalog_gives_all_others(products):
    found = neighbours_of(clustered(products), 10)
    assert found.index_NK.shape == found.cosine_NK.shape == (products, products - 1)
    assert all({own, *row} == set(range(products)) for own, row in enumerate(found.index_NK.tolist()))


def test_the_inverted_file_finds_most_and_on_every_run_the_same():
    x_NE = clustered(spread=0.6)
    found = neighbours_of(x_NE, 10, exact_up_to=100)
    assert 0.8 <= recall(found, by_brute_force(x_NE, 10)) < 1, "not approximate: compared all with all"
    np.testing.assert_array_equal(neighbours_of(x_NE, 10, exact_up_to=100).index_NK, found.index_NK)


def test_a_place_that_no_neighbour_was_found_for_is_the_product_itself():
    """One cell of the inverted file holds fewer products than asked for."""
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
