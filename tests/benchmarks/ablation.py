"""Does each choice in the quantizer earn its place? The default recipe on the Instacart catalog, one choice changed a row.

SHELFCODE_DATA=... python tests/benchmarks/ablation.py [--steps 1000] [--only "lambda 0.1"] [--seed 0] [--set key.sub=value]

Every row is fitted to 95% of the products; the figures are of all, the last columns of products that were held out.
Choices that lost are not in the library; those that are more than a setting are written out here and in plain_rqvae.py, so that
their rows can be run again.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer
from catalogs import load_catalog
from fitted import Fitted, encode, held_out_figures, split_off, train
from numpy.typing import NDArray
from plain_rqvae import Kind, train_plain_rqvae
from quantizer_quality import COLUMNS, FLAVORS, HELD_OUT_COLUMNS, add_row, held_out_cells
from rich.console import Console
from rich.table import Table
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.evaluate import evaluate
from shelfcode.flavor import Recipe
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.recipe_file import load_recipe

Codes = Callable[[Recipe, NDArray[np.float32], Taxonomy, NDArray[np.int64]], NDArray[np.int64]]
"""Fits to the products at some positions and codes all."""


def by_model(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, train_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """The library's way."""
    return encode(_train(recipe, x_NE, taxonomy, train_M).state, x_NE)


def by_targets(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, train_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """The targets as codes of the products that have one; the rest by projection and codebooks, for want of an encoder."""
    fitted = _train(recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": 1})}), x_NE, taxonomy, train_M)
    codes_NL = encode(fitted.state, x_NE)
    codes_NL[train_M] = fitted.targets.codes_ML
    return codes_NL


def by_beam(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, train_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """Coded by the path of codewords that ends nearest to the product, out of the 8 best at each level, instead of greedily."""
    model = _train(recipe, x_NE, taxonomy, train_M).state.model
    chunks = torch.from_numpy(x_NE).split(2048)
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


def by_plain_rqvae(
    codebooks: Kind, recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, train_M: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The ordinary RQ-VAE, its codebooks moving."""
    training = recipe.training
    x_ME, sizes = np.ascontiguousarray(x_NE[train_M]), recipe.quantizer.codebook_sizes
    return train_plain_rqvae(
        x_ME, taxonomy.of(train_M), sizes, training.seed, training.steps_for(len(x_ME)), training.batch_size, codebooks, encode_NE=x_NE
    )


def _train(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, train_M: NDArray[np.int64]) -> Fitted:
    return train(recipe, np.ascontiguousarray(x_NE[train_M]), taxonomy.of(train_M))


NEAR, MOVES = "quantizer.neighbourhood", "quantizer.moves"
HIERARCHICAL = "training.batches=hierarchical"
VARIANTS: dict[str, tuple[tuple[str, ...], Codes]] = {
    "default recipe": ((), by_model),
    "targets, no encoder": ((), by_targets),
    "no moves": ((f"{MOVES}.sweeps=0",), by_model),
    "no smoothing": ((f"{NEAR}.rounds=[0, 0, 0]",), by_model),
    "the same smoothing at each level": ((f"{NEAR}.rounds=[10, 10, 10]",), by_model),
    "smoothing blind to the taxonomy": ((f"{NEAR}.same_leaf=1", f"{NEAR}.sibling_leaf=1", f"{NEAR}.other=1"), by_model),
    "smoothing blind to similarity": ((f"{NEAR}.width=1000",), by_model),
    "smoothing over 10 neighbours": ((f"{NEAR}.neighbours=10",), by_model),
    "pairs with 30 neighbours": ((f"{MOVES}.neighbours=30",), by_model),
    "pairs with 30 at random": ((f"{MOVES}.random_partners=30",), by_model),
    "twins from 0.85 on": ((f"{MOVES}.twin_cosine=0.85",), by_model),
    "no noise": (("quantizer.input_noise=0",), by_model),
    "noise of 1": (("quantizer.input_noise=1",), by_model),
    "temperature 0.1": (("quantizer.target_temperature=0.1",), by_model),
    "layers of 512 and 256": (("quantizer.hidden_sizes=[512, 256]",), by_model),
    "layers of 1024 and 512": (("quantizer.hidden_sizes=[1024, 512]",), by_model),
    "hierarchical batches": ((HIERARCHICAL,), by_model),
    "lambda 0.01": ((HIERARCHICAL, "quantizer.contrastive_weight=0.01"), by_model),
    "lambda 0.1": ((HIERARCHICAL, "quantizer.contrastive_weight=0.1"), by_model),
    "equal codebooks 4 x 512": (("quantizer.codebook_sizes=[512, 512, 512, 512]",), by_model),
    "rising codebooks 64 256 512 1168": (("quantizer.codebook_sizes=[64, 256, 512, 1168]",), by_model),
    "beam search, width 8": ((), by_beam),
    "objective rqvae": (("quantizer.objective=rqvae",), by_model),
    "objective rqvae, lambda 0": (("quantizer.objective=rqvae", "quantizer.contrastive_weight=0"), by_model),
    "objective rqvae, lambda 0.1": (("quantizer.objective=rqvae", "quantizer.contrastive_weight=0.1"), by_model),
    "plain RQ-VAE, moving average": ((), partial(by_plain_rqvae, "moving average")),
    "plain RQ-VAE, gradient codebooks": ((), partial(by_plain_rqvae, "gradient")),
    "plain RQ-VAE, Sinkhorn": ((), partial(by_plain_rqvae, "Sinkhorn")),
    "plain RQ-VAE, rotation trick": ((), partial(by_plain_rqvae, "rotation trick")),
}


def main(
    steps: Annotated[int, typer.Option(help="Training steps of every row.")] = 1000,
    only: Annotated[list[str] | None, typer.Option(help="Names of rows; all when left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of every row.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every row.")] = None,
) -> None:
    """Print the table again with every row that is known."""
    x_NE, taxonomy = load_catalog()
    train_M, held_P = split_off(len(x_NE), 0.05, seed=0)
    table = Table(*COLUMNS, *(f"held out: {column}" for column in HELD_OUT_COLUMNS), title=f"{len(x_NE):,} products, {steps} steps")
    for name in only or VARIANTS:
        fields, codes_of = VARIANTS[name]
        recipe = load_recipe("precision", FLAVORS, [f"training.steps={steps}", f"training.seed={seed}", *(set_ or []), *fields])
        codes_NL = codes_of(recipe, x_NE, taxonomy, train_M)
        held_out = held_out_cells(held_out_figures(x_NE, codes_NL, held_P, taxonomy))
        add_row(table, name, evaluate(x_NE, codes_NL, recipe.quantizer.codebook_sizes, taxonomy), *held_out)
        Console(width=240).print(table)


if __name__ == "__main__":
    typer.run(main)
