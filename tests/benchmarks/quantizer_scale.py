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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from synthetic import synthetic_products

from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import fit, start
from shelfcode.quantization.target_search import levels, search
from shelfcode.recipe_file import load_recipe

PARTS = (
    (search, "nearest_neighbours"),
    (search, "smooth"),
    (search, "draw_pairs"),
    (levels, "kmeans"),
    (levels, "weighted_gains"),
    (levels, "move"),
    (levels, "twin_codes"),
)
"""What finding targets consists of. They are timed where they are called."""
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
        phases = Phases(products)
        with parts_timed(phases):
            targets = search.find_targets(recipe, x_NE, taxonomy, torch.device("cpu"))
        phases.end("targets")
        state = start(recipe, targets, Worker())
        for report in fit(recipe, x_NE, taxonomy, targets, state, Worker(), stop_at=steps):
            if report.step % 100 == 0:
                phases.say(f"step {report.step} of {steps}")
        phases.end("training")
        for first in range(0, products, 8192):
            state.model.encode(torch.from_numpy(np.array(x_NE[first : first + 8192])))
        phases.end("encoding")
    seconds = phases.seconds
    return {
        "targets": seconds["targets"],
        "training": steps * recipe.training.batch_size / seconds["training"],
        "encoding": products / seconds["encoding"],
        "peak": float(peak_bytes()),
        "file": products * DIMENSIONS * 4.0,
    }


@contextmanager
def parts_timed(phases: "Phases") -> Iterator[None]:
    """While this lasts, each call of one of the PARTS says how long it took, and with how much memory."""
    with ExitStack() as patches:
        for module, name in PARTS:
            patches.enter_context(patch.object(module, name, said(phases, name, getattr(module, name))))
        yield


def said(phases: "Phases", name: str, part: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        answer = part(*given)
        phases.say(f"    {name}: {time.perf_counter() - began:.1f} s")
        return answer

    return timed


def peak_bytes() -> int:
    """The most memory that this process has had until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Phases:
    """Seconds of each phase; progress goes to stderr, with the memory that it took until then."""

    def __init__(self, products: int) -> None:
        self.products, self.seconds, self.started = products, dict[str, float](), time.perf_counter()
        self.say("products made")

    def end(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self.started = now - self.started, now
        self.say(f"{phase}: {self.seconds[phase]:.0f} s")

    def say(self, text: str) -> None:
        print(f"{self.products:,} products, {peak_bytes() / 1e9:.1f} GB: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
