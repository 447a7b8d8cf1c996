"""What each retailer has: a table of item_id and retailer_id beside the catalog."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyroaring import BitMap

from shelfcode.catalog.cells.item_ids import known_item_ids
from shelfcode.errors import ShelfcodeError
from shelfcode.index.filters import bitmap
from shelfcode.keys import KeyIndex, Keys, item_keys
from shelfcode.store import open_filesystem

COLUMNS = ("item_id", "retailer_id")


@dataclass(frozen=True)
class Availability:
    """The items of each retailer.

    Attributes:
        retailers: retailer_id -> range in keys_P.
        keys_P: item key of each (retailer, item) pair.
    """

    retailers: dict[str, tuple[int, int]]
    keys_P: Keys

    def places(self, retailer_id: str, place_of: KeyIndex) -> BitMap:
        """The products of a release that a retailer has.

        Args:
            place_of: item key -> place in the release.

        Raises:
            KeyError: the table does not know this retailer.
        """
        first, end = self.retailers[retailer_id]
        place_P = place_of.get(self.keys_P[first:end])
        return bitmap(place_P[place_P >= 0])


@dataclass(frozen=True)
class Stock:
    """What each retailer has of each release: as many bitmaps as there are retailers, made before anybody asks.

    Attributes:
        places_of: release -> retailer -> places.
    """

    availability: Availability
    places_of: dict[str, dict[str, BitMap]] = field(default_factory=dict)

    def add(self, release: str, place_of: KeyIndex) -> None:
        """Find the products of all retailers in a release. Takes a while: never on an event loop."""
        self.places_of[release] = {name: self.availability.places(name, place_of) for name in self.availability.retailers}

    def only(self, releases: Collection[str]) -> None:
        """Forget the releases that are not among these."""
        for release in set(self.places_of).difference(releases):
            self.places_of.pop(release, None)

    def places(self, retailer_id: str, release: str, place_of: KeyIndex) -> BitMap:
        """The products of a release that a retailer has; found now where the release was not added.

        Raises:
            KeyError: the table does not know this retailer.
        """
        added = self.places_of.get(release)
        return self.availability.places(retailer_id, place_of) if added is None else added[retailer_id]


def read_availability(url: str) -> Availability:
    """Read a Parquet file or folder of item_id and retailer_id.

    Raises:
        ShelfcodeError: it cannot be read, or lacks a column.
    """
    fs, path = open_filesystem(url)
    try:
        table = ds.dataset(path, filesystem=fs, format="parquet").to_table()
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise ShelfcodeError(f"availability={url} has no column {', '.join(missing)}; columns found: {', '.join(table.column_names)}")
    except (OSError, ValueError) as error:
        raise ShelfcodeError(f"availability={url} cannot be read: {error}") from error
    retailer = pc.cast(table["retailer_id"], "string").combine_chunks().dictionary_encode()
    number_P = retailer.indices.to_numpy(zero_copy_only=False)
    order_P = np.argsort(number_P, kind="stable")
    bounds = np.searchsorted(number_P[order_P], np.arange(len(retailer.dictionary) + 1))
    ranges = {name: (int(bounds[i]), int(bounds[i + 1])) for i, name in enumerate(retailer.dictionary.to_pylist())}
    keys_P = item_keys(known_item_ids(table["item_id"].combine_chunks()))[order_P]
    return Availability(ranges, keys_P)


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
