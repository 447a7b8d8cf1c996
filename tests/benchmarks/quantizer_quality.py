"""What the default quantizer is worth on a real catalog, beside residual k-means, in one run.

SHELFCODE_DATA=... python tests/benchmarks/quantizer_quality.py [--catalog instacart|esci|completejourney|amazon_industrial] [--seeds 1]
    [--set key.sub=value] [--variant "name: key=value key=value"] [--held-out 0.05]

The row below the default recipe is the same recipe with the other objective, the RQ-VAE as published. Each --variant adds a row: the recipe
with some fields changed. Figures are those of `evaluation.json`. The second table is of
products that no row of it was trained on, against all others.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from catalogs import load_catalog
from fitted import HeldOutFigures, encode, held_out_figures, split_off, train
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth
from shelfcode.flavor import Recipe
from shelfcode.quantization.codebook import kmeans, nearest
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"
COLUMNS = (
    "quantizer", "Spearman", "L1 L2 L3 L4 at >= 0.9", "distinct", "codewords used", "L1 largest / even", "AMI L1", "purity L1-L2",
    "collisions: cosine, unlike",
)  # fmt: skip
HELD_OUT_COLUMNS = ("Spearman", "L1 L2 L3 L4 at >= 0.9", "AMI L1", "purity L1-L2", "unlike among colliding")
MUST = ("must", ">= 0.810", ">= .995 ... .88 .50", ">= .83", ">= .97", "<= 3", ">= .49", ">= .79", "..., <= .05")
"""What the default recipe is to reach on the Instacart catalog."""


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci, completejourney or amazon_industrial.")] = "instacart",
    seeds: Annotated[int, typer.Option(help="Seeds of the trained quantizers.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every recipe.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="'name: key=value key=value': one more row.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of products for the second table; 0 leaves it out.")] = 0.05,
) -> None:
    """Print the tables."""
    x_NE, taxonomy = load_catalog(catalog)
    default = load_recipe("precision", FLAVORS, set_ or [])
    rows = [
        ("default recipe", default),
        ("objective rqvae", load_recipe("precision", FLAVORS, [*(set_ or []), "quantizer.objective=rqvae"])),
    ]
    for text in variant or []:
        name, _, fields = text.partition(":")
        rows.append((name.strip(), load_recipe("precision", FLAVORS, [*(set_ or []), *fields.split()])))
    sizes_of_kmeans = ((512,) * 4, (64, 256, 512, 1168), tuple(default.quantizer.codebook_sizes))
    console = Console(width=200)
    table = Table(*COLUMNS, "seconds", title=f"{catalog}: {len(x_NE):,} products, {torch.get_num_threads()} threads")
    for sizes in sizes_of_kmeans:
        started = time.perf_counter()
        codes_NL = residual_kmeans(x_NE, np.arange(len(x_NE)), sizes)
        seconds = time.perf_counter() - started
        add_row(table, f"residual k-means {' '.join(map(str, sizes))}", evaluate(x_NE, codes_NL, sizes, taxonomy), f"{seconds:.0f}")
    for name, recipe in rows:
        for seed in range(seeds):
            seeded = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": recipe.training.seed + seed})})
            started = time.perf_counter()
            codes_NL = encode(train(seeded, x_NE, taxonomy).state, x_NE)
            seconds = time.perf_counter() - started
            label = name + (f", seed {seeded.training.seed}" if seeds > 1 else "")
            add_row(table, label, evaluate(x_NE, codes_NL, seeded.quantizer.codebook_sizes, taxonomy), f"{seconds:.0f}")
    table.add_row(*MUST, "")
    console.print(table)
    if held_out:
        console.print(held_out_table(x_NE, taxonomy, rows, sizes_of_kmeans, held_out))


def held_out_table(
    x_NE: NDArray[np.float32],
    taxonomy: Taxonomy,
    rows: list[tuple[str, Recipe]],
    sizes_of_kmeans: tuple[tuple[int, ...], ...],
    share: float,
) -> Table:
    """Quantizers fitted to the rest of the products, judged by pairs with one that was held out."""
    train_M, held_P = split_off(len(x_NE), share, seed=0)
    table = Table("quantizer", *HELD_OUT_COLUMNS, title=f"{len(held_P):,} products never seen in training, against all")
    for sizes in sizes_of_kmeans:
        codes_NL = residual_kmeans(x_NE, train_M, sizes)
        figures = held_out_figures(x_NE, codes_NL, held_P, taxonomy)
        table.add_row(f"residual k-means {' '.join(map(str, sizes))}", *held_out_cells(figures))
    for name, recipe in rows:
        codes_NL = encode(train(recipe, np.ascontiguousarray(x_NE[train_M]), taxonomy.of(train_M)).state, x_NE)
        table.add_row(name, *held_out_cells(held_out_figures(x_NE, codes_NL, held_P, taxonomy)))
    table.add_row("must", ">= 0.792", ">= .985 ... .36", ">= .46", "", "<= .16")
    return table


def held_out_cells(figures: HeldOutFigures) -> tuple[str, ...]:
    """As HELD_OUT_COLUMNS names them."""
    ami, purity = ("-" if value is None else f"{value:.3f}" for value in (figures.ami, figures.purity))
    return *similarity_cells(figures.similarity), ami, purity, f"{figures.unlike_share:.3f}"


def residual_kmeans(x_NE: NDArray[np.float32], train_M: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Codes of plain residual k-means in the embedding space, fitted to some of the products."""
    residual_NE, codes = torch.from_numpy(x_NE), []
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        codewords_KE = kmeans(residual_NE[train_M], size, 20, 1, generator)
        codes.append(nearest(residual_NE, codewords_KE))
        residual_NE = residual_NE - codewords_KE[codes[-1]]
    codes_NL: NDArray[np.int64] = torch.stack(codes, dim=1).numpy()
    return codes_NL


def similarity_cells(similarity: SimilarityDepth) -> tuple[str, str]:
    """Spearman with its interval, and the shares that agree, as a table shows them."""
    spearman = f"{similarity.spearman:.4f} [{similarity.spearman_low:.3f}, {similarity.spearman_high:.3f}]"
    return spearman, " ".join(f"{share:.3f}" for share in similarity.similar.share_at_level or ())


def add_row(table: Table, name: str, evaluation: Evaluation, *more: str) -> None:
    """One quantizer's figures, and what else the table has columns for."""
    levels, collisions, alignment = evaluation.codebook_health.levels, evaluation.collisions, evaluation.taxonomy_alignment
    top, leaf = (alignment.at(1, 1), alignment.at(2, "leaf")) if alignment else (None, None)
    table.add_row(
        name,
        *similarity_cells(evaluation.similarity_depth),
        f"{collisions.distinct_share:.3f}",
        " ".join(f"{level.used_share:.3f}" for level in levels),
        f"{levels[0].largest_over_even:.2f}",
        f"{top.ami:.3f}" if top and top.ami is not None else "-",
        f"{leaf.purity:.3f}" if leaf and leaf.purity is not None else "-",
        f"{collisions.mean_cosine:.3f}, {collisions.unlike_share:.3f}",
        *more,
    )


if __name__ == "__main__":
    typer.run(main)
