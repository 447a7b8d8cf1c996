"""Prefixes are ranges and the nearest are the nearest, whatever is asked: held against references that look at every product."""

from dataclasses import dataclass

import numpy as np
import pytest
from pyroaring import BitMap

from shelfcode.index.code_index import CodeIndex, build_index
from shelfcode.semantic_id import Codes, pack

SHAPES = [((4, 3, 2), 1), ((3, 4, 5), 40), ((2, 2, 2), 200), ((8, 16, 16, 32), 300), ((3, 2), 0), ((24, 640, 640, 744), 500)]
"""Codebook sizes and products: few products, many that share an ID, none, and codebooks as large as those that ship."""


@dataclass(frozen=True)
class Plain:
    """The same products as lists: in the order of their codes, then of their rows."""

    index: CodeIndex
    codes: list[Codes]
    keys_N: np.ndarray
    row_N: np.ndarray
    codewords: list[np.ndarray]

    def vector(self, codes: Codes) -> np.ndarray:
        return np.sum([codewords_KD[code].astype(np.float64) for codewords_KD, code in zip(self.codewords, codes, strict=True)], axis=0)

    def similar(
        self, codes: Codes, k: int, min_level: int, allowed: np.ndarray | None, exclude: frozenset[int]
    ) -> list[tuple[int, int, float]]:
        """(place, level, distance) of the nearest, by looking at every product."""
        found = []
        for place, other in enumerate(self.codes):
            level = next((at for at, (one, two) in enumerate(zip(codes, other, strict=True)) if one != two), len(codes))
            if level < min_level or place in exclude or (allowed is not None and not allowed[place]):
                continue
            found.append((place, level, float(np.linalg.norm(self.vector(codes) - self.vector(other)))))
        return sorted(found, key=lambda each: (-each[1], each[2], each[0]))[:k]


def products_of(sizes: tuple[int, ...], products: int, seed: int = 0) -> Plain:
    """Random codes; codewords of small whole numbers, so that sums are exact and distances are often equal."""
    rng = np.random.default_rng(seed)
    codewords = [rng.integers(-3, 4, (size, 3)).astype(np.float32) for size in sizes]
    codes_NL = np.stack([rng.integers(0, size, products) for size in sizes], axis=1).astype(np.uint16)
    keys_N, row_N = rng.permutation(10 * products + 1)[:products].astype(np.uint64), rng.permutation(products)
    order_N = np.lexsort((row_N, pack(codes_NL, sizes)))
    index = build_index(codes_NL, keys_N, row_N, codewords)
    return Plain(index, [tuple(row) for row in codes_NL[order_N].tolist()], keys_N[order_N], row_N[order_N], codewords)


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{'x'.join(map(str, shape[0]))}-{shape[1]}")
def plain(request: pytest.FixtureRequest) -> Plain:
    return products_of(*request.param)


