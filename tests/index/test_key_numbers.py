"""Keys keep their numbers, whatever comes later."""

import numpy as np

from shelfcode.index.key_numbers import number_keys


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def test_keys_are_numbered_in_their_order_and_equal_ones_alike() -> None:
    numbers, number_N = number_keys(keys(7, 2**64 - 1, 7, 0))
    assert number_N.tolist() == [1, 2, 1, 0]
    assert numbers.get(keys(0, 7, 8, 2**64 - 1)).tolist() == [0, 1, -1, 2]


def test_a_key_that_comes_later_gets_the_next_number_and_the_others_keep_theirs() -> None:
    first, _ = number_keys(keys(50, 20))
    later = first.with_keys(keys(30, 10, 30, 50, 99))
    assert later.get(keys(20, 50, 10, 30, 99, 40)).tolist() == [0, 1, 2, 3, 4, -1]
    assert later.keys_K.tolist() == [20, 50, 10, 30, 99]
    assert len(first) == 2
    assert first.get(keys(30)).tolist() == [-1]
    assert later.with_keys(keys(10, 99)) is later


def test_nothing_has_no_number_and_takes_keys() -> None:
    nothing, _ = number_keys(keys())
    assert nothing.get(keys(1)).tolist() == [-1]
    assert nothing.with_keys(keys(2, 1)).get(keys(1, 2)).tolist() == [0, 1]


def test_many_random_keys_keep_one_number_each() -> None:
    rng = np.random.default_rng(0)
    numbers, _ = number_keys(keys())
    expected: dict[int, int] = {}
    for _ in range(20):
        some = rng.integers(0, 500, 40).astype(np.uint64)
        numbers = numbers.with_keys(some)
        for key in sorted(set(some.tolist()) - expected.keys()):
            expected[key] = len(expected)
        assert numbers.get(np.arange(500, dtype=np.uint64)).tolist() == [expected.get(key, -1) for key in range(500)]
