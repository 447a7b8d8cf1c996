import numpy as np

from shelfcode.audit.scoring.pooling import fit_weights, pool
from shelfcode.audit.scoring.views.batch import log_softmax


def test_a_view_that_knows_weighs_more_than_one_that_guesses():
    rng = np.random.default_rng(0)
    label = rng.integers(6, size=2000)
    knows = log_softmax(3.0 * np.eye(6)[label] + rng.standard_normal((2000, 6)))
    guesses = log_softmax(rng.standard_normal((2000, 6)))
    weights = fit_weights(np.stack([knows, guesses]), label)
    assert (weights >= 0).all()
    assert weights[0] > 2 * weights[1]


def test_a_pool_is_a_distribution_and_of_one_view_that_view():
    view = log_softmax(np.random.default_rng(0).standard_normal((5, 4)))
    np.testing.assert_allclose(np.exp(pool(np.stack([view, view]), np.array([0.3, 0.3]))).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(pool(view[None], np.ones(1)), view, atol=1e-6)


def test_without_labels_all_views_weigh_the_same():
    assert fit_weights(np.zeros((4, 0, 3), np.float32), np.empty(0, np.int64)).tolist() == [0.25] * 4
