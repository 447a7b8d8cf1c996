"""A copy of a release's catalog with what was inferred beside what is given, part by part."""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.catalog.snapshot import Snapshot
from shelfcode.evaluation.sparse.enrichment import Inferred, enriched_texts, inferred_columns
from shelfcode.workspace import Workspace

Value = TypeVar("Value")


def write_enriched(
    workspace: Workspace, snapshot: Snapshot, positions_N: NDArray[np.int64], sparse: pa.Table, inferred: Inferred,
    leaves: Sequence[str | None], release: str,
    out: Workspace,
) -> None:  # fmt: skip
    """Write the catalog of a snapshot into a folder, with inferred columns, enriched texts, `sparse` and `p_change_l1`.

    Parts that are there already are replaced, and so are columns of these names, which an earlier enrichment left.

    Args:
        positions_N: places of the coded products in the snapshot, rising.
        sparse: the sparse table, a row each of them.
        inferred, leaves: of the sparse ones among them, in their order; leaves that their texts are to say, None for none.
    """
    for old in out.names(""):
        if old.startswith("part-") and old.endswith(".parquet"):
            out.remove(old)
    sparse_N = np.array(sparse["sparse"].to_pylist(), bool)
    chance_N, first, begun = sparse["p_change_l1"].to_numpy(), 0, 0
    for number, part in enumerate(snapshot.parts):
        table = workspace.read_table(part.path)
        table = table.drop_columns([name for name in table.column_names if name.startswith("_")])
        low, high = np.searchsorted(positions_N, [first, first + len(table)])
        place_B = positions_N[low:high] - first
        at_Q = place_B[sparse_N[low:high]]
        chance_B = np.full(len(table), np.nan)
        chance_B[place_B] = chance_N[low:high]
        is_sparse_B = np.zeros(len(table), bool)
        is_sparse_B[at_Q] = True
        mine = slice(begun, begun + len(at_Q))
        spread = {name: _spread(values[mine], at_Q, len(table)) for name, values in inferred.items()}
        added = inferred_columns(spread, release, len(table))
        texts = enriched_texts(table, spread, _spread(leaves[mine], at_Q, len(table)))
        columns = {**dict(zip(added.column_names, added.columns, strict=True)), **dict(zip(texts.column_names, texts.columns, strict=True))}
        columns |= {"sparse": pa.array(is_sparse_B), "p_change_l1": pa.array(chance_B, pa.float32(), from_pandas=True)}
        out.write_table(f"part-{number:06d}.parquet", _beside(table, columns))
        first, begun = first + len(table), begun + len(at_Q)


def _spread(values: Sequence[Value | None], at_Q: NDArray[np.int64], rows: int) -> list[Value | None]:
    spread: list[Value | None] = [None] * rows
    for at, value in zip(at_Q.tolist(), values, strict=True):
        spread[at] = value
    return spread


def _beside(table: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    table = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table
