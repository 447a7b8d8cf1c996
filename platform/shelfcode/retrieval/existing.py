"""Which codewords follow a prefix in an assortment. With it the generator's softmax is one over IDs that exist, level by level.

A generator that has to learn by itself which of two thousand codewords ever follow a prefix spends most of its loss on that. Told it,
what remains is the choice among products: a hierarchical softmax over the catalog (Morin & Bengio 2005), the codes being its tree.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here N products, L levels, P prefixes, V prefixes with one more codeword, K codewords.

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Followers:
    """The codewords of one level that occur below each prefix of the levels above.

    Attributes:
        prefix_P: int64, the prefixes as numbers, rising.
        first_P: int32[P + 1], where the codewords of each begin in `code_V`.
        code_V: int32.
        most: codewords below one prefix, at the most.
        size: K, codewords of the level.
    """

    prefix_P: Tensor
    first_P: Tensor
    code_V: Tensor
    most: int
    size: int

    def exist(self, prefix: Tensor) -> Tensor:
        """Which codewords follow some prefixes, given as numbers: bool [..., K]. None follows a prefix that does not occur."""
        place = torch.searchsorted(self.prefix_P, prefix).clamp(max=len(self.prefix_P) - 1)
        known = self.prefix_P[place] == prefix
        slot = self.first_P[place][..., None] + torch.arange(self.most, device=prefix.device)
        there = known[..., None] & (slot < self.first_P[place + 1][..., None])
        code = torch.where(there, self.code_V[slot.clamp(max=len(self.code_V) - 1)].long(), self.size)
        mask = torch.zeros((*prefix.shape, self.size + 1), dtype=torch.bool, device=prefix.device)
        return mask.scatter_(-1, code, True)[..., : self.size]

    def to(self, device: torch.device) -> "Followers":
        """The same on another device."""
        return replace(self, prefix_P=self.prefix_P.to(device), first_P=self.first_P.to(device), code_V=self.code_V.to(device))


def followers(codes_NL: NDArray[np.integer], sizes: Sequence[int], device: torch.device) -> list[Followers]:
    """Of each level. At the first one the prefix of all products is 0."""
    prefix_N, levels = np.zeros(len(codes_NL), np.int64), []
    for level, size in enumerate(sizes):
        whole_V = np.unique(prefix_N * size + codes_NL[:, level])
        prefix_P, first_P = np.unique(whole_V // size, return_index=True)
        first_P = np.append(first_P, len(whole_V))
        arrays = (prefix_P, first_P.astype(np.int32), (whole_V % size).astype(np.int32))
        prefixes, firsts, codes = (torch.from_numpy(each).to(device) for each in arrays)
        levels.append(Followers(prefixes, firsts, codes, int(np.diff(first_P).max()), size))
        prefix_N = prefix_N * size + codes_NL[:, level]
    return levels


def prefix_numbers(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """Prefixes, codewords last, as numbers: int64 of the same shape without the last dimension."""
    number = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
    for level in range(codes.shape[-1]):
        number = number * sizes[level] + codes[..., level]
    return number
