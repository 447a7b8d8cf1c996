"""Fine-tuning an encoder on judgments, in plain torch: a SentenceTransformer, batches of queries with their products, the loss.

sentence-transformers' own trainer feeds rows of columns to a loss that sees no more than those; here a batch is some queries with
graded lists, and what may be a negative of what depends on all judgments and on the taxonomy.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from shelfcode.embedding.encoder import limit_tokens, load_model
from shelfcode.embedding.relevance.batches import BatchSampler
from shelfcode.embedding.relevance.loss import RelevanceLoss
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.embedding.relevance.training_set import RelevanceSet
from shelfcode.errors import ShelfcodeError
from shelfcode.optimisation import Worker, descend, warmup_cosine

FLOOR = 0.02
"""Of the learning rate, as a share of its height."""

Weights = dict[str, Tensor]


@dataclass
class Tuning:
    """The state of training after `step` batches.

    Attributes:
        own_limit: tokens at which the base model itself cuts a text.
        kept: the trained weights at step `kept_step`, on the CPU: the latest that the validation queries do not speak against.
        best_Q: concordance of each validation query at the best evaluation so far.
        evaluations: step and mean concordance of every evaluation.
    """

    model: SentenceTransformer
    optimizer: torch.optim.Optimizer
    own_limit: int | None
    step: int = 0
    kept: Weights = field(default_factory=dict)
    kept_step: int = 0
    best_Q: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        progress = {"step": self.step, "kept": self.kept, "kept_step": self.kept_step, "best_Q": self.best_Q}
        evaluations = [list(evaluation) for evaluation in self.evaluations]
        return {**progress, "evaluations": evaluations, "weights": self.weights(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.put(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.kept, self.kept_step, self.best_Q = int(state["step"]), state["kept"], int(state["kept_step"]), state["best_Q"]
        self.evaluations = [(int(step), float(value)) for step, value in state["evaluations"]]

    def weights(self) -> Weights:
        """A copy of the weights that are trained, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.model.named_parameters() if weight.requires_grad}

    def put(self, weights: Weights) -> None:
        """Set the weights that are trained."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                if weight.requires_grad:
                    weight.copy_(weights[name])

    def note(self, concordance_Q: NDArray[np.float64]) -> None:
        """Take down an evaluation, and keep these weights unless they are worse than the best by more than chance explains.

        Worse is what loses more than one standard error of the paired differences between queries: on few queries a lower mean alone
        says little, on many it decides.
        """
        mean = float(concordance_Q.mean())
        best = max((value for _, value in self.evaluations), default=-1.0)
        self.evaluations.append((self.step, mean))
        lost_Q = np.asarray(self.best_Q or concordance_Q) - concordance_Q
        if lost_Q.mean() <= lost_Q.std(ddof=1) / math.sqrt(len(lost_Q)) or mean > best:
            self.kept, self.kept_step = self.weights(), self.step
        if mean > best:
            self.best_Q = concordance_Q.tolist()

    def exhausted(self, patience: int) -> bool:
        """Whether the last `patience` evaluations were all worse."""
        return sum(step > self.kept_step for step, _ in self.evaluations) >= patience


def start_tuning(recipe: RelevanceRecipe, path: str, device: torch.device) -> Tuning:
    """Model and optimizer before the first batch; the same on every worker.

    Raises:
        ShelfcodeError: the base model cannot be loaded, or has fewer layers than are to be frozen.
    """
    model = load_model(recipe.encoder, path, device, torch.float32)
    own_limit = model.max_seq_length
    limit_tokens(model, recipe.encoder.max_tokens)
    freeze(model, recipe.training.frozen_layers)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.training.learning_rate, weight_decay=recipe.training.weight_decay, fused=True)
    return Tuning(model, optimizer, own_limit)


def freeze(model: SentenceTransformer, layers: int) -> None:
    """Keep the lowest transformer layers, and what comes before them, as the base has them.

    Raises:
        ShelfcodeError: the model has no such layers, or too few of them.
    """
    if not layers:
        return
    depth = getattr(getattr(getattr(model[0], "auto_model", None), "config", None), "num_hidden_layers", None)
    stacks = [(name, stack) for name, stack in model.named_modules() if isinstance(stack, nn.ModuleList) and len(stack) == depth]
    if not stacks or layers >= len(stacks[0][1]):
        shape = f"has {len(stacks[0][1])}" if stacks else "shows no stack of layers"
        raise ShelfcodeError(f"training.frozen_layers {layers}: the base model {shape}; choose fewer, or 0")
    first_trained = f"{stacks[0][0]}.{layers}."
    for name, weight in model.named_parameters():
        if name.startswith(first_trained):
            break
        weight.requires_grad_(False)


def total_steps(recipe: RelevanceRecipe, sampler: BatchSampler) -> int:
    return sampler.steps(recipe.training.epochs)


def build_sampler(recipe: RelevanceRecipe, relevance: RelevanceSet) -> BatchSampler:
    """The batches that a recipe draws from a set.

    Raises:
        ShelfcodeError: there are more workers than queries, and some would have none.
    """
    training = recipe.training
    if training.workers > len(relevance.queries):
        raise ShelfcodeError(f"training.workers {training.workers}: there are {len(relevance.queries)} queries to learn from; choose fewer")
    hard = recipe.hard_negatives.per_query if recipe.objective.in_batch_weight else 0
    return BatchSampler(relevance, training.seed, training.queries_per_batch, training.products_per_query, hard)


def tune(
    recipe: RelevanceRecipe, relevance: RelevanceSet, sampler: BatchSampler, state: Tuning, prompts: tuple[str, str], worker: Worker
) -> Iterator[tuple[int, float]]:
    """Train from `state.step` on, in place; yields step and loss after every batch."""
    training, steps = recipe.training, total_steps(recipe, sampler)
    loss_of = RelevanceLoss(recipe, state.model, relevance, prompts)
    # Some models have weights that no embedding comes from, such as BERT's pooler.
    module: nn.Module = DistributedDataParallel(loss_of, find_unused_parameters=True) if worker.world_size > 1 else loss_of
    for step in range(state.step, steps):
        state.model.train()
        torch.manual_seed(
            hash((training.seed, step, worker.rank)) % 2**63
        )  # of dropout: a run that goes on drops what it would have dropped
        with torch.autocast(worker.device.type, torch.bfloat16, enabled=training.precision == "bfloat16"):
            loss = module(sampler.share(sampler.batch(step), worker))
        rate = warmup_cosine(step, steps, round(training.warmup_share * steps), training.learning_rate, FLOOR)
        descend(state.optimizer, loss, rate, clip_norm=1.0)
        state.step = step + 1
        yield state.step, float(loss.detach())


def evaluation_steps(recipe: RelevanceRecipe, steps: int) -> set[int]:
    """After which steps the validation queries are measured."""
    count = min(recipe.training.evaluations, steps)
    return {round(steps * part / count) for part in range(1, count + 1)}


def concordance(
    similarity_R: NDArray[np.floating], query_R: NDArray[np.integer], label_R: NDArray[np.integer], gains: Sequence[float]
) -> NDArray[np.float64]:
    """Share of pairs of one query's products that are in the order of their gains, each pair weighted by the difference; ties count half.

    With two grades it is the area under the ROC curve. It uses every judged pair, and so is far less noisy on a few queries than the
    figure that counts in the end, NDCG@10.

    Returns:
        float64[Q], one value for each query that has products of different gains, in the order of their numbers.
    """
    gain_R = np.asarray(gains)[label_R]
    values = []
    for query in np.unique(query_R):
        rows = query_R == query
        weight_PP = np.clip(gain_R[rows][:, None] - gain_R[rows][None], 0, None)
        difference_PP = similarity_R[rows][:, None] - similarity_R[rows][None]
        if weight_PP.any():
            values.append(float((weight_PP * ((difference_PP > 0) + 0.5 * (difference_PP == 0))).sum() / weight_PP.sum()))
    return np.array(values)
