"""The semantic IDs of a catalog's products, as a table in the workspace."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.keys import Keys, index_keys, item_keys
from shelfcode.semantic_id import format_many
from shelfcode.workspace import Workspace


def semantic_ids_table(item_ids: pa.ChunkedArray, codes_NL: NDArray[np.integer]) -> pa.Table:
    """Rows of `semantic_ids/`: item_id, semantic_id, and codes as a fixed-size list of uint16."""
    codes = pa.FixedSizeListArray.from_arrays(pa.array(codes_NL.reshape(-1).astype(np.uint16), pa.uint16()), codes_NL.shape[1])
    return pa.table({"item_id": item_ids, "semantic_id": pa.array(format_many(codes_NL), pa.string()), "codes": codes})


def table_codes(table: pa.Table) -> NDArray[np.uint16]:
    """Codes of such rows, in their order: uint16[N, L]."""
    codes_NL: NDArray[np.uint16] = table["codes"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return codes_NL.reshape(-1, table["codes"].type.list_size)


def read_codes(workspace: Workspace, folder: str, item_keys_N: Keys) -> NDArray[np.uint16]:
    """Codes of products in the order of their item keys: uint16[N, L].

    Raises:
        KeyError: a product has no semantic ID in this folder.
    """
    place_of = index_keys(item_keys_N)
    codes_NL: NDArray[np.uint16] | None = None
    seen_N = np.zeros(len(item_keys_N), dtype=bool)
    for part in workspace.parts(folder):
        table = workspace.read_table(part, columns=["item_id", "codes"])
        codes_BL = table_codes(table)
        place_B = place_of.get(item_keys(table["item_id"]))
        if codes_NL is None:
            codes_NL = np.zeros((len(item_keys_N), codes_BL.shape[1]), dtype=np.uint16)
        codes_NL[place_B[place_B >= 0]] = codes_BL[place_B >= 0]
        seen_N[place_B[place_B >= 0]] = True
    if codes_NL is None or not seen_N.all():
        raise KeyError(f"{folder} has no semantic ID for {int((~seen_N).sum())} products")
    return codes_NL
