"""Vectors of products before training."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, D width, E dimensions of an embedding.

import numpy as np
import pytest
from numpy.typing import NDArray

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import start_vectors as module
from shelfcode.retrieval.start_vectors import spectral_vectors, start_vectors, text_vectors

PRODUCTS, NEVER_SOLD = 21, 20


@pytest.fixture
def x_NE() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return (random.normal(size=(PRODUCTS, 6)) * [9, 4, 2, 1, 0.5, 0.2] + 5).astype(np.float32)


def two_worlds() -> SessionLog:
    """Products 0 to 9 are bought with each other, those from 10 to 19 too, and product 20 with none."""
    random = np.random.default_rng(1)
    return log_of_sessions([(random.choice(10, 5, replace=False) + 10 * (number % 2)).tolist() for number in range(80)], ordered=False)


def every(log: SessionLog) -> NDArray[np.bool_]:
    return np.ones(log.sessions, bool)


def cosines(vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    unit_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True).clip(1e-9)
    return unit_ND @ unit_ND.T


def root_mean_square(vectors_ND: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(vectors_ND).mean()))


def test_what_a_product_is_keeps_the_directions_in_which_embeddings_differ_most(x_NE: NDArray[np.float32]) -> None:
    vectors_ND = text_vectors(x_NE, 2)
    centred_NE = x_NE - x_NE.mean(0)
    left_NE, values, _ = np.linalg.svd(centred_NE, full_matrices=False)
    expected_ND = left_NE[:, :2] * values[:2]
    np.testing.assert_allclose(np.abs(cosines(vectors_ND)), np.abs(cosines(expected_ND)), atol=1e-3)
    assert root_mean_square(vectors_ND) == pytest.approx(1, abs=1e-4)
    length_N, before_N = np.linalg.norm(vectors_ND, axis=1), np.linalg.norm(expected_ND, axis=1)
    np.testing.assert_allclose(length_N / length_N[0], np.sqrt(before_N / before_N[0]), rtol=1e-3)


def test_a_table_that_is_read_in_parts_and_one_of_few_dimensions(x_NE: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    whole_ND = text_vectors(x_NE, 8)
    assert (whole_ND[:, 6:] == 0).all()
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 4)
    np.testing.assert_allclose(text_vectors(x_NE, 8), whole_ND, atol=1e-4)


def test_products_that_are_bought_together_are_near_each_other() -> None:
    log = two_worlds()
    vectors_ND = spectral_vectors(log, every(log), PRODUCTS, 4, seed=0)
    near_NN = cosines(vectors_ND)
    assert near_NN[:10, 10:20].max() < 0.2 < 0.5 < near_NN[:10, :10].mean()
    assert np.abs(vectors_ND[NEVER_SOLD]).max() < 1e-6
    assert root_mean_square(vectors_ND[:NEVER_SOLD]) == pytest.approx(1, abs=1e-4)


def test_nothing_is_taken_from_sessions_that_are_kept_apart() -> None:
    log = two_worlds()
    train_S = np.arange(80) % 2 == 0
    vectors_ND = spectral_vectors(log, train_S, PRODUCTS, 4, seed=0)
    assert np.abs(vectors_ND[10:]).max() < 1e-6 < np.abs(vectors_ND[:10]).min(0).max()
    nothing = spectral_vectors(log, np.zeros(80, bool), PRODUCTS, 4, seed=0)
    assert nothing.shape == (PRODUCTS, 4)
    assert (nothing == 0).all()


def test_where_order_means_something_a_user_is_what_products_have_in_common() -> None:
    random = np.random.default_rng(2)
    products = [[int(random.integers(10)) + 10 * (user % 2)] for user in range(40) for _ in range(6)]
    users = [user for user in range(40) for _ in range(6)]
    near = {}
    for ordered in (True, False):
        log = log_of_sessions(products, users, ordered=ordered)
        near_NN = cosines(spectral_vectors(log, every(log), PRODUCTS, 2, seed=0))
        near[ordered] = float(near_NN[:10, :10].mean() - near_NN[:10, 10:20].mean())
    assert near[True] > 0.8 > 0.4 > near[False]


def test_a_product_that_a_user_has_again_and_again_counts_once() -> None:
    once = log_of_sessions([[0, 1, 2], [1, 2, 3], [0, 3, 4], [5, 6]])
    again = log_of_sessions([[0, 1, 2, 1, 1], [1, 2, 3, 3], [0, 3, 4, 0, 0, 0], [5, 6, 5]])
    one_ND, other_ND = (spectral_vectors(log, every(log), 7, 2, seed=0) for log in (once, again))
    np.testing.assert_allclose(one_ND, other_ND, atol=1e-5)


def test_both_halves_stand_side_by_side(x_NE: NDArray[np.float32]) -> None:
    log = two_worlds()
    both_ND = start_vectors(log, every(log), x_NE, 7, seed=0)
    assert both_ND.shape == (PRODUCTS, 7)
    assert both_ND.dtype == np.float32
    np.testing.assert_array_equal(both_ND[:, :3], spectral_vectors(log, every(log), PRODUCTS, 3, seed=0))
    np.testing.assert_array_equal(both_ND[:, 3:], text_vectors(x_NE, 4))
