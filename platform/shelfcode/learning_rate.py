"""The learning rate of every training here: a linear warm-up, then half a cosine."""

import math


def warmup_cosine(step: int, steps: int, warmup_steps: int, height: float, floor: float) -> float:
    """The rate at a step counted from 0: up to `height` over the warm-up, then down to `floor` times it (Loshchilov & Hutter 2017)."""
    if step < warmup_steps:
        return height * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return height * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
