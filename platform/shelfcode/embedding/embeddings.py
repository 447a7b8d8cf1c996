"""The embeddings of a catalog's products: as a table in the workspace, and as one memory-mapped matrix on a node's disk.

Training and evaluation read rows at random; a table of parts does not allow that, a flat file in the catalog's order does, and the
operating system shares its pages between the workers of a node.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from shelfcode.attributes.table import ExtractedCatalog
from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys, item_keys, row_keys
from shelfcode.parallel import TABLES_AT_ONCE
from shelfcode.scratch import scratch_folder
from shelfcode.workspace import Workspace

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class EmbeddedCatalog:
    """The embeddings of a snapshot's products.

    Attributes:
        folder: of the embeddings table, within the workspace.
        positions_N: int64, place in the snapshot of each product that has an embedding.
        keys_N: its row key in the table.
        embedded, reused, rejected: products embedded now, found stored, and turned away.
        without_text: how many of those turned away have no text in the view.
        extracted: how the attributes came about that were embedded; None for a view of the raw text.
    """

    folder: str
    positions_N: NDArray[np.int64]
    keys_N: Keys
    embedded: int
    reused: int
    rejected: int
    without_text: int = 0
    extracted: ExtractedCatalog | None = None


def embeddings_table(texts: pa.Table, x_ND: NDArray[np.float32]) -> pa.Table:
    """Rows of `<workspace>/embeddings/<encoder>/`: item_id, text_hash, embedding as a plain fixed-size list of float32."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.reshape(-1), pa.float32()), x_ND.shape[1])
    return pa.table({"item_id": texts["item_id"], "text_hash": texts["text_hash"], "embedding": vectors})


def embedding_matrix(workspace: Workspace, folder: str, keys_N: Keys) -> NDArray[np.float32]:
    """Embeddings of the rows with these keys, in their order: float32[N, d], memory-mapped, read only.

    Rows with one text have one vector, that of the first of them: in another batch an encoder gives a text a vector whose last digits
    differ. Only the rows asked for lie on disk. Built once per node and kept under `scratch_folder()`; workers that ask at the same time
    wait for the first.

    Raises:
        ShelfcodeError: the table lacks a row, or its embeddings differ in dimension.
    """
    table = hashlib.blake2b(f"{workspace.url} {folder}".encode(), digest_size=8).hexdigest()
    target = scratch_folder() / f"{table}-{hashlib.blake2b(keys_N.tobytes(), digest_size=8).hexdigest()}.npy"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch_folder() / f"{table}.lock"):
        if not target.exists():
            draft = target.with_suffix(".draft")
            _build(workspace, folder, keys_N, draft)
            # Matrices of earlier catalogs go; whoever still has one mapped keeps it until they close it.
            for earlier in scratch_folder().glob(f"{table}-*.npy"):
                earlier.unlink()
            draft.replace(target)
        return np.load(target, mmap_mode="r")  # type: ignore[no-any-return]


def _build(workspace: Workspace, folder: str, keys_N: Keys, path: Path) -> None:
    position_of = index_keys(keys_N)
    filled_N = np.zeros(len(keys_N), dtype=bool)
    text_N = np.zeros(len(keys_N), dtype=np.uint64)
    x_ND: np.memmap[tuple[int, int], np.dtype[np.float32]] | None = None
    parts = workspace.parts(folder)
    tables = workspace.read_tables(parts, ["item_id", "text_hash", "embedding"], TABLES_AT_ONCE)
    for part, table in zip(parts, tables, strict=True):
        position_B = position_of.get(row_keys(table["item_id"], table["text_hash"]))
        asked_B = position_B >= 0
        vectors = table["embedding"].combine_chunks()
        part_BD = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
        if x_ND is None:
            x_ND = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(len(keys_N), part_BD.shape[1]))
        if part_BD.shape[1] != x_ND.shape[1]:
            raise ShelfcodeError(f"{part} has embeddings of {part_BD.shape[1]} dimensions, other parts of {x_ND.shape[1]}")
        if not np.isfinite(part_BD[asked_B]).all():
            broken = table["item_id"][int(np.flatnonzero(asked_B & ~np.isfinite(part_BD).all(axis=1))[0])]
            raise ShelfcodeError(f"{part}: the embedding of item_id {broken} is not finite; delete this part and run the embedding again")
        x_ND[position_B[asked_B]] = part_BD[asked_B]
        filled_N[position_B[asked_B]] = True
        text_N[position_B[asked_B]] = item_keys(table["text_hash"].filter(pa.array(asked_B)))
    if x_ND is None or not filled_N.all():
        raise ShelfcodeError(f"{folder} lacks the embeddings of {int((~filled_N).sum())} products; run the embedding again")
    first_U, group_N = np.unique(text_N, return_index=True, return_inverse=True)[1:]
    copies_C = np.flatnonzero(first_U[group_N] != np.arange(len(text_N)))
    for first in range(0, len(copies_C), ROWS_AT_ONCE):
        rows = copies_C[first : first + ROWS_AT_ONCE]
        x_ND[rows] = x_ND[first_U[group_N[rows]]]
    x_ND.flush()
