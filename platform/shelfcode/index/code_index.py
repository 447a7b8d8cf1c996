"""The codes of a release's products as a trie in plain arrays, and the search for the nearest products.

Products stand in the order of their codes. Those with the same semantic ID form a bucket; the buckets of a prefix lie side by side, and so
do their products. So the trie needs no nodes: a prefix is a range, `children` gives the codewords that may follow it, and `places` the
products below it. A decoder that must write only semantic IDs that exist asks `children` at every step and `places` at the end.

A product takes about 40 bytes; its text is elsewhere (item_store.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfcode.keys import KeyIndex, Keys, index_keys
from shelfcode.semantic_id import Codes, pack

Mask = NDArray[np.bool_]

ROUNDING = 1e-6
"""Squared distances below this share of a vector's squared norm count as 0: float32 cannot tell them apart."""


@dataclass(frozen=True)
class Match:
    """One product that a search found.

    Attributes:
        place: where it stands in the index.
        level: how many leading levels of its codes equal those searched for.
        distance: Euclidean, between the dequantised vectors.
    """

    place: int
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
        return int(np.searchsorted(self.first_B, np.int32(place), side="right")) - 1  # of its own type, or numpy copies all of first_B

    def codes_of(self, place: int) -> Codes:
        """Codes of the product at a place."""
        return tuple(self.codes_LB[:, self.bucket_of(place)].tolist())

    def buckets(self, prefix: Codes) -> tuple[int, int]:
        """The range of buckets below a prefix; an empty range where no product has it."""
        rest = int(np.prod(self.sizes[len(prefix) :], dtype=np.int64))
        number = 0
        for code, size in zip(prefix, self.sizes, strict=False):
            if not 0 <= code < size:
                return 0, 0
            number = number * size + code
        low, high = np.searchsorted(self.packed_B, [number * rest, (number + 1) * rest])
        return int(low), int(high)

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

    def distances(self, codes: Codes, low: int, high: int) -> NDArray[np.float32]:
        """Euclidean distances between the dequantised vector of some codes and those of a range of buckets.

        |q - x|^2 = |q|^2 + |x|^2 - 2 sum_l q.e_l: one product of the query with each codeword, then only look-ups
        (asymmetric distance computation, Jegou et al. 2011).
        """
        query_D, dots_LK = self._query(codes)
        return self._distances(query_D, dots_LK, low, high)

    def _query(self, codes: Codes) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The dequantised vector of some codes, and its product with every codeword."""
        query_D = np.sum([codewords_KD[code] for codewords_KD, code in zip(self.codewords_LKD, codes, strict=True)], axis=0)
        return query_D, [codewords_KD @ query_D for codewords_KD in self.codewords_LKD]

    def _distances(self, query_D: NDArray[np.float32], dots_LK: Sequence[NDArray[np.float32]], low: int, high: int) -> NDArray[np.float32]:
        squared_R = self.norm_B[low:high] + np.float32(query_D @ query_D)
        for dots_K, code_B in zip(dots_LK, self.codes_LB, strict=True):
            squared_R -= 2 * dots_K[code_B[low:high]]
        squared_R[squared_R < ROUNDING * (self.norm_B[low:high] + 1)] = 0
        return np.sqrt(squared_R)

    def similar(
        self, codes: Codes, k: int, min_level: int = 1, allowed_N: Mask | None = None, exclude: frozenset[int] = frozenset()
    ) -> list[Match]:
        """The k nearest products: those that share the deepest prefix first, and among them by distance; ties in the order of places.

        Args:
            codes: the semantic ID to be near to.
            min_level: the fewest levels that a product must share.
            allowed_N: for each place, whether its product may be found; None allows all.
            exclude: places that may not be found.
        """
        matches: list[Match] = []
        query_D, dots_LK = self._query(codes)
        inner = (0, 0)
        for level in range(len(self.sizes), min_level - 1, -1):
            outer = self.buckets(codes[:level])
            if outer == inner:
                continue
            sides = [outer] if inner[0] == inner[1] else [(outer[0], inner[0]), (inner[1], outer[1])]
            bucket_R = np.concatenate([np.arange(*side) for side in sides])
            distance_R = np.concatenate([self._distances(query_D, dots_LK, *side) for side in sides])
            for place, distance in self._nearest_first(bucket_R, distance_R, k - len(matches), allowed_N, exclude):
                matches.append(Match(place, level, round(distance, 5)))
            if len(matches) >= k:
                break
            inner = outer
        return matches

    def _nearest_first(
        self, bucket_R: NDArray[np.int64], distance_R: NDArray[np.float32], limit: int, allowed_N: Mask | None, exclude: frozenset[int]
    ) -> Iterator[tuple[int, float]]:
        """Up to `limit` places in some buckets, nearest first, with their distances."""
        if allowed_N is not None and len(bucket_R):
            some_R = self._with_any(bucket_R, allowed_N)
            bucket_R, distance_R = bucket_R[some_R], distance_R[some_R]
        enough = limit + len(exclude)  # buckets: each holds a product that may be found, unless it is excluded
        if len(distance_R) > enough:
            near_R = distance_R <= np.partition(distance_R, enough - 1)[enough - 1]
            bucket_R, distance_R = bucket_R[near_R], distance_R[near_R]
        for near in np.argsort(distance_R, kind="stable"):
            bucket, distance = bucket_R[near], float(distance_R[near])
            for place in range(self.first_B[bucket], self.first_B[bucket + 1]):
                if place in exclude or (allowed_N is not None and not allowed_N[place]):
                    continue
                yield place, distance
                limit -= 1
                if not limit:
                    return

    def _with_any(self, bucket_R: NDArray[np.int64], allowed_N: Mask) -> Mask:
        """For each of some buckets, in ascending order, whether it holds a product that may be found."""
        base, end = self.first_B[bucket_R[0]], self.first_B[bucket_R[-1] + 1]
        before_P = np.concatenate([[0], np.cumsum(allowed_N[base:end])])
        some_R: Mask = before_P[self.first_B[bucket_R + 1] - base] > before_P[self.first_B[bucket_R] - base]
        return some_R


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
