"""What the trainings share of an optimisation step: who takes part in it, its learning rate, and the step itself. Plain torch, no Ray."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Worker:
    """This process among those that share a training."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")

    def share(self, batch_size: int) -> slice:
        """The rows of a batch that are this worker's."""
        return slice(batch_size * self.rank // self.world_size, batch_size * (self.rank + 1) // self.world_size)


def warmup_cosine(step: int, steps: int, warmup_steps: int, height: float, floor: float) -> float:
    """The learning rate at a step counted from 0: a linear warm-up to `height`, then half a cosine down to `floor` times it.

    Loshchilov & Hutter 2017.
    """
    if step < warmup_steps:
        return height * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return height * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float, clip_norm: float | None = None) -> None:
    """Move all that the optimizer trains one step down the gradient of a loss, which may be clipped to a norm."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
