"""The embeddings of a catalog's products, as a table in the workspace."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.attributes.extracted_catalog import ExtractedCatalog
from shelfcode.keys import Keys


@dataclass(frozen=True)
class EmbeddedCatalog:
    """The embeddings of a snapshot's products.

    Attributes:
        folder: of the embeddings table, within the workspace.
        positions_N: int64, place in the snapshot of each product that has an embedding.
        keys_N: its row key in the table.
        embedded, reused, rejected: products embedded now, found stored, and turned away.
        extracted: how the attributes came about that were embedded; None for a view of the raw text.
    """

    folder: str
    positions_N: NDArray[np.int64]
    keys_N: Keys
    embedded: int
    reused: int
    rejected: int
    extracted: ExtractedCatalog | None = None


def embeddings_table(texts: pa.Table, x_ND: NDArray[np.float32]) -> pa.Table:
    """Rows of `<workspace>/embeddings/<encoder>/`: item_id, text_hash, embedding as a plain fixed-size list of float32."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.reshape(-1), pa.float32()), x_ND.shape[1])
    return pa.table({"item_id": texts["item_id"], "text_hash": texts["text_hash"], "embedding": vectors})
