"""Which products have a value: an inverted index of every column, in plain arrays that processes map and share.

A question with filters costs what the products cost that pass it, whether or not somebody asked for the same value before. A value is found
by the hash of its column and its text. Most have few places, which are listed; frequent ones are Roaring bitmaps, as they are written.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyroaring import BitMap

from shelfcode.index.item_store import ItemStore
from shelfcode.keys import Keys, item_keys

FREQUENT = 4096
"""Places from which on a value is kept as a bitmap: a bitmap of fewer is no smaller than the list."""


@dataclass(frozen=True)
class Filters:
    """The places of each value of each column.

    Attributes:
        key_V: hash of column and value, ascending.
        first_V: where the places of each value begin in place_P, and its end.
        place_P: places of each value, ascending; none for a frequent one.
        begin_V: where the bitmap of each value begins in bitmaps, and its end; empty for a rare one.
        bitmaps: serialised bitmaps, one after the other.
    """

    key_V: Keys
    first_V: NDArray[np.int64]
    place_P: NDArray[np.uint32]
    begin_V: NDArray[np.int64]
    bitmaps: NDArray[np.uint8]

    def places(self, column: str, value: str) -> BitMap:
        """The products whose column equals a value, or is a list that holds it. Compared as text, without regard to case."""
        try:
            key = _value_keys(column, _folded(pa.array([value], pa.string())))[0]
        except UnicodeEncodeError:  # half of a surrogate pair, which no column holds
            return BitMap()
        at = int(np.searchsorted(self.key_V, key))
        if at == len(self.key_V) or self.key_V[at] != key:
            return BitMap()
        if self.begin_V[at] < self.begin_V[at + 1]:
            return BitMap.deserialize(self.bitmaps[self.begin_V[at] : self.begin_V[at + 1]].tobytes())
        return bitmap(self.place_P[self.first_V[at] : self.first_V[at + 1]])


def bitmap(place_P: NDArray[np.integer]) -> BitMap:
    """Some places as a bitmap."""
    return BitMap(array("I", place_P.astype(np.uint32).tobytes()))  # of an array of numpy's, pyroaring reads number by number


def build_filters(items: ItemStore, place_of_row_R: NDArray[np.integer]) -> Filters:
    """Invert all columns of a store.

    Args:
        place_of_row_R: place of each row of the store; -1 where the release does not have it.
    """
    keys, firsts, places = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)], [np.empty(0, np.uint32)]
    begun = 0
    for column in items.columns:
        key_V, first_V, place_P = _inverted(items, column, place_of_row_R)
        keys.append(key_V)
        firsts.append(first_V[1:] + begun)
        places.append(place_P)
        begun += len(place_P)
    return _with_bitmaps(np.concatenate(keys), np.concatenate(firsts), np.concatenate(places))


def _inverted(items: ItemStore, column: str, place_of_row_R: NDArray[np.integer]) -> tuple[Keys, NDArray[np.int64], NDArray[np.uint32]]:
    """Keys of the values of a column, in any order; where the places of each begin, and their end; and the places."""
    found = list(_occurrences(items, column, place_of_row_R))
    value_O, place_O = np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])
    order_O = np.lexsort((place_O, value_O))
    value_O, place_O = value_O[order_O], place_O[order_O]
    new_O = np.ones(len(value_O), bool)
    new_O[1:] = (value_O[1:] != value_O[:-1]) | (place_O[1:] != place_O[:-1])  # a list may hold a value twice
    key_V, first_V = np.unique(value_O[new_O], return_index=True)
    return key_V, np.append(first_V, int(new_O.sum())), place_O[new_O]


def _occurrences(items: ItemStore, column: str, place_of_row_R: NDArray[np.integer]) -> Iterator[tuple[Keys, NDArray[np.uint32]]]:
    """Key and place of every value of a column."""
    yield np.empty(0, np.uint64), np.empty(0, np.uint32)
    first = 0
    for chunk in items.columns[column]:
        row_O, texts = _texts(chunk)
        place_O = place_of_row_R[first + row_O]
        distinct = texts.filter(pa.array(place_O >= 0)).dictionary_encode()
        keys_D = _value_keys(column, _folded(distinct.dictionary))
        yield keys_D[distinct.indices.to_numpy(zero_copy_only=False)], place_O[place_O >= 0].astype(np.uint32)
        first += len(chunk)


def _texts(values: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Every text in some values and the row that it stands in: a value itself, or each of a list. Structures have none."""
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner_O, texts = _texts(values.flatten())
        return pc.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)[inner_O], texts
    if pa.types.is_nested(kind):
        return np.empty(0, np.int64), pa.array([], pa.string())
    there = pc.is_valid(values)
    return np.flatnonzero(there.to_numpy(zero_copy_only=False)), values.filter(there).cast(pa.string())


def _folded(texts: pa.Array) -> pa.Array:
    return pc.utf8_upper(texts)  # not lower: Greek has two small letters for one capital


def _value_keys(column: str, folded: pa.Array) -> Keys:
    return item_keys(pc.binary_join_element_wise(column, folded, "\x1f"))


def _with_bitmaps(key_V: Keys, first_V: NDArray[np.int64], place_P: NDArray[np.uint32]) -> Filters:
    """Values in ascending order of their keys, the frequent ones as bitmaps."""
    count_V = np.diff(first_V)
    order_V = np.argsort(key_V, kind="stable")
    frequent_V = count_V[order_V] > FREQUENT
    written = [bitmap(place_P[first_V[at] : first_V[at + 1]]).serialize() for at in order_V[frequent_V].tolist()]
    length_V = np.zeros(len(key_V), np.int64)
    length_V[frequent_V] = [len(each) for each in written]
    listed_V = np.where(frequent_V, 0, count_V[order_V])
    ends_V = np.cumsum(listed_V)
    # Position p of the listed places lies so far into its value, whose places begin at first_V.
    from_V = first_V[:-1][order_V] - (ends_V - listed_V)
    taken_P = np.arange(ends_V[-1] if len(ends_V) else 0) + np.repeat(from_V, listed_V)
    return Filters(
        key_V[order_V], np.append(0, ends_V), place_P[taken_P], np.append(0, np.cumsum(length_V)),
        np.frombuffer(b"".join(written), np.uint8),
    )  # fmt: skip
