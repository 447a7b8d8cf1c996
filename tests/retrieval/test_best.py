"""The best of many scores."""

import numpy as np
import pytest

from shelfcode.retrieval.best import best_of


@pytest.mark.parametrize("number", [1, 4, 12, 15])
def test_it_is_what_a_stable_sort_gives(number: int) -> None:
    scores = np.random.default_rng(number).integers(-3, 3, (50, 12)).astype(np.float32) / 4
    scores[scores == -0.75] = -np.inf
    columns, best = best_of(scores, number)
    for row, (score_C, column_K, best_K) in enumerate(zip(scores, columns, best, strict=True)):
        expected = [column for column in np.argsort(-score_C, kind="stable") if score_C[column] > -np.inf][:number]
        assert column_K[: len(expected)].tolist() == expected, row
        assert (column_K[len(expected) :] == -1).all()
        assert best_K[: len(expected)].tolist() == score_C[expected].tolist()
        assert np.isneginf(best_K[len(expected) :]).all()


def test_zero_and_minus_zero_are_equal_and_there_may_be_no_columns() -> None:
    assert best_of(np.array([[-0.0, 0.0, 1e-40]], np.float32), 3)[0].tolist() == [[2, 0, 1]]
    assert best_of(np.empty((2, 0), np.float32), 2)[0].tolist() == [[-1, -1], [-1, -1]]
