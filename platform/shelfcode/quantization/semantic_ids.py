"""The semantic IDs of a catalog's products, as a table in the workspace."""

import io

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.semantic_id import format_many
from shelfcode.workspace import Workspace
from shelfcode.workspace_layout import KEYS

CODED_TEXTS_FILE = "coded_texts.npy"


def semantic_ids_table(item_ids: pa.ChunkedArray, codes_NL: NDArray[np.integer]) -> pa.Table:
    """Rows of `semantic_ids/`: item_id, semantic_id, and codes as a fixed-size list of uint16."""
    codes = pa.FixedSizeListArray.from_arrays(pa.array(codes_NL.reshape(-1).astype(np.uint16), pa.uint16()), codes_NL.shape[1])
    return pa.table({"item_id": item_ids, "semantic_id": pa.array(format_many(codes_NL), pa.string()), "codes": codes})


def table_codes(table: pa.Table) -> NDArray[np.uint16]:
    """Codes of rows of `semantic_ids/`, in their order: uint16[N, L]."""
    codes_NL: NDArray[np.uint16] = table["codes"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return codes_NL.reshape(-1, table["codes"].type.list_size)


def write_coded_texts(workspace: Workspace, folder: str, row_keys_N: Keys) -> None:
    """Record with a release which texts its products were coded from: their row keys, in rising order, as coded_texts.npy.

    The file's one field is named after the hash of the keys: those of another hash are never taken for these.
    """
    file = io.BytesIO()
    np.save(file, np.sort(row_keys_N).view([(KEYS, np.uint64)]))
    workspace.write_bytes(f"{folder}/{CODED_TEXTS_FILE}", file.getvalue())


def read_coded_texts(workspace: Workspace, folder: str) -> Keys:
    """What `write_coded_texts` wrote; empty for a release from before this was recorded, or from before keys had this hash."""
    try:
        recorded = np.load(io.BytesIO(workspace.read_bytes(f"{folder}/{CODED_TEXTS_FILE}")), allow_pickle=False)
    except FileNotFoundError:
        return np.empty(0, np.uint64)
    return recorded[KEYS] if recorded.dtype.names == (KEYS,) else np.empty(0, np.uint64)


def read_ids(workspace: Workspace, folder: str) -> pa.Table:
    """item_id and codes of all products in a folder, in no particular order.

    Raises:
        ShelfcodeError: the folder has none.
    """
    parts = workspace.parts(folder)
    if not parts:
        raise ShelfcodeError(f"{workspace.address(folder)} holds no semantic IDs")
    return pa.concat_tables(workspace.read_tables(parts, ["item_id", "codes"]))


def read_item_keys(workspace: Workspace, folder: str) -> Keys:
    """Item keys of all products in a folder, in no particular order: uint64[N]."""
    tables = workspace.read_tables(workspace.parts(folder), ["item_id"])
    return np.concatenate([np.empty(0, np.uint64), *(item_keys(table["item_id"]) for table in tables)])


def read_codes(workspace: Workspace, folder: str, item_keys_N: Keys) -> NDArray[np.uint16]:
    """Codes of products in the order of their item keys: uint16[N, L].

    Raises:
        KeyError: a product has no semantic ID in this folder.
    """
    place_of = index_keys(item_keys_N)
    codes_NL: NDArray[np.uint16] | None = None
    seen_N = np.zeros(len(item_keys_N), dtype=bool)
    for table in workspace.read_tables(workspace.parts(folder), ["item_id", "codes"]):
        codes_BL = table_codes(table)
        place_B = place_of.get(item_keys(table["item_id"]))
        if codes_NL is None:
            codes_NL = np.zeros((len(item_keys_N), codes_BL.shape[1]), dtype=np.uint16)
        codes_NL[place_B[place_B >= 0]] = codes_BL[place_B >= 0]
        seen_N[place_B[place_B >= 0]] = True
    if codes_NL is None or not seen_N.all():
        raise KeyError(f"{folder} has no semantic ID for {int((~seen_N).sum())} products")
    return codes_NL
