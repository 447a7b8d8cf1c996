"""The codes of a release's products as a trie in plain arrays, and the search for the nearest products.

Products stand in the order of their codes. Those with the same semantic ID form a bucket; the buckets of a prefix lie side by side, and so
do their products. So the trie needs no nodes: a prefix is a range, `children` gives the codewords that may follow it, and `places` the
products below it. A decoder that must write only semantic IDs that exist asks `children` at every step and `places` at the end.

A product takes about 40 bytes; its text is elsewhere (item_store.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from shelfcode.keys import KeyIndex, Keys, index_keys
from shelfcode.semantic_id import Codes, pack

ROUNDING = 1e-6
"""Squared distances below this share of a vector's squared norm count as 0: float32 cannot tell them apart."""


@dataclass(frozen=True)
class Match:
    """One product that a search found.

    Attributes:
        place, bucket: where it stands in the index.
        level: how many leading levels of its codes equal those searched for.
        distance: Euclidean, between the dequantised vectors.
    """

    place: int
    bucket: int
    level: int
    distance: float


@dataclass(frozen=True)
class CodeIndex:
    """Codes of N products in B buckets of L levels.

    Attributes:
        sizes: codewords per level.
        codewords_LKD: each level's codewords.
        packed_B, codes_LB: codes of each bucket, ascending, as one number and level by level.
        first_B: place of the first product of each bucket, and N at the end.
        norm_B: squared norm of each bucket's dequantised vector.
        place_of: item key -> place.
        row_N: row of each product in the item store.
    """

    sizes: tuple[int, ...]
    codewords_LKD: tuple[NDArray[np.float32], ...]
    packed_B: NDArray[np.int64]
    codes_LB: NDArray[np.uint16]
    first_B: NDArray[np.int32]
    norm_B: NDArray[np.float32]
    place_of: KeyIndex
    row_N: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row_N)

    @property
    def bytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        arrays: list[NDArray[Any]] = [
            self.packed_B,
            self.codes_LB,
            self.first_B,
            self.norm_B,
            self.place_of.keys_K,
            self.place_of.values_K,
            self.row_N,
        ]
        return sum(array.nbytes for array in [*arrays, *self.codewords_LKD])

    def bucket_of(self, place: int) -> int:
        """The bucket of the product at a place."""
        return int(self.first_B.searchsorted(np.int32(place), side="right")) - 1  # of its own type, or numpy copies all of first_B

    def buckets_of(self, place_P: NDArray[np.integer]) -> NDArray[np.int64]:
        """The bucket of the product at each of some places."""
        return np.searchsorted(self.first_B, place_P.astype(np.int32), side="right") - 1

    def codes_of(self, place: int) -> Codes:
        """Codes of the product at a place."""
        return tuple(self.codes_LB[:, self.bucket_of(place)].tolist())

    def buckets(self, prefix: Codes) -> tuple[int, int]:
        """The range of buckets below a prefix; an empty range where no product has it."""
        rest, number = prod(self.sizes[len(prefix) :]), 0
        for code, size in zip(prefix, self.sizes, strict=False):
            if not 0 <= code < size:
                return 0, 0
            number = number * size + code
        low, high = self.packed_B.searchsorted(np.array([number * rest, (number + 1) * rest], np.int64)).tolist()
        return low, high

    def places(self, prefix: Codes) -> tuple[int, int]:
        """The range of places of the products below a prefix."""
        low, high = self.buckets(prefix)
        return int(self.first_B[low]), int(self.first_B[high])

    def children(self, prefix: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The branches of the trie at a prefix.

        Returns:
            The codewords of the next level that occur below the prefix, ascending, and the number of products below each. Both are empty
            where no product has the prefix, and below a whole semantic ID.
        """
        low, high = self.buckets(prefix)
        if low == high or len(prefix) == len(self.sizes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        code_R = self.codes_LB[len(prefix), low:high].astype(np.int64)
        start_C = np.flatnonzero(np.diff(code_R, prepend=-1))
        ends_C = self.first_B[low + np.append(start_C[1:], high - low)]
        return code_R[start_C], ends_C - self.first_B[low + start_C]

    def distances(self, codes: Codes, bucket_R: NDArray[np.integer]) -> NDArray[np.float32]:
        """Euclidean distances between the dequantised vector of some codes and those of some buckets.

        |q - x|^2 = |q|^2 + |x|^2 - 2 sum_l q.e_l: one product of the query with each codeword, then only look-ups
        (asymmetric distance computation, Jegou et al. 2011).
        """
        return self._distances(self._query(codes), bucket_R)

    def _query(self, codes: Codes) -> tuple[np.float32, list[NDArray[np.float32]]]:
        """The squared norm of the dequantised vector of some codes, and twice its product with every codeword."""
        query_D = sum(codewords_KD[code] for codewords_KD, code in zip(self.codewords_LKD, codes, strict=True))
        return np.float32(query_D @ query_D), [codewords_KD @ (2 * query_D) for codewords_KD in self.codewords_LKD]

    def _distances(self, query: tuple[np.float32, list[NDArray[np.float32]]], bucket_R: NDArray[np.integer] | slice) -> NDArray[np.float32]:
        squared_q, dots_LK = query
        norm_R = self.norm_B[bucket_R]
        squared_R = norm_R + squared_q
        for dots_K, code_B in zip(dots_LK, self.codes_LB, strict=True):
            squared_R -= dots_K[code_B[bucket_R]]
        squared_R[squared_R < ROUNDING * (norm_R + 1)] = 0
        return np.sqrt(squared_R, out=squared_R)

    def similar(
        self, codes: Codes, k: int, min_level: int = 1, allowed: BitMap | None = None, exclude: frozenset[int] = frozenset()
    ) -> list[Match]:
        """The k nearest products: those that share the deepest prefix first, and among them by distance; ties in the order of places.

        Args:
            codes: the semantic ID to be near to.
            min_level: the fewest levels that a product must share.
            allowed: places that may be found; None allows all.
            exclude: places that may not be found.
        """
        ranges: list[tuple[int, int, int]] = []  # level, and the buckets that share so many: each range lies within the next
        for level in range(len(self.sizes), min_level - 1, -1):
            ranges.append((level, *self.buckets(codes[:level])))
            if self._products(*ranges[-1][1:], allowed) >= k + len(exclude):
                break
        if not ranges:
            return []
        level, low, high = ranges.pop()
        bucket_R = np.arange(low, high) if allowed is None else self._holding(low, high, allowed)
        distance_R = self._distances(self._query(codes), slice(low, high) if allowed is None else bucket_R)
        level_R = np.full(len(bucket_R), level)
        for level, low, high in reversed(ranges):
            level_R[bucket_R.searchsorted(low) : bucket_R.searchsorted(high)] = level
        return list(islice(self._in_order(bucket_R, level_R, distance_R, k + len(exclude), allowed, exclude), k))

    def _products(self, low: int, high: int, allowed: BitMap | None) -> int:
        """How many products of a range of buckets may be found."""
        first, end = int(self.first_B[low]), int(self.first_B[high])
        return end - first if allowed is None else allowed.range_cardinality(first, end)

    def _holding(self, low: int, high: int, allowed: BitMap) -> NDArray[np.int64]:
        """The buckets of a range that hold a product that may be found."""
        within = allowed & BitMap(range(int(self.first_B[low]), int(self.first_B[high])))
        bucket_P = self.buckets_of(np.asarray(within.to_array(), np.uint32))
        return bucket_P[np.diff(bucket_P, prepend=-1) > 0]

    def _in_order(
        self, bucket_R: NDArray[np.int64], level_R: NDArray[np.int64], distance_R: NDArray[np.float32], enough: int,
        allowed: BitMap | None, exclude: frozenset[int],
    ) -> Iterator[Match]:  # fmt: skip
        """The products of some buckets that may be found, the nearest first.

        Args:
            enough: buckets that are looked into: each holds a product that may be found, unless that is excluded.
        """
        if len(bucket_R) > enough:
            rank_R = distance_R - level_R * (2.0 * float(distance_R.max()) + 1.0)
            near_R = np.flatnonzero(rank_R <= np.partition(rank_R, enough - 1)[enough - 1])
            bucket_R, level_R, distance_R = bucket_R[near_R], level_R[near_R], distance_R[near_R]
        order_R = np.lexsort((distance_R, -level_R))
        bucket_R = bucket_R[order_R]
        columns = (bucket_R, self.first_B[bucket_R], self.first_B[bucket_R + 1], level_R[order_R], distance_R[order_R])
        for bucket, first, end, level, distance in zip(*(column.tolist() for column in columns), strict=True):
            for place in range(first, end):
                if place not in exclude and (allowed is None or place in allowed):
                    yield Match(place, bucket, level, round(distance, 5))


def build_index(
    codes_NL: NDArray[np.integer], item_keys_N: Keys, row_N: NDArray[np.integer], codewords_LKD: Sequence[NDArray[np.float32]]
) -> CodeIndex:
    """Lay out the codes of products.

    Args:
        row_N: row of each product in the item store.

    Raises:
        ValueError: a code is outside its codebook, or the codebooks together need more than 63 bits.
    """
    sizes = tuple(len(codewords_KD) for codewords_KD in codewords_LKD)
    packed_N = pack(codes_NL, sizes)
    order_N = np.lexsort((row_N, packed_N))
    packed_B, first_B = np.unique(packed_N[order_N], return_index=True)
    codes_LB = np.ascontiguousarray(codes_NL[order_N[first_B]].T, dtype=np.uint16)
    norm_B = np.empty(len(packed_B), np.float32)
    for low in range(0, len(packed_B), 65_536):  # in pieces: the vectors themselves would take more memory than the whole index
        vector_CD = sum(codewords_KD[code_B[low : low + 65_536]] for codewords_KD, code_B in zip(codewords_LKD, codes_LB, strict=True))
        norm_B[low : low + 65_536] = np.square(vector_CD).sum(axis=1)
    place_of = index_keys(item_keys_N[order_N])
    compact = KeyIndex(place_of.keys_K, place_of.values_K.astype(np.int32))  # type: ignore[arg-type]
    return CodeIndex(
        sizes, tuple(codewords_LKD), packed_B, codes_LB, np.append(first_B, len(packed_N)).astype(np.int32), norm_B, compact,
        row_N[order_N].astype(np.int32),
    )  # fmt: skip
