"""Speed of training and of encoding, beside the fastest public RQ-VAEs, in one run: python tests/benchmarks/quantizer_speed.py

[--device cuda] [--precision bfloat16] [--set key.sub=value]; wants `pip install -e .[benchmarks]`.

All train with the same layer sizes, batch and codebooks on the same products, the library's own by its default recipe and with its
batches drawn by the sampler; the peers' batches are drawn for nothing. Systems take turns, round after round, so that
whatever else the machine does falls on all of them; the figures are medians over rounds. Nothing here passes or fails.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from public_peers import lcrec_step, vector_quantize_pytorch_step
from rich.console import Console
from rich.table import Table
from synthetic import synthetic_products
from torch import Tensor

from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.codebook import CHUNK
from shelfcode.quantization.fitting import Fit, fit, start
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
PRODUCTS, DIMENSIONS = 50_000, 384
ROWS_A_CALL = 8192
"""Products that one call encodes."""

Timed = Callable[[], int]
"""Does some work and says how many products it was."""


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    precision: Annotated[str, typer.Option(help="of the library's forward pass: float32 or bfloat16")] = "float32",
    rounds: Annotated[int, typer.Option(help="turns that each system takes")] = 9,
    steps: Annotated[int, typer.Option(help="training steps a turn")] = 15,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for the recipe.")] = None,
) -> None:
    """Print the tables."""
    recipe = load_recipe("precision", FLAVORS, [f"training.precision={precision}", "training.steps=1000000", *(set_ or [])])
    x_NE, taxonomy = synthetic_products(PRODUCTS, DIMENSIONS, np.random.default_rng(0))
    torch.set_num_threads(recipe.training.cpus_per_worker)
    place = torch.device(device)
    targets = find_targets(recipe, x_NE, taxonomy, place)
    state = start(recipe, targets, Worker(device=place))
    reports = fit(recipe, x_NE, taxonomy, targets, state, Worker(device=place))
    peers = build_peers(recipe, x_NE, place)

    def train_ours() -> int:
        for _ in range(steps):
            next(reports)
        return steps * recipe.training.batch_size

    def train_peer(step: Callable[[Tensor], None]) -> Timed:
        def work() -> int:
            for number in range(steps):
                step(batch(x_NE, recipe.training.batch_size, number, place))
            return steps * recipe.training.batch_size

        return work

    console, threads = Console(), torch.get_num_threads()
    training = {"shelfcode": train_ours} | {name: train_peer(step) for name, (step, _) in peers.items()}
    rates = measure(training, rounds, place)
    fastest = max(rates[name] for name in peers)
    console.print(
        rate_table(f"training, batches of {recipe.training.batch_size}, {device}, {threads} threads", rates, fastest, "of fastest peer")
    )

    x_on_place_NE = torch.from_numpy(x_NE).to(place)

    def encode_by(encode: Callable[[Tensor], object]) -> Timed:
        def work() -> int:
            for chunk_BE in x_on_place_NE.split(ROWS_A_CALL):
                encode(chunk_BE)
            return len(x_on_place_NE)

        return work

    products = matrix_products(state)
    encoding = {"its matrix products alone": encode_by(products), "shelfcode": encode_by(state.model.encode)}
    encoding |= {name: encode_by(encode) for name, (_, encode) in peers.items()}
    rates = measure(encoding, rounds, place)
    console.print(rate_table(f"encoding, {device}, {threads} threads", rates, rates["its matrix products alone"], "of matrix products"))


def build_peers(
    recipe: Recipe, x_NE: NDArray[np.float32], device: torch.device
) -> dict[str, tuple[Callable[[Tensor], None], Callable[[Tensor], Tensor]]]:
    """Public RQ-VAEs of the recipe's sizes, their codebooks started."""
    quantizer = recipe.quantizer
    shape = (x_NE.shape[1], quantizer.hidden_sizes, quantizer.latent_size, quantizer.codebook_sizes)
    with torch.device(device):
        peers = {"vector-quantize-pytorch": vector_quantize_pytorch_step(*shape), "LC-Rec, by hand": lcrec_step(*shape)}
    for step, _ in peers.values():
        step(batch(x_NE, recipe.training.batch_size, 0, device))
    return peers


def batch(x_NE: NDArray[np.float32], size: int, number: int, device: torch.device) -> Tensor:
    """Products drawn at random, on the device."""
    return torch.from_numpy(x_NE[np.random.default_rng(number).integers(len(x_NE), size=size)]).to(device)


def matrix_products(state: Fit) -> Callable[[Tensor], None]:
    """The matrix products that encoding cannot do without, in the chunks in which the model does them, and nothing else."""
    model = state.model
    weights = [layer.weight for layer in model.encoder if isinstance(layer, torch.nn.Linear)]
    codebooks = [model.codebooks.codewords(level) for level in range(len(model.codebooks.sizes))]

    @torch.inference_mode()
    def multiply(x_BE: Tensor) -> None:
        for chunk_CE in x_BE.split(CHUNK):
            projected_CD, hidden = chunk_CE @ model.projection.weight.T, chunk_CE
            for weight in weights:
                hidden = hidden @ weight.T
            for codewords_KD in codebooks:
                projected_CD @ codewords_KD.T

    return multiply


def measure(systems: dict[str, Timed], rounds: int, device: torch.device) -> dict[str, float]:
    """Median products a second of each system, all taking turns; a first turn warms up."""
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(rounds + 1):
        for name, work in systems.items():
            synchronize(device)
            started = time.perf_counter()
            products = work()
            synchronize(device)
            if turn:
                rates[name].append(products / (time.perf_counter() - started))
    return {name: median(found) for name, found in rates.items()}


def synchronize(device: torch.device) -> None:
    """Wait for the GPU, which runs behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_table(title: str, rates: dict[str, float], reference: float, heading: str) -> Table:
    """Products a second, and the ratio to a reference."""
    table = Table("system", "products/s", heading, title=title)
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / reference:.2f} x")
    return table


if __name__ == "__main__":
    typer.run(main)
