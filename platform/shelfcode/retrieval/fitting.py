"""Training a retriever step by step, in plain torch: sampled sessions, the loss, the optimizer. Ray Train is in train.py."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, M targets, N products.

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from shelfcode.interactions.session_log import SessionLog
from shelfcode.optimisation import Worker, descend, warmup_cosine
from shelfcode.retrieval.batches import SessionSampler
from shelfcode.retrieval.examples import Marks, Sampled, sample_batch
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.scoring_model import ScoringModel

FLOOR = 0.02
"""Of the learning rate, as a share of its height."""

Weights = dict[str, Tensor]
RetrieverModel = ScoringModel | Generator


@dataclass
class Fitting:
    """The state of training after `step` batches.

    Attributes:
        kept: weights at step `kept_step`, on the CPU: those that answered the validation cases best.
        evaluations: step and figure of every evaluation.
    """

    model: RetrieverModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    kept: Weights = field(default_factory=dict)
    kept_step: int = 0
    evaluations: list[tuple[int, float]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        evaluations = [list(evaluation) for evaluation in self.evaluations]
        progress = {"step": self.step, "kept": self.kept, "kept_step": self.kept_step, "evaluations": evaluations}
        return {**progress, "weights": self.weights(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.kept, self.kept_step = int(state["step"]), state["kept"], int(state["kept_step"])
        self.evaluations = [(int(step), float(value)) for step, value in state["evaluations"]]

    def weights(self) -> Weights:
        """A copy of the weights, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.model.state_dict().items()}

    def note(self, figure: float) -> None:
        """Take down an evaluation, and keep these weights where it is the best so far."""
        best = max((value for _, value in self.evaluations), default=-1.0)
        self.evaluations.append((self.step, figure))
        if figure > best:
            self.kept, self.kept_step = self.weights(), self.step

    def exhausted(self, patience: int) -> bool:
        """Whether the last `patience` evaluations were all worse."""
        return sum(step > self.kept_step for step, _ in self.evaluations) >= patience


def start_fitting(model: RetrieverModel, recipe: RetrieverRecipe, worker: Worker) -> Fitting:
    """Model and optimizer before the first batch. Vectors of marks and codewords, gains and biases are not decayed."""
    model = model.to(worker.device)
    decayed = [weight for name, weight in model.named_parameters() if weight.dim() > 1 and not _is_table(name)]
    others = [weight for name, weight in model.named_parameters() if weight.dim() <= 1 or _is_table(name)]
    groups = [{"params": decayed, "weight_decay": recipe.training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return Fitting(model, torch.optim.AdamW(groups, lr=learning_rate(recipe, model), betas=(0.9, 0.98), fused=True))


def learning_rate(recipe: RetrieverRecipe, model: RetrieverModel) -> float:
    """At its height, of one kind of model or the other."""
    return recipe.generator.learning_rate if isinstance(model, Generator) else recipe.scoring.learning_rate


def _is_table(name: str) -> bool:
    return name.startswith(("prompt.", "own.")) or name.endswith("free.weight")


class RetrieverLoss(nn.Module):
    """The loss of a batch; a module, so that gradients are shared between workers."""

    def __init__(self, model: RetrieverModel, recipe: RetrieverRecipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(self, tokens: TokenTensors, row_M: Tensor, position_M: Tensor, product_M: Tensor, weight_M: Tensor) -> Tensor:
        """The weighted mean over all targets."""
        if isinstance(self.model, Generator):
            loss = (self.model.target_losses(tokens, row_M, position_M, product_M).sum(1) * weight_M).sum()
        else:
            smoothing = self.recipe.scoring.label_smoothing
            loss = self.model.loss(tokens, row_M, position_M, product_M, weight_M, smoothing)
        return loss / weight_M.sum()


def fit(
    recipe: RetrieverRecipe, log: SessionLog, marks: Marks, sampler: SessionSampler, state: Fitting, worker: Worker
) -> Iterator[tuple[int, float]]:
    """Train from `state.step` on, in place; yields step and loss after every batch."""
    training, steps = recipe.training, total_steps(recipe, sampler)
    loss_of = RetrieverLoss(state.model, recipe)
    module: nn.Module = DistributedDataParallel(loss_of, find_unused_parameters=True) if worker.world_size > 1 else loss_of
    masked = isinstance(state.model, ScoringModel) and state.model.masked
    for step in range(state.step, steps):
        state.model.train()
        torch.manual_seed(hash((training.seed, step, worker.rank)) % 2**63)  # of dropout: a run that goes on drops what it would have
        random = np.random.default_rng([training.seed, step, worker.rank])
        sampled = sample_batch(log, sampler.share(step, worker), marks, recipe.prompt, random, masked)
        with torch.autocast(worker.device.type, torch.bfloat16, enabled=in_bfloat16(training.precision, worker.device)):
            loss = module(*_tensors(sampled, worker.device))
        rate = warmup_cosine(step, steps, round(training.warmup_share * steps), learning_rate(recipe, state.model), FLOOR)
        descend(state.optimizer, loss, rate, clip_norm=1.0)
        state.step = step + 1
        yield state.step, float(loss.detach())


def in_bfloat16(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> bool:
    """Whether a forward pass computes in bfloat16; by itself only where the device has instructions for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def total_steps(recipe: RetrieverRecipe, sampler: SessionSampler) -> int:
    """Batches until training ends, unless it stops early."""
    return min(recipe.training.steps_max, recipe.training.epochs * sampler.steps_per_epoch)


def _tensors(sampled: Sampled, device: torch.device) -> tuple[TokenTensors, Tensor, Tensor, Tensor, Tensor]:
    targets = sampled.targets
    arrays = (targets.row_M, targets.position_M, targets.product_M, targets.weight_M)
    row_M, position_M, product_M, weight_M = (torch.from_numpy(array).to(device) for array in arrays)
    return on_device(sampled.tokens, device), row_M, position_M, product_M, weight_M
