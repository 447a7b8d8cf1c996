"""Item keys as small numbers, so that a set of products is a bitmap whatever catalog or release they are in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.keys import Keys


@dataclass(frozen=True)
class KeyNumbers:
    """Distinct keys, each with its number. A key keeps its number for ever; one that comes later gets the next. Nothing here is changed.

    Attributes:
        keys_K: key of each number.
        sorted_K: the keys in ascending order; at first the same array as keys_K.
        number_K: number of each of sorted_K.
    """

    keys_K: Keys
    sorted_K: Keys
    number_K: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.keys_K)

    def get(self, keys_N: Keys) -> NDArray[np.int32]:
        """Number of each key, -1 where it has none."""
        if not len(self):
            return np.full(len(keys_N), -1, np.int32)
        slot_N = np.searchsorted(self.sorted_K, keys_N).clip(max=len(self) - 1)
        return np.where(self.sorted_K[slot_N] == keys_N, self.number_K[slot_N], np.int32(-1))

    def with_keys(self, keys_N: Keys) -> "KeyNumbers":
        """The same with these keys as well: itself where it has them all."""
        new_K = np.unique(keys_N[self.get(keys_N) < 0])
        if not len(new_K):
            return self
        slot_K = np.searchsorted(self.sorted_K, new_K)
        number_K = np.arange(len(self), len(self) + len(new_K), dtype=np.int32)
        return KeyNumbers(
            np.concatenate([self.keys_K, new_K]), np.insert(self.sorted_K, slot_K, new_K), np.insert(self.number_K, slot_K, number_K)
        )


def number_keys(keys_N: Keys) -> tuple[KeyNumbers, NDArray[np.int64]]:
    """Numbers for some keys, by ascending key, and the number of each of them."""
    keys_K, number_N = np.unique(keys_N, return_inverse=True)
    return KeyNumbers(keys_K, keys_K, np.arange(len(keys_K), dtype=np.int32)), number_N