def some_prefixes(plain: Plain) -> list[Codes]:
    """Of every length, of products that are there and of some that are not."""
    rng = np.random.default_rng(5)
    whole = [*plain.codes[:: max(1, len(plain.codes) // 20)], *(tuple(rng.integers(0, plain.index.sizes).tolist()) for _ in range(20))]
    return list(dict.fromkeys(codes[:depth] for codes in whole for depth in range(len(codes) + 1)))


def test_products_stand_in_the_order_of_their_codes_and_then_of_their_rows(plain: Plain) -> None:
    assert len(plain.index) == len(plain.codes)
    assert [plain.index.codes_of(place) for place in range(len(plain.codes))] == plain.codes
    np.testing.assert_array_equal(plain.index.row_N, plain.row_N)
    np.testing.assert_array_equal(plain.index.place_of.get(plain.keys_N), np.arange(len(plain.codes)))
    assert plain.index.place_of.get(np.array([2**60], np.uint64)).tolist() == [-1]


def test_a_prefix_is_the_range_of_the_products_below_it(plain: Plain) -> None:
    distinct = sorted(set(plain.codes))
    for prefix in some_prefixes(plain):
        below = [place for place, codes in enumerate(plain.codes) if codes[: len(prefix)] == prefix]
        assert list(range(*plain.index.places(prefix))) == below
        buckets = [number for number, codes in enumerate(distinct) if codes[: len(prefix)] == prefix]
        assert list(range(*plain.index.buckets(prefix))) == buckets


def test_children_are_the_codewords_below_a_prefix_with_their_products(plain: Plain) -> None:
    for prefix in some_prefixes(plain):
        below = [codes[len(prefix)] for codes in plain.codes if codes[: len(prefix)] == prefix and len(codes) > len(prefix)]
        code_C, count_C = plain.index.children(prefix)
        assert list(zip(code_C.tolist(), count_C.tolist(), strict=True)) == sorted((code, below.count(code)) for code in set(below))


def test_a_decoder_that_follows_the_children_writes_every_semantic_id_and_no_other(plain: Plain) -> None:
    written: list[Codes] = [()]
    for _ in plain.index.sizes:
        written = [(*prefix, code) for prefix in written for code in plain.index.children(prefix)[0].tolist()]
    assert written == sorted(set(plain.codes))
    assert [place for codes in written for place in range(*plain.index.places(codes))] == list(range(len(plain.codes)))


def test_every_product_is_in_the_bucket_of_its_codes(plain: Plain) -> None:
    distinct = sorted(set(plain.codes))
    assert [distinct[plain.index.bucket_of(place)] for place in range(len(plain.codes))] == plain.codes
    assert [distinct[bucket] for bucket in plain.index.buckets_of(np.arange(len(plain.codes)))] == plain.codes


@pytest.mark.parametrize("prefix", [(4,), (-1,), (0, 3), (3, 2, 2), (2**40,)])
def test_nothing_lies_under_a_code_that_its_codebook_does_not_have(prefix: Codes) -> None:
    index = products_of((4, 3, 2), 50).index
    low, high = index.places(prefix)
    assert low == high
    assert len(index.children(prefix)[0]) == 0


def test_distances_are_those_between_dequantised_vectors() -> None:
    rng = np.random.default_rng(3)
    sizes, codewords = (6, 9, 11), [rng.normal(size=(size, 16)).astype(np.float32) for size in (6, 9, 11)]
    codes_NL = np.stack([rng.integers(0, size, 400) for size in sizes], axis=1)
    index = build_index(codes_NL, np.arange(400, dtype=np.uint64), np.arange(400), codewords)
    buckets = len(index.packed_B)
    for query in codes_NL[:10].tolist():
        plain = [sum(codewords[level][code].astype(np.float64) for level, code in enumerate(index.codes_LB[:, b])) for b in range(buckets)]
        target = sum(codewords[level][code].astype(np.float64) for level, code in enumerate(query))
        expected = np.linalg.norm(np.array(plain) - target, axis=1)
        found = index.distances(tuple(query), np.arange(buckets))
        np.testing.assert_allclose(found, expected, atol=5e-3)
        np.testing.assert_array_equal(index.distances(tuple(query), np.arange(20, 5, -1)), found[20:5:-1])


@pytest.mark.parametrize("filtered", ["all", "mask", "a narrow mask", "an empty mask", "excluded", "mask and excluded"])
def test_similar_finds_what_looking_at_every_product_finds(plain: Plain, filtered: str) -> None:
    rng, products = np.random.default_rng(7), len(plain.codes)
    share = {"mask": 0.5, "mask and excluded": 0.5, "a narrow mask": 0.03, "an empty mask": 0.0}.get(filtered)
    allowed = None if share is None else rng.random(products) < share
    may = None if allowed is None else BitMap(np.flatnonzero(allowed).tolist())
    exclude = frozenset(rng.integers(-1, products, products // 4).tolist()) if "excluded" in filtered else frozenset()
    strangers = [tuple(rng.integers(0, plain.index.sizes).tolist()) for _ in range(6)]
    for query in [*strangers, *plain.codes[:: max(1, products // 6)]]:
        for k in (1, 10, products + 7):
            for min_level in {0, 1, len(query)}:
                found = plain.index.similar(query, max(k, 1), min_level, may, exclude)
                expected = plain.similar(query, max(k, 1), min_level, allowed, exclude)
                assert [(each.place, each.level) for each in found] == [(place, level) for place, level, _ in expected]
                np.testing.assert_allclose([each.distance for each in found], [distance for *_, distance in expected], atol=1e-5)


def test_more_levels_than_there_are_share_nothing() -> None:
    plain = products_of((3, 4, 5), 40)
    assert plain.index.similar(plain.codes[0], 10, min_level=8) == []


@pytest.mark.parametrize("code", [4, -1])
def test_a_product_whose_code_lies_outside_its_codebook_is_refused(code: int) -> None:
    codewords = [np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)]
    with pytest.raises(ValueError, match="outside its codebook"):
        build_index(np.array([[0, 0], [1, code]]), np.arange(2, dtype=np.uint64), np.arange(2), codewords)


def test_codebooks_that_need_more_than_63_bits_are_refused() -> None:
    codewords = [np.zeros((2**16, 1), np.float32)] * 4
    with pytest.raises(ValueError, match="63-bit"):
        build_index(np.zeros((1, 4), np.int64), np.zeros(1, np.uint64), np.zeros(1, np.int64), codewords)
    fits = [*codewords[:3], np.zeros((2**15 - 1, 1), np.float32)]
    last = (2**16 - 1, 2**16 - 1, 2**16 - 1, 2**15 - 2)
    index = build_index(np.array([last]), np.zeros(1, np.uint64), np.zeros(1, np.int64), fits)
    assert index.codes_of(0) == last
    assert index.places(last[:2]) == (0, 1)
    assert index.places(last) == (0, 1)


def test_a_product_takes_less_than_60_bytes() -> None:
    rng, sizes, products = np.random.default_rng(0), (24, 640, 640, 744), 200_000
    codes_NL = np.stack([rng.integers(0, size, products) for size in sizes], axis=1)
    codewords = [np.zeros((size, 128), np.float32) for size in sizes]
    index = build_index(codes_NL, np.arange(products, dtype=np.uint64), np.arange(products), codewords)
    assert index.bytes < 60 * products
