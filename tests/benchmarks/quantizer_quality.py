"""What the default quantizer is worth on the Instacart catalog, beside residual k-means, in one run.

SHELFCODE_DATA=... python tests/benchmarks/quantizer_quality.py [--seeds 1] [--set key.sub=value] [--variant "name: key=value key=value"]

Each --variant adds a row: the recipe with some fields changed. Figures are those of `evaluation.json`.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from instacart import load_instacart
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.evaluate import Evaluation, evaluate
from shelfcode.flavor import Recipe, load_recipe
from shelfcode.quantization.codebook import ResidualCodebooks
from shelfcode.quantization.fitting import Worker, fit, start

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
COLUMNS = (
    "quantizer", "Spearman", "L1 L2 L3 L4 at >= 0.9", "distinct", "codewords used", "L1 largest / even", "AMI L1", "purity L1-L2",
    "seconds", "rows/s",
)  # fmt: skip


def main(
    seeds: Annotated[int, typer.Option(help="Seeds of the trained quantizers.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every recipe.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="'name: key=value key=value': one more row.")] = None,
) -> None:
    """Print the table."""
    x_ND, taxonomy = load_instacart()
    default = load_recipe("precision", FLAVORS, set_ or [])
    table = Table(*COLUMNS, title=f"{len(x_ND):,} products, {torch.get_num_threads()} threads")
    console = Console()
    for sizes in ((512,) * 4, tuple(default.quantizer.codebook_sizes)):
        started = time.perf_counter()
        codes_NL = residual_kmeans(x_ND, sizes)
        seconds = time.perf_counter() - started
        add_row(table, f"residual k-means {' '.join(map(str, sizes))}", evaluate(x_ND, codes_NL, sizes, taxonomy), f"{seconds:.0f}", "-")
    rows = [("default recipe", default)]
    for text in variant or []:
        name, _, fields = text.partition(":")
        rows.append((name.strip(), load_recipe("precision", FLAVORS, [*(set_ or []), *fields.split()])))
    for name, recipe in rows:
        for seed in range(seeds):
            seeded = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": recipe.training.seed + seed})})
            started = time.perf_counter()
            codes_NL, trained_rows = train_and_encode(seeded, x_ND, taxonomy)
            seconds = time.perf_counter() - started
            label = name + (f", seed {seeded.training.seed}" if seeds > 1 else "")
            evaluation = evaluate(x_ND, codes_NL, seeded.quantizer.codebook_sizes, taxonomy)
            add_row(table, label, evaluation, f"{seconds:.0f}", f"{trained_rows / seconds:,.0f}")
            console.print(table)


def residual_kmeans(x_ND: NDArray[np.float32], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Codes of plain residual k-means in the embedding space, as the quantizer's own k-means finds them."""
    codebooks = ResidualCodebooks(sizes, x_ND.shape[1])
    codebooks.set_up(torch.from_numpy(x_ND), 20, torch.Generator().manual_seed(0))
    return codebooks.assign(torch.from_numpy(x_ND))[0].numpy()


def train_and_encode(recipe: Recipe, x_ND: NDArray[np.float32], taxonomy: Taxonomy) -> tuple[NDArray[np.int64], int]:
    """Codes from a quantizer trained by one worker, and how many rows its batches held."""
    state = start(recipe, x_ND, Worker())
    for _ in fit(recipe, x_ND, taxonomy, state, Worker()):
        continue
    chunks = (state.model.encode(chunk_BE).numpy() for chunk_BE in torch.split(torch.from_numpy(x_ND), 8192))
    return np.concatenate(list(chunks)), state.step * recipe.training.batch_size


def add_row(table: Table, name: str, evaluation: Evaluation, *more: str) -> None:
    """One quantizer's figures, and what else the table has columns for."""
    similarity, levels = evaluation.similarity_depth, evaluation.codebook_health.levels
    alignment = evaluation.taxonomy_alignment
    top, leaf = (alignment.at(1, 1), alignment.at(2, "leaf")) if alignment else (None, None)
    table.add_row(
        name,
        f"{similarity.spearman:.4f} [{similarity.spearman_low:.3f}, {similarity.spearman_high:.3f}]",
        " ".join(f"{share:.3f}" for share in similarity.similar.share_at_level or ()),
        f"{evaluation.collisions.distinct_share:.3f}",
        " ".join(f"{level.used_share:.3f}" for level in levels),
        f"{levels[0].largest_over_even:.2f}",
        f"{top.ami:.3f}" if top and top.ami is not None else "-",
        f"{leaf.purity:.3f}" if leaf and leaf.purity is not None else "-",
        *more,
    )


if __name__ == "__main__":
    typer.run(main)
