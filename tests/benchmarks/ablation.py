"""Does each choice in the quantizer earn its place? The default recipe on a real catalog, one choice changed a row.

SHELFCODE_DATA=... python tests/benchmarks/ablation.py [--catalog instacart] [--steps 1000] [--seeds 2] [--only "lambda 0.1"]
    [--set key.sub=value]

Every row is fitted to 95% of the products; the first figures are of all, the last ones of the products that were held out. Each figure is
the mean over seeds, Spearman with half the distance between the lowest and the highest.
Choices that lost are not in the library; those that are more than a setting are written out here and in plain_rqvae.py, so that
their rows can be run again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer
from catalogs import load_catalog
from fitted import encode, fitted_to, held_out_figures, split_off
from numpy.typing import NDArray
from plain_rqvae import Kind, train_plain_rqvae
from quantizer_quality import FLAVORS
from rich.console import Console
from rich.table import Table
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.embedding.neighbours import Neighbours
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.flavor import Recipe
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search import search
from shelfcode.quantization.target_search.targets import Targets
from shelfcode.recipe_file import load_recipe

SPEARMAN, HELD_OUT_SPEARMAN = "Spearman", "held out: Spearman"


@dataclass(frozen=True)
class Split:
    """What all rows of one seed are fitted to and judged by."""

    x_NE: NDArray[np.float32]
    taxonomy: Taxonomy
    train_M: NDArray[np.int64]
    held_P: NDArray[np.int64]

    @property
    def x_ME(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.x_NE[self.train_M])


Codes = Callable[[Recipe, Split, Targets], NDArray[np.int64]]
"""Fits to the products that are trained on and codes all."""


def by_model(recipe: Recipe, split: Split, targets: Targets) -> NDArray[np.int64]:
    """The library's way."""
    return encode(fitted_to(recipe, split.x_ME, split.taxonomy.of(split.train_M), targets).state, split.x_NE)


