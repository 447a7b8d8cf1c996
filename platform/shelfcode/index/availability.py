"""What each retailer has: a table of item_id and retailer_id beside the catalog."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from cachetools import LRUCache
from numpy.typing import NDArray

from shelfcode.catalog.item_ids import known_item_ids
from shelfcode.errors import ShelfcodeError
from shelfcode.index.item_store import ItemStore
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.store import open_filesystem

COLUMNS = ("item_id", "retailer_id")
MASKS_KEPT = 16


@dataclass(frozen=True)
class Availability:
    """The items of each retailer.

    Attributes:
        retailers: retailer_id -> range in keys_P.
        keys_P: item key of each (retailer, item) pair.
        masks: (retailer, store) -> mask, for those used last.
    """

    retailers: dict[str, tuple[int, int]]
    keys_P: Keys
    masks: "LRUCache[tuple[str, str], NDArray[np.bool_]]"

    def mask(self, retailer_id: str, items: ItemStore) -> NDArray[np.bool_]:
        """The rows of a store that a retailer has: bool[rows].

        Raises:
            KeyError: the table does not know this retailer.
        """
        first, end = self.retailers[retailer_id]
        key = (retailer_id, items.name)
        if key not in self.masks:
            self.masks[key] = index_keys(self.keys_P[first:end]).get(items.keys_N) >= 0
        return self.masks[key]


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
    return Availability(ranges, keys_P, LRUCache(MASKS_KEPT))


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
