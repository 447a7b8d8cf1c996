"""Memory of the keys that a night's driver holds, per product: its arrays alone, made as the night makes them, without catalog or Ray.

python tests/benchmarks/driver_keys.py [--products 16000000]
"""

import resource
from typing import Annotated

import numpy as np
import typer

from shelfcode.catalog.changes import compare_products
from shelfcode.keys import index_keys


def main(products: Annotated[int, typer.Option(help="Of the night's catalog, all stored already.")] = 16_000_000) -> None:
    """Hold the keys, and print the peak."""
    before = peak()
    rng = np.random.default_rng(0)
    item_keys_N, row_keys_N = (rng.integers(0, 2**63, products).astype(np.uint64) for _ in range(2))
    stored = index_keys(row_keys_N, np.arange(products) // 2048)  # of the embeddings table
    rows_N = row_keys_N[index_keys(item_keys_N).get(item_keys_N)]  # in the snapshot's order
    positions_N = np.flatnonzero((stored.get(rows_N) >= 0) & (index_keys(row_keys_N).get(rows_N) >= 0))
    compare_products(item_keys_N.copy(), np.sort(row_keys_N), item_keys_N[positions_N], rows_N[positions_N])
    print(f"{products:,} products: {(peak() - before) / products:.0f} bytes each")


def peak() -> int:
    """The most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    typer.run(main)
