"""Models that need no training and codes that need no quantizer: every prefix has logits of its own, whatever the batch it is in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

ROWS = 509
"""Rows of logits a level, from which a prefix's hash picks."""


class TableModel:
    """Logits are looked up by a hash of the request and the prefix.

    Args:
        seed_R: of each request; equal seeds have equal logits.
        steps: logits are whole numbers from 0 up to this, so that scores are often equal; 0 for any numbers.
    """

    def __init__(self, sizes: Sequence[int], seed_R: Sequence[int], steps: int = 0, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.sizes, self.seed_R = tuple(sizes), torch.as_tensor(seed_R, dtype=torch.int64)
        tables = [torch.randn(ROWS, size, generator=rng) * 2 for size in sizes]
        self.table_LTK = [(table.abs() * steps / 4).floor() for table in tables] if steps else tables
        self.prefix_RW = self.seed_R.unsqueeze(1)

    def start(self) -> Tensor:
        self.prefix_RW = self.seed_R.unsqueeze(1)
        return self._logits(0)[:, 0]

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        before_RW = self.prefix_RW.gather(1, parent_RW)
        self.prefix_RW = (before_RW * 1_000_003 + code_RW + 1) % (1 << 31)
        return self._logits(level)

    def _logits(self, level: int) -> Tensor:
        return self.table_LTK[level][(self.prefix_RW * 40_503 + 7 * level) % ROWS]


class GRUModel(nn.Module):
    """A recurrent network over the codewords so far, with a random start a request; its beams carry a state that is put in their order."""

    def __init__(self, sizes: Sequence[int], start_RD: Tensor, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        width = start_RD.shape[1]
        self.start_RD, self.state_RWD = start_RD, start_RD.unsqueeze(1)
        self.cell = nn.GRUCell(width, width)
        self.codeword = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.head = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def start(self) -> Tensor:
        self.state_RWD = self.start_RD.unsqueeze(1)
        return self.head[0](3 * self.start_RD)

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        state_RWD = self.state_RWD.gather(1, parent_RW.unsqueeze(2).expand(-1, -1, self.start_RD.shape[1]))
        new_MD = self.cell(self.codeword[level - 1](code_RW).flatten(0, 1), state_RWD.flatten(0, 1))
        self.state_RWD = new_MD.view_as(state_RWD)
        return self.head[level](3 * self.state_RWD)


@dataclass(frozen=True)
class Shop:
    """Codes of some products, where some share an ID and a few prefixes have most of the products."""

    sizes: tuple[int, ...]
    codes_NL: NDArray[np.uint16]


def any_shop(rng: np.random.Generator) -> Shop:
    """One to four levels and up to 300 products."""
    sizes = tuple(int(size) for size in rng.integers(2, 14, rng.integers(1, 5)))
    return shop(sizes, int(rng.integers(1, 300)), rng)


def shop(sizes: Sequence[int], products: int, rng: np.random.Generator) -> Shop:
    """As many products; codewords near 0 are used more."""
    columns = [np.minimum(rng.exponential(size / 3, products), size - 1) for size in sizes]
    return Shop(tuple(sizes), np.stack(columns, axis=1).astype(np.uint16))


def any_set(products: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which products a retailer has: none, one, a few, half or all."""
    share = rng.choice([0.0, 0.0, 0.03, 0.5, 1.0])
    holds_N = rng.random(products) < share
    if rng.random() < 0.2:
        holds_N[:] = False
        holds_N[rng.integers(products)] = True
    return holds_N
