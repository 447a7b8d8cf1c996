"""What each retailer has: a table of item_id and retailer_id beside the catalog, or what retailers report (availability_log.py)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray
from pyroaring import BitMap

from shelfcode.catalog.cells.item_ids import known_item_ids
from shelfcode.errors import ShelfcodeError
from shelfcode.index.filters import bitmap
from shelfcode.index.key_numbers import KeyNumbers, number_keys
from shelfcode.keys import KeyIndex, Keys, item_keys
from shelfcode.store import open_filesystem

COLUMNS = ("item_id", "retailer_id")


@dataclass(frozen=True)
class Availability:
    """The items of each retailer at one moment. Nothing here is changed.

    Attributes:
        retailers: retailer_id -> the numbers of its items.
        numbers: of all items, whether a catalog has them or not: the product may be coded tomorrow.
    """

    retailers: Mapping[str, BitMap]
    numbers: KeyNumbers

    def places(self, retailer_id: str, place_of: KeyIndex) -> BitMap:
        """The products of a release that a retailer has.

        Args:
            place_of: item key -> place in the release.

        Raises:
            KeyError: this retailer is not known.
        """
        number_P = members(self.retailers[retailer_id])
        return _there(place_of.get(self.numbers.keys_K[number_P]))


@dataclass(frozen=True)
class _Laid:
    """What each retailer has of one release. Nothing here is changed.

    Attributes:
        place_of: item key -> place in the release.
        place_K: place of each number, -1 where the release does not have the item.
        places: retailer_id -> places.
    """

    place_of: KeyIndex
    place_K: NDArray[np.int32]
    places: Mapping[str, BitMap]


class Stock:
    """What each retailer has of each release, found before anybody asks, and kept right while it changes.

    Questions may be answered in several threads meanwhile, and wait for nothing: what they are given is never changed. One change waits
    for the other.
    """

    def __init__(self, availability: Availability) -> None:
        self.availability = availability
        self._laid: dict[str, _Laid] = {}
        self._writing = Lock()

    @property
    def retailers(self) -> list[str]:
        """All retailers that are known, in no order."""
        return list(self.availability.retailers)

    def knows(self, retailer_id: str) -> bool:
        """Whether anything was ever said of a retailer, were it that it has nothing."""
        return retailer_id in self.availability.retailers

    def count(self, retailer_id: str) -> int:
        """How many items a retailer has, whether a catalog has them or not.

        Raises:
            KeyError: this retailer is not known.
        """
        return len(self.availability.retailers[retailer_id])

    def places(self, retailer_id: str, release: str, place_of: KeyIndex) -> BitMap:
        """The products of a release that a retailer has, not to be changed; found now where the release was not added.

        Raises:
            KeyError: this retailer is not known.
        """
        laid = self._laid.get(release)
        return self.availability.places(retailer_id, place_of) if laid is None else laid.places[retailer_id]

    def add(self, release: str, place_of: KeyIndex) -> None:
        """Find the products of all retailers in a release. Takes a while: never on an event loop."""
        with self._writing:
            self._laid[release] = _lay(self.availability, place_of)

    def only(self, releases: Collection[str]) -> None:
        """Forget the releases that are not among these. Waits for nobody: a change that is under way may keep one until the next call."""
        for release in set(self._laid).difference(releases):
            self._laid.pop(release, None)

    def become(self, availability: Availability) -> None:
        """Take what is so now instead of all that was. Takes a while: never on an event loop."""
        with self._writing:
            for release, laid in list(self._laid.items()):
                self._laid[release] = _lay(availability, laid.place_of)
            self.availability = availability

    def replace(self, retailer_id: str, item_ids: Sequence[str]) -> None:
        """A retailer has these items, and no others."""
        self.change_keys(retailer_id, item_keys(known_ids(item_ids)), None)

    def change(self, retailer_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """A retailer has some items that it did not have, and no longer has others. An item that is among both it has."""
        self.change_keys(retailer_id, item_keys(known_ids(add)), item_keys(known_ids(remove)))

    def change_keys(self, retailer_id: str, add_N: Keys, remove_N: Keys | None) -> None:
        """The same by item keys.

        Args:
            remove_N: None for all that the retailer had.
        """
        add_N = np.sort(add_N)  # sorted keys are found many times as fast
        # First of each release, then of all: whoever finds that a retailer is known finds its places, too.
        with self._writing:
            now = self.availability
            numbers = now.numbers.with_keys(add_N)
            came_P = numbers.get(add_N)
            gone_P = None if remove_N is None else numbers.get(remove_N)
            for release, laid in list(self._laid.items()):
                place_K = _with_places(laid, numbers)
                came, gone = _there(place_K[came_P]), None if gone_P is None else _there(place_K[gone_P[gone_P >= 0]])
                self._laid[release] = _Laid(laid.place_of, place_K, _changed(laid.places, retailer_id, came, gone))
            came, gone = bitmap(came_P), None if gone_P is None else _there(gone_P)
            self.availability = Availability(_changed(now.retailers, retailer_id, came, gone), numbers)


def _lay(availability: Availability, place_of: KeyIndex) -> _Laid:
    place_K = place_of.get(availability.numbers.keys_K).astype(np.int32)
    return _Laid(place_of, place_K, {name: _there(place_K[members(has)]) for name, has in availability.retailers.items()})


def _with_places(laid: _Laid, numbers: KeyNumbers) -> NDArray[np.int32]:
    """Places of all numbers, of which some may be new."""
    new_K = numbers.keys_K[len(laid.place_K) :]
    return np.concatenate([laid.place_K, laid.place_of.get(new_K).astype(np.int32)]) if len(new_K) else laid.place_K


def _changed(had: Mapping[str, BitMap], retailer_id: str, came: BitMap, gone: BitMap | None) -> dict[str, BitMap]:
    """A copy in which one retailer has something else; what others have is not copied."""
    kept = BitMap() if gone is None else had.get(retailer_id, BitMap()) - gone
    return {**had, retailer_id: kept | came}


def members(numbers: BitMap) -> NDArray[np.uint32]:
    """What is in a bitmap, ascending."""
    return np.frombuffer(numbers.to_array(), np.uint32) if numbers else np.empty(0, np.uint32)


def _there(place_P: NDArray[np.integer]) -> BitMap:
    """Some places as a bitmap, without the -1 of those that there are not."""
    found = bitmap(np.sort(place_P[place_P >= 0]))  # a bitmap takes many numbers several times as fast in order
    found.shrink_to_fit()
    return found


def known_ids(item_ids: Sequence[str]) -> pa.Array:
    """item_ids as a catalog has them, without those that no catalog can have."""
    return known_item_ids(pa.array(item_ids, pa.string())).drop_null()


def read_availability(url: str) -> Availability:
    """Read a Parquet file or folder of item_id and retailer_id.

    Raises:
        ShelfcodeError: it cannot be read, or lacks a column.
    """
    fs, path = open_filesystem(url)
    try:
        found = ds.dataset(path, filesystem=fs, format="parquet")
        missing = [name for name in COLUMNS if name not in found.schema.names]
        if missing:
            raise ShelfcodeError(f"availability={url} has no column {', '.join(missing)}; columns found: {', '.join(found.schema.names)}")
        return availability_of(found.to_table(columns=list(COLUMNS)))
    except (OSError, ValueError) as error:
        raise ShelfcodeError(f"availability={url} cannot be read: {error}") from error


def availability_of(table: pa.Table) -> Availability:
    """What a table of item_id and retailer_id says. A retailer whose only item_ids are null has nothing.

    Only one row of those with the same item_id is read as an id is: there are far more rows than items, and that takes longest.
    """
    raw_P, item_ids = _raw_keys(table["item_id"])
    raw_K = np.sort(raw_P)
    raw_K = raw_K[np.append(True, raw_K[1:] != raw_K[:-1])[: len(raw_K)]]
    row_K = np.zeros(len(raw_K), np.int64)
    slots = {}
    for name, row_P in _rows_by_name(table["retailer_id"]).items():
        row_P = row_P[np.argsort(raw_P[row_P])]
        slots[name] = np.searchsorted(raw_K, raw_P[row_P])  # of sorted keys, which is many times as fast
        row_K[slots[name]] = row_P
    known = known_item_ids(item_ids.take(pa.array(row_K)).combine_chunks())
    numbers, number_D = number_keys(item_keys(known.drop_null()))
    number_K = np.full(len(raw_K), -1, np.int64)
    number_K[known.is_valid().to_numpy(zero_copy_only=False)] = number_D
    return Availability({name: _there(number_K[slot_P]) for name, slot_P in slots.items()}, numbers)


def _raw_keys(item_ids: pa.ChunkedArray) -> tuple[Keys, pa.ChunkedArray]:
    """Keys of item_ids as they are written, and these: two that are written in two ways may be the same."""
    kind = item_ids.type
    if pa.types.is_dictionary(kind):
        whole = item_ids.unify_dictionaries().combine_chunks()
        keys_D = item_keys(pa.concat_arrays([whole.dictionary.cast(pa.string()), pa.nulls(1, pa.string())]))
        return keys_D[pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)], item_ids
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        item_ids = pa.chunked_array([known_item_ids(each) for each in item_ids.chunks], pa.string())
    return item_keys(item_ids), item_ids


def _rows_by_name(names: pa.ChunkedArray) -> dict[str, NDArray[np.int64]]:
    """The rows of each retailer_id, as text; those without one are nobody's."""
    encoded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    whole = encoded.unify_dictionaries().combine_chunks()
    texts = pc.cast(whole.dictionary, pa.string()).dictionary_encode()
    name_D = np.append(pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False), -1)  # the last for the -1 of a null
    name_P = name_D[pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)]
    short = len(texts.dictionary) < 2**15  # numpy orders short numbers in a time that does not depend on their order
    order_P = np.argsort(name_P.astype(np.int16) if short else name_P, kind="stable")
    bounds = np.cumsum(np.bincount(name_P + 1, minlength=len(texts.dictionary) + 1)).tolist()
    return {name: order_P[bounds[i] : bounds[i + 1]] for i, name in enumerate(texts.dictionary.to_pylist())}


def availability_version(url: str) -> str:
    """A text that changes when the files of a table do.

    Raises:
        ShelfcodeError: nothing is there.
    """
    fs, path = open_filesystem(url)
    try:
        files = fs.find(path, detail=True) if fs.isdir(path) else {path: fs.info(path)}
    except OSError as error:
        raise ShelfcodeError(f"availability={url} cannot be read: {error}") from error
    if not files:
        raise ShelfcodeError(f"availability={url}: nothing is there")
    return repr(
        [(name, info.get("ETag"), info.get("LastModified"), info.get("mtime"), info.get("size")) for name, info in sorted(files.items())]
    )
