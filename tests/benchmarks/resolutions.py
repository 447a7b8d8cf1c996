"""What each number of levels is good for: one training, and every prefix of its codes as an ID of its own.

SHELFCODE_DATA=... python tests/benchmarks/resolutions.py [--catalog instacart] [--sizes 24,800,584,640] [--set key.sub=value] [--quick]

The prefix of a longer ID is the shorter one: a surface takes as many levels as suit it. Cohesion is the mean cosine of a product with the
others of its prefix, and unlike the share of products for which it is below 0.8. The last columns are homogeneity: how much of what there
is to know of a product's department and leaf its prefix tells. --quick takes the codes that
training aims at.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from catalogs import load_catalog
from fitted import encode, train
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import homogeneity_score

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.collisions import UNLIKE_BELOW
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.recipe_file import load_recipe

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci or completejourney.")] = "instacart",
    sizes: Annotated[list[str] | None, typer.Option(help="Codewords of each level; may be given again: a table each.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value")] = None,
    quick: Annotated[bool, typer.Option(help="The targets alone.")] = False,
) -> None:
    """Print a table for each list of sizes."""
    x_NE, taxonomy = load_catalog(catalog)
    for each in sizes or ["24,800,584,640"]:
        recipe = load_recipe("precision", FLAVORS, [*(set_ or []), f"quantizer.codebook_sizes=[{each}]"])
        if quick:
            codes_NL = find_targets(recipe, x_NE, taxonomy, torch.device("cpu")).codes_ML.astype(np.int64)
        else:
            codes_NL = encode(train(recipe, x_NE, taxonomy).state, x_NE)
        Console(width=160).print(table_of(f"{catalog}, {each}", x_NE, codes_NL, recipe.quantizer.codebook_sizes, taxonomy))


def table_of(title: str, x_NE: NDArray[np.float32], codes_NL: NDArray[np.int64], sizes: list[int], taxonomy: Taxonomy) -> Table:
    """A row for each length of prefix."""
    figures = evaluate(x_NE, codes_NL, tuple(sizes), taxonomy)
    together = figures.similarity_depth.similar.share_at_level or ()
    table = Table(
        "levels", "prefixes", "products in one: median, largest", "alone", "pairs >= 0.9 together", "cohesion", "unlike",
        "tells the department", "the leaf", title=f"{title}: Spearman {figures.similarity_depth.spearman:.4f}",
    )  # fmt: skip
    top_N, leaf_N = taxonomy.labels_at(1), taxonomy.leaf_of_N
    for level, share in enumerate(together):
        _, prefix_N, count_G = np.unique(codes_NL[:, : level + 1], axis=0, return_inverse=True, return_counts=True)
        cohesion, unlike = within(x_NE, prefix_N, count_G)
        table.add_row(
            str(level + 1), f"{len(count_G):,}", f"{np.median(count_G[prefix_N]):,.0f}, {count_G.max():,}",
            f"{(count_G[prefix_N] == 1).mean():.3f}", f"{share:.3f}", f"{cohesion:.3f}", f"{unlike:.3f}",
            f"{homogeneity_score(top_N, prefix_N):.3f}", f"{homogeneity_score(leaf_N, prefix_N):.3f}",
        )  # fmt: skip
    return table


def within(x_NE: NDArray[np.float32], prefix_N: NDArray[np.int64], count_G: NDArray[np.int64]) -> tuple[float, float]:
    """Mean cosine of a product with the others of its prefix, over products that have others, and the share for which it is low."""
    sums_GE = np.zeros((len(count_G), x_NE.shape[1]))
    np.add.at(sums_GE, prefix_N, x_NE)
    others_N = count_G[prefix_N] - 1
    mean_M = ((np.einsum("ne,ne->n", sums_GE[prefix_N], x_NE) - 1) / others_N.clip(min=1))[others_N > 0]
    return float(mean_M.mean()), float((mean_M < UNLIKE_BELOW).mean())


if __name__ == "__main__":
    typer.run(main)
