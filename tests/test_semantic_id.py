"""A semantic ID means the same in text, in codes and as one integer."""

import itertools

import numpy as np
import pytest

from shelfcode.semantic_id import format_codes, format_many, pack, parse, prefix, shared_depth, unpack

SIZES = (64, 256, 512, 1168)


def some_codes(rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, size, rows) for size in SIZES], axis=1).astype(np.uint16)


def test_a_semantic_id_survives_the_way_through_text() -> None:
    assert format_codes((6, 19, 32, 63)) == "6_19_32_63"
    assert parse("6_19_32_63") == (6, 19, 32, 63)
    codes_NL = some_codes()
    texts = format_many(codes_NL)
    assert texts == [format_codes(row) for row in codes_NL]
    assert [parse(text) for text in texts] == [tuple(row) for row in codes_NL.tolist()]


@pytest.mark.parametrize("text", ["", "6_", "_6", "6__7", "6-19", "6_x", "-1_2", "6_1.5", "6_ 7", "\u0663_1", "\u00b2"])
def test_a_text_that_is_no_semantic_id_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a semantic ID") as raised:
        parse(text)
    assert repr(text) in str(raised.value)


def test_a_prefix_holds_whole_levels_only() -> None:
    assert [prefix("6_19_32_63", depth) for depth in range(5)] == ["", "6", "6_19", "6_19_32", "6_19_32_63"]


def test_packed_codes_are_equal_where_codes_are_and_keep_their_order() -> None:
    sizes = (2, 3, 4)
    codes_NL = np.array(list(itertools.product(*map(range, sizes))), dtype=np.uint16)
    np.testing.assert_array_equal(pack(codes_NL, sizes), np.arange(24))
    np.testing.assert_array_equal(unpack(np.arange(24), sizes), codes_NL)


def test_packed_codes_come_back_from_the_shipped_codebooks() -> None:
    codes_NL = some_codes()
    restored = unpack(pack(codes_NL, SIZES), SIZES)
    assert restored.dtype == np.uint16
    np.testing.assert_array_equal(restored, codes_NL)


def test_packing_fewer_columns_gives_one_integer_a_prefix() -> None:
    codes_NL = some_codes()
    packed_N = pack(codes_NL[:, :2], SIZES[:2])
    same_text = {}
    for text, number in zip(format_many(codes_NL[:, :2]), packed_N.tolist(), strict=True):
        assert same_text.setdefault(text, number) == number
    assert len(set(same_text.values())) == len(same_text)


def test_the_largest_codebooks_still_pack_without_overflow() -> None:
    sizes = (65536, 65536, 65536, 32767)
    last = np.array([[65535, 65535, 65535, 32766], [0, 0, 0, 0]], dtype=np.uint16)
    packed_N = pack(last, sizes)
    assert packed_N.tolist() == [65536**3 * 32767 - 1, 0]
    np.testing.assert_array_equal(unpack(packed_N, sizes), last)


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[1, 2]], (4,), "do not fit 1 codebook sizes"),
        ([1, 2], (4, 4), "do not fit 2 codebook sizes"),
        ([[4, 0]], (4, 4), "outside its codebook"),
        ([[-1, 0]], (4, 4), "outside its codebook"),
        ([[0] * 4], (65536,) * 4, "63-bit"),
    ],
)
def test_codes_that_would_pack_to_a_wrong_integer_are_refused(codes: list, sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(np.array(codes), sizes)


def test_no_codes_pack_to_no_integers() -> None:
    assert pack(np.empty((0, 4), np.uint16), SIZES).shape == (0,)


def test_shared_depth_counts_leading_levels_only() -> None:
    a = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]])
    b = np.array([[1, 2, 3], [1, 2, 4], [1, 9, 3], [9, 2, 3], [9, 9, 9]])
    assert shared_depth(a, b).tolist() == [3, 2, 1, 0, 0]
