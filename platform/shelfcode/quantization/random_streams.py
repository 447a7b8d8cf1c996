"""Random numbers by purpose: streams of one seed that never share their numbers, and are the same on every worker."""

import numpy as np
import torch

SETUP, SAMPLE = 1, 2
"""What a stream is for."""


def numpy_stream(seed: int, *purpose: int) -> np.random.Generator:
    """A generator of its own for a purpose."""
    return np.random.Generator(np.random.Philox(key=_mixed(seed, *purpose)))


def torch_stream(seed: int, *purpose: int) -> torch.Generator:
    """The same for torch, on the CPU."""
    return torch.Generator().manual_seed(_mixed(seed, *purpose))


def _mixed(*numbers: int) -> int:
    """One seed from several numbers, well apart for neighbouring ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
