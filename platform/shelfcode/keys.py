"""Products as 64-bit keys, so that millions of them can be matched without holding their texts.

An *item key* stands for an item_id. A *row key* stands for an item_id together with the hash of the text that was embedded or
that attributes were extracted from, so it changes when the text does. Among n products, two share a key by chance with
probability n^2 / 2^65: with ten million products that is three catalogs in a million.

Releases keep row keys in files, so these must be the same in every version of every library: they are the 64-bit XXH3 of the
UTF-8 text with seed 0, which is published (https://xxhash.com), and layout.json and these files name it. One core makes about ten
million of them a second.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from shelfcode.parallel import in_order
from shelfcode.workspace import Workspace

Keys = NDArray[np.uint64]

ROWS_AT_A_TIME = 65_536
"""Rows turned into Python's bytes at once. These take several times the memory of Arrow's."""


def text_hash(text: str) -> str:
    """128-bit hash of a text, in hexadecimal."""
    return hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=16).hexdigest()


def item_keys(item_ids: pa.Array | pa.ChunkedArray) -> Keys:
    """Key of each item_id: uint64[N]. A null has the key of a text that no catalog contains."""
    keys_N = np.empty(len(item_ids), np.uint64)
    for first in range(0, len(item_ids), ROWS_AT_A_TIME):
        texts = pc.fill_null(item_ids.slice(first, ROWS_AT_A_TIME).cast(pa.string()), "\x00").cast(pa.binary()).to_pylist()
        keys_N[first : first + len(texts)] = np.fromiter(map(xxh3_64_intdigest, texts), np.uint64, len(texts))
    return keys_N


def item_key(item_id: str) -> int:
    """Key of one item_id. No product has one that is not Unicode, such as half of a surrogate pair."""
    return xxh3_64_intdigest(item_id.encode(errors="backslashreplace"))


def row_keys(item_ids: pa.Array | pa.ChunkedArray, text_hashes: pa.Array | pa.ChunkedArray) -> Keys:
    """Key of each (item_id, text_hash): uint64[N]."""
    return item_keys(pc.binary_join_element_wise(item_ids, text_hashes, "\x1f"))


@dataclass(frozen=True)
class KeyIndex:
    """Sorted distinct keys with one value each: a map of millions of entries that processes share without copying it."""

    keys_K: Keys
    values_K: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys_K)

    def get(self, keys_N: Keys) -> NDArray[np.int64]:
        """Value of each key, -1 where there is none."""
        if not len(self.keys_K):
            return np.full(len(keys_N), -1, dtype=np.int64)
        slot_N = np.searchsorted(self.keys_K, keys_N).clip(max=len(self.keys_K) - 1)
        return np.where(self.keys_K[slot_N] == keys_N, self.values_K[slot_N], -1)

    def find(self, key: int) -> int:
        """Value of one key, -1 where there is none."""
        slot = int(self.keys_K.searchsorted(np.uint64(key)))
        return int(self.values_K[slot]) if slot < len(self.keys_K) and self.keys_K[slot] == key else -1

    def only(self, keys_N: Keys) -> "KeyIndex":
        """The part of this map that has these keys."""
        kept_K = index_keys(keys_N).get(self.keys_K) >= 0
        return KeyIndex(self.keys_K[kept_K], self.values_K[kept_K])


def index_keys(keys_N: Keys, values_N: NDArray[np.integer] | None = None) -> KeyIndex:
    """Map of keys to values, by default to their positions. Of equal keys the first counts."""
    keys_K, first_K = np.unique(keys_N, return_index=True)
    return KeyIndex(keys_K, first_K if values_N is None else np.asarray(values_N, dtype=np.int64)[first_K])


def stored_rows(workspace: Workspace, parts: Sequence[str]) -> KeyIndex:
    """Row keys of a table with item_id and text_hash. The value of a key is the number of the first part that has it."""

    def keys_of(part: str) -> Keys:
        table = workspace.read_table(part, columns=["item_id", "text_hash"])
        return row_keys(table["item_id"], table["text_hash"])

    keys = [np.empty(0, np.uint64), *in_order(keys_of, parts)]
    part_of_row = np.repeat(np.arange(-1, len(parts)), [len(batch) for batch in keys])
    return index_keys(np.concatenate(keys), part_of_row)


def owners(workspace: Workspace, parts: Sequence[str], keys_N: Keys) -> KeyIndex:
    """Which part of a table to take each of these rows from, by its number. Rows that are not stored are left out."""
    return stored_rows(workspace, parts).only(keys_N)


def first_copies(keys_N: Keys, owner: KeyIndex, part: int) -> NDArray[np.bool_]:
    """Which rows of a part are the copies to use: `owner` names this part for them, and they do not occur earlier in it."""
    first_N = np.zeros(len(keys_N), dtype=bool)
    first_N[np.unique(keys_N, return_index=True)[1]] = True
    return first_N & (owner.get(keys_N) == part)