def by_targets(recipe: Recipe, split: Split, targets: Targets) -> NDArray[np.int64]:
    """The targets as codes of the products that have one; the rest by projection and codebooks, for want of an encoder."""
    codes_NL = by_model(recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": 1})}), split, targets)
    codes_NL[split.train_M] = targets.codes_ML
    return codes_NL


def by_beam(recipe: Recipe, split: Split, targets: Targets) -> NDArray[np.int64]:
    """Coded by the path of codewords that ends nearest to the product, out of the 8 best at each level, instead of greedily."""
    model = fitted_to(recipe, split.x_ME, split.taxonomy.of(split.train_M), targets).state.model
    chunks = torch.from_numpy(split.x_NE).split(2048)
    codes_NL: NDArray[np.int64] = torch.cat([beam_search(model, chunk_BE, width=8) for chunk_BE in chunks]).numpy()
    return codes_NL


@torch.no_grad()
def beam_search(model: RQVAE, x_BE: Tensor, width: int) -> Tensor:
    """Paths with the least sum of squared distances of each level's latent to its prefix: int64[B, L]."""
    z_LBD = model.latents(x_BE)
    prefix_BWD, cost_BW = torch.zeros(len(x_BE), 1, z_LBD[0].shape[1]), torch.zeros(len(x_BE), 1)
    path_BWL = torch.zeros(len(x_BE), 1, 0, dtype=torch.int64)
    for level, z_BD in enumerate(z_LBD):
        codewords_KD = model.codebooks.codewords(level)
        residual_BWD = z_BD[:, None] - prefix_BWD
        distance_BWK = residual_BWD.square().sum(dim=2, keepdim=True) + codewords_KD.square().sum(dim=1) - 2 * residual_BWD @ codewords_KD.T
        total_BP = (cost_BW[:, :, None] + distance_BWK).flatten(1)
        cost_BW, pick_BW = total_BP.topk(min(width, total_BP.shape[1]), dim=1, largest=False)
        parent_BW, code_BW = pick_BW // len(codewords_KD), pick_BW % len(codewords_KD)
        rows_B1 = torch.arange(len(x_BE))[:, None]
        prefix_BWD = prefix_BWD[rows_B1, parent_BW] + codewords_KD[code_BW]
        path_BWL = torch.cat([path_BWL[rows_B1, parent_BW], code_BW[:, :, None]], dim=2)
    return path_BWL[:, 0]


def by_plain_rqvae(codebooks: Kind, recipe: Recipe, split: Split, targets: Targets) -> NDArray[np.int64]:
    """The ordinary RQ-VAE, its codebooks moving, from a start of its own."""
    settings, x_ME = recipe.training, split.x_ME
    steps, taxonomy_M = settings.steps_for(len(x_ME)), split.taxonomy.of(split.train_M)
    sizes = recipe.quantizer.codebook_sizes
    return train_plain_rqvae(x_ME, taxonomy_M, sizes, settings.seed, steps, settings.batch_size, codebooks, encode_NE=split.x_NE)


@dataclass(frozen=True)
class Variant:
    """Settings that a row changes.

    Attributes:
        targets: of those that decide what the encoder learns; rows that have the same ones share their targets.
        training: of those that decide how it learns it.
    """

    targets: tuple[str, ...] = ()
    training: tuple[str, ...] = ()
    codes_of: Codes = by_model


NEAR, MOVES = "quantizer.neighbourhood", "quantizer.moves"
HIERARCHICAL, RQVAE_OBJECTIVE = "training.batches=hierarchical", "quantizer.objective=rqvae"
VARIANTS: dict[str, Variant] = {
    "default recipe": Variant(),
    "targets, no encoder": Variant(codes_of=by_targets),
    "no moves": Variant((f"{MOVES}.sweeps=0",)),
    "no kinds": Variant((f"{MOVES}.kinds=0",)),
    "200 kinds": Variant((f"{MOVES}.kinds=200",)),
    "no smoothing": Variant((f"{NEAR}.rounds=[0, 0, 0]",)),
    "the same smoothing at each level": Variant((f"{NEAR}.rounds=[10, 10, 10]",)),
    "smoothing blind to the taxonomy": Variant((f"{NEAR}.same_leaf=1", f"{NEAR}.sibling_leaf=1", f"{NEAR}.other=1")),
    "smoothing blind to similarity": Variant((f"{NEAR}.width=1000",)),
    "smoothing over 10 neighbours": Variant((f"{NEAR}.neighbours=10",)),
    "pairs with 30 neighbours": Variant((f"{MOVES}.neighbours=30",)),
    "pairs with 30 at random": Variant((f"{MOVES}.random_partners=30",)),
    "twins from 0.85 on": Variant((f"{MOVES}.twin_cosine=0.85",)),
    "equal codebooks 4 x 512": Variant(("quantizer.codebook_sizes=[512, 512, 512, 512]",)),
    "rising codebooks 64 256 512 1168": Variant(("quantizer.codebook_sizes=[64, 256, 512, 1168]",)),
    "no noise": Variant(training=("quantizer.input_noise=0",)),
    "noise of 1": Variant(training=("quantizer.input_noise=1",)),
    "temperature 0.1": Variant(training=("quantizer.target_temperature=0.1",)),
    "layers of 512 and 256": Variant(training=("quantizer.hidden_sizes=[512, 256]",)),
    "layers of 1024 and 512": Variant(training=("quantizer.hidden_sizes=[1024, 512]",)),
    "hierarchical batches": Variant(training=(HIERARCHICAL,)),
    "lambda 0.01": Variant(training=(HIERARCHICAL, "quantizer.contrastive_weight=0.01")),
    "lambda 0.1": Variant(training=(HIERARCHICAL, "quantizer.contrastive_weight=0.1")),
    "beam search, width 8": Variant(codes_of=by_beam),
    "objective rqvae": Variant(training=(RQVAE_OBJECTIVE,)),
    "objective rqvae, lambda 0": Variant(training=(RQVAE_OBJECTIVE, "quantizer.contrastive_weight=0")),
    "objective rqvae, lambda 0.1": Variant(training=(RQVAE_OBJECTIVE, "quantizer.contrastive_weight=0.1")),
    "plain RQ-VAE, moving average": Variant(codes_of=partial(by_plain_rqvae, "moving average")),
    "plain RQ-VAE, gradient codebooks": Variant(codes_of=partial(by_plain_rqvae, "gradient")),
    "plain RQ-VAE, Sinkhorn": Variant(codes_of=partial(by_plain_rqvae, "Sinkhorn")),
    "plain RQ-VAE, rotation trick": Variant(codes_of=partial(by_plain_rqvae, "rotation trick")),
}


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci, completejourney or amazon_industrial.")] = "instacart",
    steps: Annotated[int | None, typer.Option(help="Split steps of every row; the recipe's when left out.")] = None,
    seeds: Annotated[int, typer.Option(help="Of every row.")] = 2,
    only: Annotated[list[str] | None, typer.Option(help="Names of rows; all when left out.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every row.")] = None,
) -> None:
    """Print the table again with every row that is known."""
    x_NE, taxonomy = load_catalog(catalog)
    split = Split(x_NE, taxonomy, *split_off(len(x_NE), 0.05, seed=0))
    search.nearest_neighbours = remembered(search.nearest_neighbours)
    targets: dict[tuple[object, ...], Targets] = {}
    common = [*(set_ or []), *([f"training.steps={steps}"] if steps else [])]
    title, rows = f"{catalog}: {len(x_NE):,} products, {steps or 'all'} steps, {seeds} seeds", list[tuple[str, ...]]()
    for name in only or VARIANTS:
        variant, figures = VARIANTS[name], []
        for seed in range(seeds):
            recipe = load_recipe("precision", FLAVORS, [*common, f"training.seed={seed}", *variant.targets, *variant.training])
            if (key := (seed, *variant.targets)) not in targets:
                leaves = taxonomy.without_leaves(recipe.catalog.no_leaf_names).of(split.train_M)
                targets[key] = search.find_targets(recipe, split.x_ME, leaves, torch.device("cpu"))
            codes_NL = variant.codes_of(recipe, split, targets[key])
            figures.append(all_figures(split, codes_NL, recipe.quantizer.codebook_sizes))
        rows.append((name, *cells(figures)))
        show(("quantizer", *figures[0]), rows, title)


