"""Fitting the quantizer, in plain torch: one function a stage, from embeddings on disk to a trained model.

    L = L_reconstruction + L_rq + lambda * L_contrastive        (docs/objective.md)

Runs alone in one process, or as one of several workers of torch.distributed: the batch of a step is the same whatever
the number of workers, and each takes its slice of it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.quantization.losses import contrastive_loss, gather_with_gradient, graded_pairs
from shelfcode.quantization.model_file import new_model
from shelfcode.quantization.rqvae import RQVAE, Quantized
from shelfcode.quantization.sampler import build_sampler

SETUP, RESTART, SAMPLE = 1, 2, 3
"""What a random stream is for, so that no two share their numbers."""


@dataclass(frozen=True)
class Worker:
    """This process among those that share the training."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")


@dataclass
class Fit:
    """The state of training after `step` batches: all of it, so that a saved one continues to the same codes."""

    model: RQVAE
    optimizer: torch.optim.Optimizer
    step: int = 0

    def state(self) -> dict[str, object]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load(self, state: dict[str, object]) -> None:
        self.model.load_state_dict(state["model"])  # type: ignore[arg-type]
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.step = int(state["step"])  # type: ignore[call-overload]


@dataclass(frozen=True)
class StepReport:
    """Losses of one batch, and how many codewords were set anew since the last report."""

    step: int
    reconstruction: float
    commitment: float
    contrastive: float
    restarted: int


def contrast_possible(taxonomy: Taxonomy) -> bool:
    """Whether the taxonomy tells any two products apart: at least two of its leaves have products."""
    return len(np.unique(taxonomy.leaf_of_N[taxonomy.leaf_of_N != NO_LEAF])) > 1


def check_size(recipe: Recipe, products: int) -> None:
    """Refuse codebooks that the catalog cannot fill.

    Raises:
        ShelfcodeError: a codebook has more codewords than there are products.
    """
    sizes = recipe.quantizer.codebook_sizes
    if max(sizes) > products:
        fitting = [min(size, max(2, products // 4)) for size in sizes]
        raise ShelfcodeError(
            f"quantizer.codebook_sizes {sizes} has a codebook of {max(sizes)} codewords for a catalog of {products} products; "
            f"choose smaller ones, such as --set quantizer.codebook_sizes={fitting}"
        )


def start(recipe: Recipe, x_NE: NDArray[np.float32], worker: Worker) -> Fit:
    """Model and optimizer before the first batch: projection, then codebooks by k-means of a sample.

    Every worker does the same sums from the same sample, so all start alike.
    """
    quantizer, training = recipe.quantizer, recipe.training
    torch.manual_seed(training.seed)
    model = new_model(recipe, x_NE.shape[1]).to(worker.device)
    generator = torch.Generator().manual_seed(_stream(training.seed, SETUP))
    rng = np.random.Generator(np.random.Philox(key=_stream(training.seed, SAMPLE)))
    size = min(len(x_NE), quantizer.kmeans_sample)
    sample = np.sort(rng.choice(len(x_NE), size, replace=False))
    sample_NE = torch.from_numpy(np.ascontiguousarray(x_NE[sample])).to(worker.device)
    model.start_as_projection(sample_NE)
    with torch.no_grad():
        z_ND = torch.cat([model.encoder(chunk_BE) for chunk_BE in torch.split(sample_NE, 8192)])
    model.codebooks.set_up(z_ND, quantizer.kmeans_iterations, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
    return Fit(model, optimizer)


def fit(
    recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, state: Fit, worker: Worker, stop_at: int | None = None
) -> Iterator[StepReport]:
    """Train from `state.step` on, in place; yields after every batch, so the caller can report, save or stop.

    Args:
        x_NE: embeddings of unit norm, memory-mapped or in memory; products in the order of `taxonomy.leaf_of_N`.
        stop_at: leave off after this step; the learning rate still follows the recipe's number of steps.
    """
    training, quantizer = recipe.training, recipe.quantizer
    sampler = build_sampler(taxonomy, training.seed, training.batch_size, training.parent_share, training.products_per_slot)
    contrast = _contrast(recipe, taxonomy, worker.device) if quantizer.contrastive_weight and contrast_possible(taxonomy) else None
    model: nn.Module = state.model
    if worker.world_size > 1:
        # The codebooks are buffers: the first worker's to begin with, for k-means may end elsewhere on another kind of processor;
        # from then on `follow` moves them alike on all workers.
        model = DistributedDataParallel(state.model, forward_sync_buffers=False)
    share = slice(*(training.batch_size * part // worker.world_size for part in (worker.rank, worker.rank + 1)))
    for step in range(state.step, min(training.steps if stop_at is None else stop_at, training.steps)):
        batch_B = sampler.batch(step)
        x_BE = torch.from_numpy(x_NE[batch_B[share]]).to(worker.device, non_blocking=True)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(step, training.learning_rate, training.warmup_steps, training.steps)
        with torch.autocast(worker.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            out: Quantized = model(x_BE)
        contrastive = contrast(out.prefix_LBD, batch_B) if contrast else out.commitment.new_zeros(())
        loss = out.reconstruction + quantizer.commitment_weight * out.commitment + quantizer.contrastive_weight * contrastive
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        generator = torch.Generator().manual_seed(_stream(training.seed, RESTART, step))
        restarted = state.model.codebooks.follow(
            out.z_BD.detach(), out.codes_BL, quantizer.codebook_decay, quantizer.restart_below, generator
        )
        state.step = step + 1
        reconstruction, commitment = float(out.reconstruction.detach()), float(out.commitment.detach())
        yield StepReport(state.step, reconstruction, commitment, float(contrastive.detach()), restarted)


def learning_rate(step: int, height: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step < warmup_steps:
        return height * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return height * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def _contrast(recipe: Recipe, taxonomy: Taxonomy, device: torch.device) -> Callable[[Tensor, NDArray[np.int64]], Tensor]:
    """The contrastive term as a function of a worker's prefixes and the positions of the whole batch."""
    settings = recipe.quantizer.contrastive
    top_P = taxonomy.ancestors_PD[:, 0]

    def term(prefix_LBD: Tensor, batch_B: NDArray[np.int64]) -> Tensor:
        leaf_B = taxonomy.leaf_of_N[batch_B]
        places_3B = torch.from_numpy(np.stack([leaf_B, taxonomy.parent_P[leaf_B], top_P[leaf_B]])).to(device)
        strength_BB, counted_BB = graded_pairs(places_3B[0], places_3B[1], places_3B[2], settings.same_leaf, settings.sibling_leaf)
        gathered_LBD = gather_with_gradient(prefix_LBD)
        return contrastive_loss(gathered_LBD, strength_BB, counted_BB, settings.temperature, settings.level_weights)

    return term


def _stream(*numbers: int) -> int:
    """One seed from several numbers, well apart for neighbouring ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
