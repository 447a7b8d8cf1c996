"""Nearest neighbours against brute force: by every way of finding them, among copies, and in catalogs smaller than asked for."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.embedding import neighbours as module
from shelfcode.embedding.neighbours import Neighbours, nearest_neighbours


def clustered(products: int = 2000, clusters: int = 60, spread: float = 0.3, dimensions: int = 16) -> NDArray[np.float32]:
    """Rows of unit norm around centres."""
    rng = np.random.default_rng(0)
    x_NE = rng.standard_normal((clusters, dimensions))[rng.integers(0, clusters, products)]
    x_NE += spread * rng.standard_normal((products, dimensions))
    return (x_NE / np.linalg.norm(x_NE, axis=1, keepdims=True)).astype(np.float32)


def neighbours_of(x_NE: NDArray[np.float32], count: int, seed: int = 0) -> Neighbours:
    return nearest_neighbours(x_NE, count, torch.device("cpu"), threads=1, seed=seed)


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


def test_the_way_of_a_gpu_finds_the_same_in_parts(monkeypatch):
    x_NE = clustered(400, clusters=10)
    monkeypatch.setattr(module, "COSINES_AT_ONCE", 20_000)
    assert_same(module._without_self(*module._compare_all(x_NE, 11, torch.device("cpu"))), neighbours_of(x_NE, 10))


def test_embeddings_may_stay_on_disk(tmp_path):
    np.save(tmp_path / "x.npy", clustered(200))
    assert_same(neighbours_of(np.load(tmp_path / "x.npy", mmap_mode="r"), 5), neighbours_of(clustered(200), 5))


@pytest.mark.parametrize("exact_up_to", [10**6, 0], ids=["exact", "inverted file"])
@pytest.mark.parametrize("copies", [5, 50])
def test_a_product_among_its_copies_is_no_neighbour_of_its_own(monkeypatch, exact_up_to, copies):
    """More copies than neighbours push the product itself out of its own list."""
    monkeypatch.setattr(module, "EXACT_UP_TO", exact_up_to)
    x_NE = np.repeat(clustered(20, clusters=20), copies, axis=0)
    found = neighbours_of(x_NE, 4)
    assert (found.index_NK != np.arange(len(x_NE))[:, None]).all()
    np.testing.assert_array_equal(found.index_NK // copies, np.arange(len(x_NE))[:, None] // copies * np.ones(4))
    assert all(len(set(row)) == 4 for row in found.index_NK.tolist())


@pytest.mark.parametrize("products", [1, 2, 4])
def test_a_small_catalog_gives_all_others(products):
    found = neighbours_of(clustered(products), 10)
    assert found.index_NK.shape == found.cosine_NK.shape == (products, products - 1)
    assert all({own, *row} == set(range(products)) for own, row in enumerate(found.index_NK.tolist()))


def test_the_inverted_file_finds_most_and_on_every_run_the_same(monkeypatch):
    x_NE = clustered(spread=0.6)
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    found = neighbours_of(x_NE, 10)
    assert 0.8 <= recall(found, by_brute_force(x_NE, 10)) < 1, "not approximate: compared all with all"
    np.testing.assert_array_equal(neighbours_of(x_NE, 10).index_NK, found.index_NK)


def test_a_place_that_no_neighbour_was_found_for_is_the_product_itself(monkeypatch):
    """One cell of the inverted file holds fewer products than asked for."""
    x_NE = clustered()
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    monkeypatch.setattr(module, "CELLS_PROBED", 1)
    found = neighbours_of(x_NE, 100)
    itself_NK = found.index_NK == np.arange(len(x_NE))[:, None]
    assert itself_NK.any()
    assert not itself_NK.all()
    assert (found.cosine_NK[itself_NK] == 1).all()
    cosine_NK = np.einsum("ne,nke->nk", x_NE, x_NE[found.index_NK])
    np.testing.assert_allclose(found.cosine_NK, cosine_NK, atol=1e-5)
