import numpy as np
import pytest

from shelfcode.evaluation.prefixes import check_codes, prefix_numbers
from shelfcode.semantic_id import pack


def test_numbers_are_dense_and_follow_the_packed_prefix():
    codes_NL = np.random.default_rng(0).integers(0, (3, 4, 5), size=(200, 3)).astype(np.uint16)
    for depth, number_N in enumerate(prefix_numbers(codes_NL, (3, 4, 5)), start=1):
        _, expected_N = np.unique(pack(codes_NL[:, :depth], (3, 4, 5)[:depth]), return_inverse=True)
        np.testing.assert_array_equal(number_N, expected_N)


def test_more_bits_than_an_integer_holds():
    codes_NL = np.zeros((3, 8), dtype=np.uint16)
    codes_NL[0, 0] = codes_NL[1, 7] = 4095
    numbers = prefix_numbers(codes_NL, (4096,) * 8)
    assert [number_N.tolist() for number_N in (numbers[0], numbers[6], numbers[7])] == [[1, 0, 0], [1, 0, 0], [2, 1, 0]]


@pytest.mark.parametrize(
    ("codes_NL", "message"),
    [
        (np.array([[0, 4]]), "level 2 has a code outside its codebook of 4"),
        (np.array([[-1, 0]]), "level 1"),
        (np.array([[0]]), "do not fit 2"),
        (np.array([[0.0, 1.0]]), "not integers"),
    ],
)
def test_codes_that_do_not_fit_are_refused(codes_NL, message):
    with pytest.raises(ValueError, match=message):
        check_codes(codes_NL, (4, 4))
