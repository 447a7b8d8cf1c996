import numpy as np

from shelfcode.retrieval.diversity import spread
from shelfcode.retrieval.lists import Lists

CODES = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [2, 0, 0, 0]])
LISTS = Lists(np.array([[0, 1, 2, 3, 4]] * 3, np.int32), np.log(np.array([[0.4, 0.3, 0.15, 0.1, 0.05]] * 3, np.float32)))


def test_without_diversity_a_list_is_cut() -> None:
    found = spread(LISTS, CODES, np.array([3, 5, 0]), np.zeros(3, np.float32))
    assert found.products_RK.tolist() == [[0, 1, 2, -1, -1], [0, 1, 2, 3, 4], [-1] * 5]
    assert np.isneginf(found.scores_RK[0, 3:]).all()


def test_a_product_of_the_same_id_must_be_e_times_as_probable_for_each_unit() -> None:
    # 0.3 / e = 0.110 is above 0.1 and below 0.15 / e^.5 = 0.091: the same ID comes second still; with twice the diversity it is last.
    found = spread(LISTS, CODES, np.array([5, 5, 2]), np.array([1, 2, 9], np.float32))
    assert found.products_RK[:, :5].tolist() == [[0, 1, 3, 2, 4], [0, 3, 2, 4, 1], [0, 3, -1, -1, -1]]
    assert np.allclose(found.scores_RK[0], LISTS.scores_RK[0][[0, 1, 3, 2, 4]])


def test_lists_that_end_early_stay_short() -> None:
    short = Lists(np.array([[3, -1, -1]], np.int32), np.array([[0.0, -np.inf, -np.inf]], np.float32))
    assert spread(short, CODES, np.array([3]), np.array([1], np.float32)).products_RK.tolist() == [[3, -1, -1]]
