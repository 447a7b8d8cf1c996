from collections import Counter

import numpy as np
import pytest

from shelfcode.evaluation.stability.prefix_pairs import prefix_pairs


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, (3, 5, 7), (200, 3)).astype(np.uint16) for _ in range(2))


@pytest.mark.parametrize("depths", [1, 3])
def test_every_pair_that_a_product_has_is_counted_at_every_depth(codes, depths):
    old_NL, new_NL = codes
    found = list(prefix_pairs(old_NL, new_NL, depths))
    assert len(found) == depths
    for depth, pairs in enumerate(found, start=1):
        expected = Counter((*old, *new) for old, new in zip(old_NL[:, :depth].tolist(), new_NL[:, :depth].tolist(), strict=True))
        rows = [tuple(row) for row in np.hstack([pairs.old_PL, pairs.new_PL]).tolist()]
        assert rows == sorted(expected)
        assert pairs.products_P.tolist() == [expected[row] for row in rows]
        olds = Counter(map(tuple, old_NL[:, :depth].tolist()))
        news = Counter(map(tuple, new_NL[:, :depth].tolist()))
        assert [int(pairs.old_size_O[number]) for number in pairs.old_P] == [olds[row[:depth]] for row in rows]
        assert [int(pairs.new_size_Q[number]) for number in pairs.new_P] == [news[row[depth:]] for row in rows]
        assert pairs.same_P.tolist() == [row[:depth] == row[depth:] for row in rows]


def test_eight_levels_of_the_largest_codebooks_are_no_more_than_an_integer_holds():
    old_NL = np.full((3, 8), 65535, np.uint16)
    new_NL = old_NL.copy()
    new_NL[1, 7] = 0
    (*_, last) = prefix_pairs(old_NL, new_NL, 8)
    assert last.products_P.tolist() == [1, 2]
    assert last.same_P.tolist() == [False, True]


def test_without_products_there_are_no_pairs():
    none_NL = np.empty((0, 2), np.uint16)
    assert [len(pairs.products_P) for pairs in prefix_pairs(none_NL, none_NL, 2)] == [0, 0]
