"""Both objectives, each with more and less of the other's terms: does a mixture beat both?

SHELFCODE_DATA=... python tests/benchmarks/objective_mixtures.py [--catalog instacart] [--steps 1000] [--seeds 3] [--only "rqvae"]
    [--set key.sub=value]

The weight of a term is given as its share: how long its gradient is, over all weights of the encoder, beside that of what it is added to.
The share is measured on eight batches after 50 steps without the term, and lambda is what gives it. Every row is fitted to 95% of the
products, and starts from the same targets; figures are means over seeds, as in ablation.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from unittest.mock import patch

import numpy as np
import torch
import typer
from ablation import HIERARCHICAL, RQVAE_OBJECTIVE, Split, all_figures, cells, show
from catalogs import load_catalog
from fitted import encode, split_off
from quantizer_quality import FLAVORS
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization import fitting
from shelfcode.quantization.objectives import Losses, NeighbourhoodObjective, objective_of, squared_error
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets
from shelfcode.recipe_file import load_recipe

STEPS_BEFORE = 50
BATCHES_MEASURED = 8


class WithReconstruction(NeighbourhoodObjective):
    """The cross-entropy of target codes, and the reconstruction from the codes that the model gives, which reaches the encoder."""

    def __init__(self, recipe: Recipe, model: RQVAE, targets: Targets, weight: float = 1.0) -> None:
        super().__init__(recipe, model, targets)
        self.weight = weight

    def forward(self, x_BE: Tensor, seen_BE: Tensor, target_BL: Tensor) -> Losses:
        """Losses of a batch, the added term among those of quantization."""
        plain = super().forward(x_BE, seen_BE, target_BL)
        added = self.weight * self.reconstruction(plain.z_LBD, x_BE)
        return Losses(plain.z_LBD, plain.reconstruction, plain.quantization + added)

    def reconstruction(self, z_LBD: list[Tensor], x_BE: Tensor) -> Tensor:
        """Squared error straight through the codes that the model gives: a scalar."""
        codes_BL = self.model.codebooks.assign([z_BD.detach() for z_BD in z_LBD])
        prefix_BD = sum(self.model.codebooks.codewords(level)[codes_BL[:, level]] for level in range(len(z_LBD)))
        z_BD = torch.stack(z_LBD).mean(dim=0)
        return squared_error(self.model.decode(prefix_BD + z_BD - z_BD.detach()), x_BE)


@dataclass(frozen=True)
class Mixture:
    """A row.

    Attributes:
        settings: of the objective.
        contrast: share of the contrastive term.
        reconstruction: share of the reconstruction that is added to the neighbourhood objective.
    """

    settings: tuple[str, ...] = ()
    contrast: float = 0.0
    reconstruction: float = 0.0


MIXTURES = {
    "neighbourhood": Mixture(),
    "neighbourhood, hierarchical batches": Mixture((HIERARCHICAL,)),
    "neighbourhood, contrast 0.05": Mixture((HIERARCHICAL,), contrast=0.05),
    "neighbourhood, contrast 0.2": Mixture((HIERARCHICAL,), contrast=0.2),
    "neighbourhood, reconstruction 0.05": Mixture(reconstruction=0.05),
    "neighbourhood, reconstruction 0.2": Mixture(reconstruction=0.2),
    "rqvae": Mixture((RQVAE_OBJECTIVE,)),
    "rqvae, contrast 0.05": Mixture((RQVAE_OBJECTIVE,), contrast=0.05),
    "rqvae, contrast 0.2": Mixture((RQVAE_OBJECTIVE,), contrast=0.2),
    "rqvae, contrast 0.5": Mixture((RQVAE_OBJECTIVE,), contrast=0.5),
}


def main(
    catalog: Annotated[str, typer.Option(help="instacart, esci, completejourney or amazon_industrial.")] = "instacart",
    steps: Annotated[int | None, typer.Option(help="Training steps of every row; the recipe's when left out.")] = None,
    seeds: Annotated[int, typer.Option(help="Of every row.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Names of rows; all when left out.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.sub=value for every row.")] = None,
) -> None:
    """Print the table again with every row that is known."""
    x_NE, taxonomy = load_catalog(catalog)
    split = Split(x_NE, taxonomy, *split_off(len(x_NE), 0.05, seed=0))
    targets = dict[int, Targets]()
    common = [*(set_ or []), *([f"training.steps={steps}"] if steps else [])]
    title, rows = f"{catalog}: {len(x_NE):,} products, {steps or 'all'} steps, {seeds} seeds", list[tuple[str, ...]]()
    for name in only or MIXTURES:
        mixture, figures, weights = MIXTURES[name], [], []
        for seed in range(seeds):
            given = [*common, f"training.seed={seed}", *mixture.settings, "quantizer.contrastive_weight=0"]
            recipe = load_recipe("precision", FLAVORS, given)
            leaves = taxonomy.without_leaves(recipe.catalog.no_leaf_names).of(split.train_M)
            if seed not in targets:
                targets[seed] = find_targets(recipe, split.x_ME, leaves, torch.device("cpu"))
            state, weight = trained(recipe, split, leaves, targets[seed], mixture)
            weights.append(weight)
            figures.append(all_figures(split, encode(state, x_NE), recipe.quantizer.codebook_sizes))
        rows.append((name, f"{np.mean(weights):.3g}", *cells(figures)))
        show(("objective", "lambda", *figures[0]), rows, title)


def trained(recipe: Recipe, split: Split, taxonomy: Taxonomy, targets: Targets, mixture: Mixture) -> tuple[fitting.Fit, float]:
    """The model, and the weight that gave the added term its share; 0 without one."""
    state, weight = fitting.start(recipe, targets, Worker()), 0.0
    objective: Callable[..., object] = objective_of
    if mixture.contrast or mixture.reconstruction:
        weight = weight_of_share(recipe, split, taxonomy, targets, mixture)
    if mixture.contrast:
        quantizer = recipe.quantizer.model_copy(update={"contrastive_weight": weight})
        recipe = recipe.model_copy(update={"quantizer": quantizer})
    if mixture.reconstruction:
        objective = lambda recipe, model, targets: WithReconstruction(recipe, model, targets, weight)  # noqa: E731
    with patch.object(fitting, "objective_of", objective):
        for _ in fitting.fit(recipe, split.x_ME, taxonomy, targets, state, Worker()):
            continue
    return state, weight


def weight_of_share(recipe: Recipe, split: Split, taxonomy: Taxonomy, targets: Targets, mixture: Mixture) -> float:
    """The weight at which the gradient of the added term is `share` times as long as that of the objective."""
    state = fitting.start(recipe, targets, Worker())
    for _ in fitting.fit(recipe, split.x_ME, taxonomy, targets, state, Worker(), stop_at=STEPS_BEFORE):
        continue
    sampler, contrast = fitting.sampler_of(recipe, taxonomy), fitting.contrast_of(recipe, taxonomy, torch.device("cpu"))
    objective, added_objective = objective_of(recipe, state.model, targets), WithReconstruction(recipe, state.model, targets)
    ratios = []
    for step in range(STEPS_BEFORE, STEPS_BEFORE + BATCHES_MEASURED):
        batch_B = sampler.batch(step)
        x_BE = torch.from_numpy(split.x_ME[batch_B])
        losses = objective(x_BE, x_BE, torch.from_numpy(targets.codes_ML[batch_B].astype(np.int64)))
        added = contrast(losses.z_LBD, batch_B) if mixture.contrast else added_objective.reconstruction(losses.z_LBD, x_BE)
        ratios.append(_length(added, state.model) / _length(losses.reconstruction + losses.quantization, state.model))
    return (mixture.contrast or mixture.reconstruction) / float(np.mean(ratios))


def _length(loss: Tensor, model: RQVAE) -> float:
    """Of the gradient over all weights of the encoder."""
    weights = [each for each in model.encoder.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return float(torch.stack([each.square().sum() for each in gradients if each is not None]).sum().sqrt())


if __name__ == "__main__":
    typer.run(main)
