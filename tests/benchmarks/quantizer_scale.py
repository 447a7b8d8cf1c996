"""Time and memory of the quantizer as the catalog grows: python tests/benchmarks/quantizer_scale.py [--products 10000 ...]

Synthetic products of 384 dimensions in a memory-mapped file, as a worker sees them; the default recipe; every size in a process of
its own, whose peak memory is reported. The memory-mapped embeddings are part of it, though the system can drop them.
Nothing here passes or fails.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from synthetic import synthetic_products

from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import fit, start
from shelfcode.quantization.targets import find_targets
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
DIMENSIONS = 384


def main(
    products: Annotated[list[int] | None, typer.Option(help="Sizes of the catalog; a row each.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps that are timed.")] = 100,
    alone: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Print the table."""
    if alone:
        assert products
        print(json.dumps(measure(products[0], steps)))
        return
    table = Table("products", "embeddings", "targets", "training", "encoding", "peak memory", title="2 cores, float32")
    for size in products or [10_000, 100_000, 1_000_000]:
        command = [sys.executable, __file__, "--alone", "--products", str(size), "--steps", str(steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        table.add_row(
            f"{size:,}", f"{row['file'] / 1e9:.2f} GB", f"{row['targets']:.0f} s", f"{row['training']:,.0f} products/s",
            f"{row['encoding']:,.0f} products/s", f"{row['peak'] / 1e9:.1f} GB",
        )  # fmt: skip
        Console(width=140).print(table)


def measure(products: int, steps: int) -> dict[str, float]:
    """Seconds, products a second and bytes of one size."""
    recipe = load_recipe("precision", FLAVORS, [f"training.products_max={products}"])
    torch.set_num_threads(recipe.training.cpus_per_worker)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        x_NE = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(products, DIMENSIONS))
        _, taxonomy = synthetic_products(products, DIMENSIONS, np.random.default_rng(0), into=x_NE)
        x_NE.flush()
        x_NE = np.load(path, mmap_mode="r")
        started = time.perf_counter()
        targets = find_targets(recipe, x_NE, taxonomy, torch.device("cpu"))
        found = time.perf_counter()
        state = start(recipe, targets, Worker())
        for _ in fit(recipe, x_NE, taxonomy, targets, state, Worker(), stop_at=steps):
            continue
        trained = time.perf_counter()
        for first in range(0, products, 8192):
            state.model.encode(torch.from_numpy(np.array(x_NE[first : first + 8192])))
        encoded = time.perf_counter()
    return {
        "targets": found - started,
        "training": steps * recipe.training.batch_size / (trained - found),
        "encoding": products / (encoded - trained),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
        "file": products * DIMENSIONS * 4.0,
    }


if __name__ == "__main__":
    typer.run(main)
