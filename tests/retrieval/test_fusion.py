import numpy as np
import pytest

from shelfcode.retrieval.fusion import fused
from shelfcode.retrieval.lists import Lists


def lists_of(*products: list[int]) -> Lists:
    products_RK = np.full((len(products), max(map(len, products))), -1, np.int32)
    for row, each in enumerate(products):
        products_RK[row, : len(each)] = each
    return Lists(products_RK, np.where(products_RK < 0, -np.inf, 0).astype(np.float32))


def test_reciprocal_ranks_add_up() -> None:
    both = fused([lists_of([1, 2, 3], [7]), lists_of([3, 4], [8, 7])], 4)
    assert both.products_RK.tolist() == [[3, 1, 2, 4], [7, 8, -1, -1]]
    assert both.scores_RK[0] == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62])
    assert both.scores_RK[1, :2] == pytest.approx([1 / 61 + 1 / 62, 1 / 61])


def test_a_list_of_more_weight_comes_first() -> None:
    light, heavy = lists_of([1, 2]), lists_of([3, 4])
    assert fused([light, heavy], 4, [0.2, 0.8]).products_RK.tolist() == [[3, 4, 1, 2]]
    assert fused([light, heavy], 4, [0.8, 0.2]).products_RK.tolist() == [[1, 2, 3, 4]]
    assert fused([light], 1, [1.0]).products_RK.tolist() == [[1]]
