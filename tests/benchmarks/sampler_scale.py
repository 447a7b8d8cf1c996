"""Time and memory of the hierarchical sampler on synthetic trees: `python tests/benchmarks/sampler_scale.py`.

Nothing here passes or fails. Memory is what numpy allocates from `build_sampler` on; the taxonomy itself, 4 bytes a product, is not in it.
"""

import time
import tracemalloc
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy, build_taxonomy
from shelfcode.quantization.sampler import build_sampler

SCALES = ((10_000, 500), (1_000_000, 5_000), (10_000_000, 20_000))
"""Products and leaves."""


def synthetic_taxonomy(products: int, leaves: int, rng: np.random.Generator) -> Taxonomy:
    """Departments of a thousand leaves or a twentieth of all, aisles of twenty; some products without a path."""
    department = min(1000, leaves // 20)
    paths = [(f"department {leaf // department}", f"aisle {leaf // 20}", f"shelf {leaf}") for leaf in range(leaves)]
    return build_taxonomy(rng.integers(-1, leaves, products, dtype=np.int32), paths)


def main(
    batch_size: Annotated[int, typer.Option(help="products a batch")] = 1024,
    batches: Annotated[int, typer.Option(help="batches that are timed")] = 300,
    seed: Annotated[int, typer.Option(help="of the tree and the batches")] = 0,
) -> None:
    """Print what building a sampler takes, and how fast it draws."""
    table = Table("products", "leaves", "build", "held", "peak", "batches/s")
    for products, leaves in SCALES:
        taxonomy = synthetic_taxonomy(products, leaves, np.random.default_rng(seed))
        tracemalloc.start()
        started = time.perf_counter()
        sampler = build_sampler(taxonomy, seed, batch_size, parent_share=0.5, products_per_slot=4)
        seconds = time.perf_counter() - started
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        started = time.perf_counter()
        for step in range(batches):
            sampler.batch(step)
        rate = batches / (time.perf_counter() - started)
        table.add_row(f"{products:,}", f"{leaves:,}", f"{seconds:.2f} s", f"{held / 1e6:.1f} MB", f"{peak / 1e6:.1f} MB", f"{rate:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
