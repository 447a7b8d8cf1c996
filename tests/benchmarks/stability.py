"""How many products keep their semantic ID when a flavor is trained again, after 5% new products and with another seed.

SHELFCODE_DATA=... python tests/benchmarks/stability.py [--catalog instacart] [--new 0.05] [--seeds 1] [--generations 1]

Shares are of the products that the first training saw. "renamed" is the free retraining with its codewords named after the first one's.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from catalogs import load_catalog
from fitted import encode, split_off, train
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.flavor import Recipe
from shelfcode.quantization.codeword_naming import codeword_names, rename
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.recipe_file import load_recipe
from shelfcode.semantic_id import shared_depth

FLAVORS = Path(__file__).parents[2] / "jobs/flavors"


@dataclass(frozen=True)
class Retrained:
    """One way to train again: the codes of all products, the model where it is published as it is, and how long it took."""

    name: str
    codes_NL: NDArray[np.int64]
    model: RQVAE
    seconds: float


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci or amazon_industrial.")] = "instacart",
    new: Annotated[float, typer.Option(help="New products, as a share of the old ones; as many again with each generation.")] = 0.05,
    seeds: Annotated[int, typer.Option(help="Seeds of the second training.")] = 1,
    generations: Annotated[int, typer.Option(help="Times that warm training goes on from the last one.")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every recipe.")] = None,
) -> None:
    """Print the table."""
    x_NE, taxonomy = load_catalog(catalog)
    recipe = load_recipe("precision", FLAVORS, set_ or [])
    first_M, later_P = split_off(len(x_NE), generations * new / (1 + generations * new), seed=0)
    steps = np.array_split(np.random.default_rng(0).permutation(later_P), generations)
    parent = train(recipe, np.ascontiguousarray(x_NE[first_M]), taxonomy.of(first_M)).state.model.eval()
    old_ML = encode_model(parent, x_NE[first_M])
    table = Table(
        "retrained", "L1", "L2", "L3", "whole ID", "Spearman", "distinct", "seconds", title=f"{catalog}: {len(first_M):,} old products"
    )
    add_row(
        table,
        Retrained("not at all: the parent codes the new ones", encode_model(parent, x_NE), parent, 0),
        old_ML,
        first_M,
        x_NE,
        taxonomy,
    )
    for seed in range(1, seeds + 1):
        free = retrain("free", recipe, seed, x_NE, taxonomy, None)
        add_row(table, free, old_ML, first_M, x_NE, taxonomy)
        names = codeword_names(old_ML, free.codes_NL[first_M], recipe.quantizer.codebook_sizes)
        renamed = Retrained("free, renamed", rename(free.codes_NL, names), free.model, free.seconds)
        add_row(table, renamed, old_ML, first_M, x_NE, taxonomy)
        for stability in ("warm", "frozen_coarse"):
            for generation, result in enumerate(heirs(stability, recipe, seed, x_NE, taxonomy, parent, first_M, steps), start=1):
                label = f"{stability}, time {generation}" if generations > 1 else stability
                seen_M = np.sort(np.concatenate([first_M, *steps[:generation]]))
                add_row(table, replace(result, name=label), old_ML, first_M, x_NE, taxonomy, seen_M)
    table.add_row("must: warm", "<= .04", "", "", "<= .25", "free - 0.01", "", "")
    table.add_row("must: frozen_coarse", "0", "0", "", "", "", "", "")
    Console(width=160).print(table)


def heirs(
    stability: str, recipe: Recipe, seed: int, x_NE: NDArray[np.float32], taxonomy: Taxonomy, parent: RQVAE, first_M: NDArray[np.int64],
    steps: Sequence[NDArray[np.int64]],
) -> list[Retrained]:  # fmt: skip
    """One retraining after another, each from the last, as products are added."""
    results, seen_M = [], first_M
    for generation, added in enumerate(steps):
        seen_M = np.sort(np.concatenate([seen_M, added]))
        result = retrain(stability, recipe, seed + generation, np.ascontiguousarray(x_NE[seen_M]), taxonomy.of(seen_M), parent)
        parent = result.model
        results.append(Retrained(result.name, encode_model(parent, x_NE), parent, result.seconds))
    return results


def retrain(
    stability: str, recipe: Recipe, seed: int, x_NE: NDArray[np.float32], taxonomy: Taxonomy, parent: RQVAE | None
) -> Retrained:  # fmt: skip
    """Train again, and where there is a parent, name the codewords after the codes that it gives, as the job does."""
    started = time.perf_counter()
    training = recipe.training.model_copy(update={"seed": seed})
    fitted = train(recipe.model_copy(update={"training": training, "stability": stability}), x_NE, taxonomy, parent=parent)
    codes_NL = encode(fitted.state, x_NE)
    model = fitted.state.model.eval()
    if parent:
        old_NL = encode_model(parent, x_NE)
        names = codeword_names(old_NL, codes_NL, recipe.quantizer.codebook_sizes)
        model.codebooks.rename(names)
        codes_NL = rename(codes_NL, names)
    return Retrained(stability, codes_NL, model, time.perf_counter() - started)


def encode_model(model: RQVAE, x_NE: NDArray[np.float32]) -> NDArray[np.int64]:
    codes_NL: NDArray[np.int64] = model.encode(torch.from_numpy(np.ascontiguousarray(x_NE))).numpy()
    return codes_NL


def add_row(
    table: Table, retrained: Retrained, old_ML: NDArray[np.int64], first_M: NDArray[np.int64], x_NE: NDArray[np.float32],
    taxonomy: Taxonomy, judged_M: NDArray[np.int64] | None = None,
) -> None:  # fmt: skip
    """Churn of the old products, and what the codes are worth over all products, or those that there are at that time."""
    rows = np.arange(len(x_NE)) if judged_M is None else judged_M
    sizes = retrained.model.codebooks.sizes
    evaluation = evaluate(np.ascontiguousarray(x_NE[rows]), retrained.codes_NL[rows], sizes, taxonomy.of(rows))
    kept_M = shared_depth(old_ML, retrained.codes_NL[first_M])
    changed = [f"{float((kept_M < level).mean()):.2%}" for level in range(1, len(sizes) + 1)]
    spearman = f"{evaluation.similarity_depth.spearman:.4f}"
    table.add_row(retrained.name, *changed, spearman, f"{evaluation.collisions.distinct_share:.3f}", f"{retrained.seconds:.0f}")


if __name__ == "__main__":
    typer.run(main)
