"""The codes of a release's products, laid out so that a prefix is a range, and searched for the nearest.

Products stand in the order of their codes. Those with the same semantic ID, a bucket, lie side by side, and so do all buckets of a
prefix. A product takes about 40 bytes; its text is elsewhere (item_store.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shelfcode.keys import KeyIndex, Keys, index_keys
from shelfcode.semantic_id import Codes, pack

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """One product that was found.

    Attributes:
        place: in the index.
        level: how many leading levels of its codes are those that were asked for.
        distance: Euclidean, between the dequantised vectors.
    """

    place: int
    level: int
    distance: float


@dataclass(frozen=True)
class CodeIndex:
    """Codes of N products in B buckets of L levels.

    Attributes:
        sizes: of the codebooks.
        codewords_LKD: each level's codewords.
        packed_B, codes_BL: of each bucket, ascending.
        first_B: place of the first product of each bucket, and N at the end.
        norm_B: squared norm of each bucket's dequantised vector.
        place_of: item key -> place.
        row_N: row of each product in the item store.
    """

    sizes: tuple[int, ...]
    codewords_LKD: tuple[NDArray[np.float32], ...]
    packed_B: NDArray[np.int64]
    codes_BL: NDArray[np.uint16]
    first_B: NDArray[np.int32]
    norm_B: NDArray[np.float32]
    place_of: KeyIndex
    row_N: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row_N)

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        arrays: list[NDArray[Any]] = [
            self.packed_B,
            self.codes_BL,
            self.first_B,
            self.norm_B,
            self.place_of.keys_K,
            self.place_of.values_K,
            self.row_N,
        ]
        return sum(array.nbytes for array in [*arrays, *self.codewords_LKD])

    def bucket_of(self, place: int) -> int:
        """The bucket that the product at a place is in."""
        return int(np.searchsorted(self.first_B, place, side="right")) - 1

    def codes_of(self, place: int) -> Codes:
        """Codes of the product at a place."""
        return tuple(self.codes_BL[self.bucket_of(place)].tolist())

    def buckets(self, prefix: Codes) -> tuple[int, int]:
        """The range of buckets below a prefix; empty where there is none."""
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
        """Codewords of the next level that occur below a prefix, ascending, and the products below each."""
        low, high = self.buckets(prefix)
        if low == high or len(prefix) == len(self.sizes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        code_R = self.codes_BL[low:high, len(prefix)].astype(np.int64)
        start_C = np.flatnonzero(np.diff(code_R, prepend=-1))
        ends_C = self.first_B[low + np.append(start_C[1:], high - low)]
        return code_R[start_C], ends_C - self.first_B[low + start_C]

    def distances(self, codes: Codes, buckets_R: NDArray[np.integer]) -> NDArray[np.float32]:
        """Euclidean distance of some buckets' dequantised vectors to that of codes.

        |q - x|^2 = |q|^2 + |x|^2 - 2 sum_l q.e_l: one product of the query with each codeword, then only look-ups
        (asymmetric distance computation, Jegou et al. 2011).
        """
        query_D = sum(codewords_KD[code] for codewords_KD, code in zip(self.codewords_LKD, codes, strict=True))
        dots_R = np.zeros(len(buckets_R), np.float32)
        for level, codewords_KD in enumerate(self.codewords_LKD):
            dots_R += (codewords_KD @ query_D)[self.codes_BL[buckets_R, level]]
        squared_R = self.norm_B[buckets_R] - 2 * dots_R + np.float32(query_D @ query_D)  # type: ignore[operator]
        return np.sqrt(squared_R.clip(min=0))

    def similar(
        self, codes: Codes, k: int, min_level: int = 1, allowed_N: Mask | None = None, exclude: frozenset[int] = frozenset()
    ) -> list[Found]:
        """The k nearest products: those that share the deepest prefix first, and among them by distance; ties in the order of places.

        Args:
            codes: to be near to.
            min_level: levels to share at the least.
            allowed_N: by place, the products that may be found; all where it is None.
            exclude: places that may not be found.
        """
        found: list[Found] = []
        inner = (0, 0)
        for level in range(len(self.sizes), min_level - 1, -1):
            outer = self.buckets(codes[:level])
            if outer == inner:
                continue
            ring_R = (
                np.arange(*outer)
                if inner[0] == inner[1]
                else np.concatenate([np.arange(outer[0], inner[0]), np.arange(inner[1], outer[1])])
            )
            for place, distance in self._nearest_first(codes, ring_R, k - len(found), allowed_N, exclude):
                found.append(Found(place, level, round(distance, 5)))
            if len(found) >= k:
                break
            inner = outer
        return found

    def _nearest_first(
        self, codes: Codes, ring_R: NDArray[np.integer], wanted: int, allowed_N: Mask | None, exclude: frozenset[int]
    ) -> Iterator[tuple[int, float]]:
        """Places in some buckets, nearest first, until enough are found."""
        if allowed_N is not None:
            ring_R = self._with_any(ring_R, allowed_N)
        distance_R = self.distances(codes, ring_R)
        for near in np.argsort(distance_R, kind="stable"):
            for place in range(self.first_B[ring_R[near]], self.first_B[ring_R[near] + 1]):
                if place in exclude or (allowed_N is not None and not allowed_N[place]):
                    continue
                yield place, float(distance_R[near])
                wanted -= 1
                if not wanted:
                    return

    def _with_any(self, ring_R: NDArray[np.integer], allowed_N: Mask) -> NDArray[np.integer]:
        """The buckets that hold a product which may be found."""
        if not len(ring_R):
            return ring_R
        base, end = self.first_B[ring_R[0]], self.first_B[ring_R[-1] + 1]
        before_P = np.concatenate([[0], np.cumsum(allowed_N[base:end])])
        return ring_R[before_P[self.first_B[ring_R + 1] - base] > before_P[self.first_B[ring_R] - base]]


def build_index(
    codes_NL: NDArray[np.integer], item_keys_N: Keys, row_N: NDArray[np.integer], codewords_LKD: Sequence[NDArray[np.float32]]
) -> CodeIndex:
    """Lay out the codes of products.

    Args:
        row_N: of each product in the item store.

    Raises:
        ValueError: a code is outside its codebook, or the codebooks together need more than 63 bits.
    """
    sizes = tuple(len(codewords_KD) for codewords_KD in codewords_LKD)
    packed_N = pack(codes_NL, sizes)
    order_N = np.lexsort((row_N, packed_N))
    packed_B, first_B = np.unique(packed_N[order_N], return_index=True)
    codes_BL = np.ascontiguousarray(codes_NL[order_N[first_B]], dtype=np.uint16)
    norm_B = np.empty(len(packed_B), np.float32)
    for low in range(0, len(packed_B), 65_536):  # in pieces: the vectors themselves would take more memory than the whole index
        chunk_CL = codes_BL[low : low + 65_536]
        vector_CD = sum(codewords_KD[chunk_CL[:, level]] for level, codewords_KD in enumerate(codewords_LKD))
        norm_B[low : low + 65_536] = np.square(vector_CD).sum(axis=1)
    place_of = index_keys(item_keys_N[order_N])
    compact = KeyIndex(place_of.keys_K, place_of.values_K.astype(np.int32))  # type: ignore[arg-type]
    return CodeIndex(
        sizes, tuple(codewords_LKD), packed_B, codes_BL, np.append(first_B, len(packed_N)).astype(np.int32), norm_B, compact,
        row_N[order_N].astype(np.int32),
    )  # fmt: skip
