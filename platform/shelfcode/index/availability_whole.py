"""All that retailers have, as a table in the workspace: what the changes up to a number come to."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap

from shelfcode.errors import ShelfcodeError
from shelfcode.index.availability import COLUMNS, Availability, members
from shelfcode.keys import index_keys, item_keys
from shelfcode.workspace import Workspace

WHOLE = "availability/whole"


def whole_bytes(availability: Availability, texts: pa.Array) -> bytes:
    """A whole as Parquet.

    Args:
        texts: item_ids, among them all that a retailer has.
    """
    table, sink = _whole_table(availability, texts), pa.BufferOutputStream()
    # Item_ids are written once, however many retailers have the item: a table in several groups, or a dictionary that is given up when it
    # has become large, would be several times as long.
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, len(table)), dictionary_pagesize_limit=2**31 - 1)
    return sink.getvalue().to_pybytes()


def _whole_table(availability: Availability, texts: pa.Array) -> pa.Table:
    """A row for each item that a retailer has, or one without an item_id."""
    has = [members(each) for each in availability.retailers.values()]
    used_K = members(BitMap.union(*availability.retailers.values())) if has else np.empty(0, np.uint32)
    text_K = index_keys(item_keys(texts)).get(availability.numbers.keys_K[used_K])
    rows_R = [max(1, len(each)) for each in has]
    number_P = np.concatenate([np.empty(0, np.int64), *(np.searchsorted(used_K, each) if len(each) else [-1] for each in has)])
    item_ids = pa.array(number_P.astype(np.int32), mask=number_P < 0)
    retailer_P = np.repeat(np.arange(len(has), dtype=np.int32), rows_R)
    names = pa.array(list(availability.retailers), pa.string())
    return pa.table({
        "retailer_id": pa.DictionaryArray.from_arrays(pa.array(retailer_P), names),
        "item_id": pa.DictionaryArray.from_arrays(item_ids, texts.take(pa.array(text_K))),
    })  # fmt: skip


def read_whole(workspace: Workspace, number: int) -> pa.Table:
    """The table of a whole; an empty one for 0.

    Raises:
        FileNotFoundError: it was removed.
        ShelfcodeError: it is damaged.
    """
    if not number:
        return pa.table({name: pa.array([], pa.string()).dictionary_encode() for name in COLUMNS})
    path = whole_path(number)
    try:
        return workspace.read_table(path, list(COLUMNS))
    except pa.ArrowException as error:
        raise ShelfcodeError(
            f"{workspace.address(path)} is damaged: {error}. Delete it: the one before it is there, and all changes since"
        ) from error


def distinct_ids(whole: pa.Table) -> pa.Array:
    """The item_ids of a whole, each once."""
    return whole["item_id"].unify_dictionaries().combine_chunks().dictionary


def wholes(workspace: Workspace) -> list[int]:
    """The number of each whole, ascending."""
    return [int(name.partition(".")[0]) for name in workspace.names(WHOLE) if re.fullmatch(r"\d{12}\.parquet", name)]


def written_at(workspace: Workspace, path: str) -> float | None:
    """None of a file that was removed."""
    try:
        return workspace.written_at(path)
    except FileNotFoundError:
        return None


def whole_path(number: int) -> str:
    return f"{WHOLE}/{number:012}.parquet"
