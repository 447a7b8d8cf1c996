"""Fitting the quantizer, in plain torch: one function per stage, from embeddings on disk to a trained model.

    L = L_reconstruction + L_rq + lambda * L_contrastive        (docs/objective.md)

Runs in one process, or in several workers of torch.distributed. The batch of a step does not depend on the number of
workers; each takes its slice of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker, descend, warmup_cosine
from shelfcode.quantization.losses import contrastive_loss, gather_with_gradient, graded_pairs
from shelfcode.quantization.model_file import new_model
from shelfcode.quantization.objectives import Losses, objective_of
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.sampler import NOISE, HierarchicalSampler, UniformSampler, build_sampler, number_of
from shelfcode.quantization.target_search.targets import Targets

SMALLEST_CATALOG = 2
"""Products. A codebook has two codewords or more, each of which begins as a product."""


@dataclass
class Fit:
    """The whole state of training after `step` batches: one that was saved continues to the same codes."""

    model: RQVAE
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])


@dataclass(frozen=True)
class StepReport:
    """Losses of one batch."""

    step: int
    reconstruction: float
    quantization: float
    contrastive: float


def contrast_possible(taxonomy: Taxonomy) -> bool:
    """Whether the taxonomy tells products apart: at least two of its leaves have products."""
    return len(np.unique(taxonomy.leaf_of_N[taxonomy.leaf_of_N != NO_LEAF])) > 1


def check_size(recipe: Recipe, products: int) -> None:
    """Refuse codebooks that the catalog cannot fill.

    Raises:
        ShelfcodeError: there is one product only, or a codebook has more codewords than there are products.
    """
    sizes = recipe.quantizer.codebook_sizes
    if products < SMALLEST_CATALOG:
        raise ShelfcodeError(
            f"usable products in the catalog: {products}; a flavor is trained on {SMALLEST_CATALOG} at the least, because semantic IDs say "
            "how products differ. Give a catalog with more products"
        )
    if max(sizes) > products:
        fitting = [min(size, max(2, products // 4)) for size in sizes]
        raise ShelfcodeError(
            f"quantizer.codebook_sizes {sizes} has a codebook of {max(sizes)} codewords for a catalog of {products} products; "
            f"choose smaller ones, such as --set quantizer.codebook_sizes={fitting}"
        )


def start(recipe: Recipe, targets: Targets, worker: Worker, parent: RQVAE | None = None) -> Fit:
    """Model and optimizer before the first batch; the same on every worker.

    Args:
        parent: model to go on from; weights that decide over frozen levels are not trained.
    """
    training = recipe.training
    torch.manual_seed(training.seed)
    model = new_model(recipe, targets.basis_DE.shape[1]).to(worker.device)
    tensors = (targets.mean_E, targets.basis_DE, *targets.codewords)
    mean_E, basis_DE, *codewords = (torch.from_numpy(array).to(worker.device) for array in tensors)
    if parent:
        model.load_state_dict(parent.state_dict())
        model.codebooks.start_at(codewords)
        model.freeze_levels(recipe.frozen_levels)
    else:
        model.start_at(mean_E, basis_DE, codewords, None if targets.group_K is None else torch.from_numpy(targets.group_K))
    # AdamW makes weights smaller even where their gradient is zero.
    decay = 0.0 if parent and recipe.frozen_levels else training.weight_decay
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=training.learning_rate, weight_decay=decay, fused=True)
    return Fit(model, optimizer)


def fit(
    recipe: Recipe, x_ME: NDArray[np.float32], taxonomy: Taxonomy, targets: Targets, state: Fit, worker: Worker, stop_at: int | None = None
) -> Iterator[StepReport]:
    """Train from `state.step` on, in place. Yields after every batch, so that the caller can report, save or stop.

    Args:
        x_ME: embeddings of the products that are trained on, of unit norm, memory-mapped or in memory, in the order of
            `taxonomy.leaf_of_N` and of the targets.
        stop_at: stop after this step; the learning rate still follows the number of steps in all.
    """
    training, quantizer = recipe.training, recipe.quantizer
    steps = training.steps_for(len(x_ME))
    sampler = sampler_of(recipe, taxonomy)
    contrast = contrast_of(recipe, taxonomy, worker.device) if quantizer.chosen_contrastive_weight and contrast_possible(taxonomy) else None
    objective = objective_of(recipe, state.model, targets)
    losses_of: nn.Module = objective
    if worker.world_size > 1:
        losses_of = DistributedDataParallel(objective, broadcast_buffers=False)  # codebooks are the same on every worker
    share = worker.share(training.batch_size)
    for step in range(state.step, steps if stop_at is None else min(stop_at, steps)):
        batch_B = sampler.batch(step)
        x_BE = torch.from_numpy(x_ME[batch_B[share]]).to(worker.device, non_blocking=True)
        target_BL = torch.from_numpy(targets.codes_ML[batch_B[share]].astype(np.int64)).to(worker.device, non_blocking=True)
        with torch.autocast(worker.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            out: Losses = losses_of(x_BE, _seen(recipe, step, share, x_BE), target_BL)
        contrastive = contrast(out.z_LBD, batch_B) if contrast else out.quantization.new_zeros(())
        loss = out.reconstruction + out.quantization + quantizer.chosen_contrastive_weight * contrastive
        descend(state.optimizer, loss, warmup_cosine(step, steps, training.warmup_steps, training.learning_rate, floor=0.05))
        objective.follow()
        state.step = step + 1
        losses = torch.stack([out.reconstruction, out.quantization, contrastive]).tolist()
        yield StepReport(state.step, *losses)


def _seen(recipe: Recipe, step: int, share: slice, x_BE: Tensor) -> Tensor:
    """What the encoder sees of a worker's share of a batch: embeddings with noise, so that it learns what holds around a product, too.

    Noise has a random direction and a random length of at most `input_noise`; the sum has unit norm. Like the batch it depends on seed and
    step alone.
    """
    training, noise = recipe.training, recipe.quantizer.input_noise
    if not noise or recipe.quantizer.objective != "neighbourhood":
        return x_BE
    generator = torch.Generator(x_BE.device).manual_seed(number_of(training.seed, NOISE, step))
    drawn_BE = torch.randn(training.batch_size, x_BE.shape[1], device=x_BE.device, generator=generator)[share]
    length_B1 = noise * torch.rand(training.batch_size, 1, device=x_BE.device, generator=generator)[share]
    return normalize(x_BE + length_B1 * normalize(drawn_BE, dim=1), dim=1)


def sampler_of(recipe: Recipe, taxonomy: Taxonomy) -> HierarchicalSampler | UniformSampler:
    """Hierarchical batches where the contrastive term is to learn from them, uniform ones otherwise, unless the recipe says which."""
    training = recipe.training
    if training.batches == "uniform" or (training.batches == "auto" and recipe.quantizer.objective == "neighbourhood"):
        return UniformSampler(len(taxonomy.leaf_of_N), training.seed, training.batch_size)
    return build_sampler(taxonomy, training.seed, training.batch_size, training.parent_share, training.products_per_slot)


def contrast_of(recipe: Recipe, taxonomy: Taxonomy, device: torch.device) -> Callable[[list[Tensor], NDArray[np.int64]], Tensor]:
    """The contrastive term as a function of a worker's latents and the positions of the whole batch."""
    settings, weights = recipe.quantizer.contrastive, recipe.quantizer.contrast_of_levels
    top_P = taxonomy.ancestors_PD[:, 0]
    anchors_A = torch.arange(0, recipe.training.batch_size, recipe.training.anchor_every, device=device)

    def term(z_LBD: list[Tensor], batch_B: NDArray[np.int64]) -> Tensor:
        leaf_B = taxonomy.leaf_of_N[batch_B]
        places_3B = torch.from_numpy(np.stack([leaf_B, taxonomy.parent_P[leaf_B], top_P[leaf_B]])).to(device)
        leaf, parent, top = places_3B
        strength_AB, counted_AB = graded_pairs(leaf, parent, top, anchors_A, settings.same_leaf, settings.sibling_leaf)
        gathered_LBD = gather_with_gradient(torch.stack(z_LBD[:-1]))  # the last level is to tell the products of a leaf apart
        return contrastive_loss(gathered_LBD, anchors_A, strength_AB, counted_AB, settings.temperature, weights)

    return term