def show(columns: tuple[str, ...], rows: list[tuple[str, ...]], title: str) -> None:
    """The table as far as it is known."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=220).print(table)


def remembered(nearest_neighbours: Callable[..., Neighbours]) -> Callable[..., Neighbours]:
    """The same search, which is done once for all rows that ask for as many neighbours with the same seed."""
    found: dict[tuple[int, int], Neighbours] = {}

    def search_once(x_ME: NDArray[np.float32], asked: int, device: torch.device, threads: int, seed: int, *more: object) -> Neighbours:
        if (asked, seed) not in found:
            found[asked, seed] = nearest_neighbours(x_ME, asked, device, threads, seed, *more)
        return found[asked, seed]

    return search_once


def all_figures(split: Split, codes_NL: NDArray[np.int64], sizes: list[int]) -> dict[str, list[float]]:
    """By column; shares of similar pairs have a number for each level, all else has one."""
    all_of = evaluate(split.x_NE, codes_NL, sizes, split.taxonomy)
    held = held_out_figures(split.x_NE, codes_NL, split.held_P, split.taxonomy)
    alignment = all_of.taxonomy_alignment
    top, leaf = (alignment.at(1, 1), alignment.at(2, "leaf")) if alignment else (None, None)
    return {
        SPEARMAN: [all_of.similarity_depth.spearman],
        "L1 L2 L3 L4 at >= 0.9": list(all_of.similarity_depth.similar.share_at_level or []),
        "distinct": [all_of.collisions.distinct_share],
        "AMI L1": _known(top.ami if top else None),
        "purity L1-L2": _known(leaf.purity if leaf else None),
        "unlike": [all_of.collisions.unlike_share],
        HELD_OUT_SPEARMAN: [held.similarity.spearman],
        "held out: L1 L2 L3 L4": list(held.similarity.similar.share_at_level or []),
        "held out: AMI L1": _known(held.ami),
        "held out: purity": _known(held.purity),
        "held out: unlike": [held.unlike_share],
    }


def _known(figure: float | None) -> list[float]:
    return [] if figure is None else [figure]


def cells(figures: list[dict[str, list[float]]]) -> list[str]:
    """Means over seeds, column by column."""
    texts = []
    for column in figures[0]:
        values_SF = np.array([each[column] for each in figures])
        digits = 4 if column in (SPEARMAN, HELD_OUT_SPEARMAN) else 3
        text = " ".join(f"{mean:.{digits}f}" for mean in values_SF.mean(axis=0))
        texts.append(f"{text} ± {np.ptp(values_SF) / 2:.4f}" if digits == 4 else text or "-")
    return texts


if __name__ == "__main__":
    typer.run(main)
