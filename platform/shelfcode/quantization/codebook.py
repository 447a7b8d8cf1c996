"""The codebooks of all levels, and the greedy assignment through them."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shelfcode.quantization.kmeans import nearest, two_nearest


class ResidualCodebooks(nn.Module):
    """L codebooks, each of its own size, all in D dimensions; buffers that training does not move."""

    def __init__(self, sizes: Sequence[int], dimensions: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        for level, size in enumerate(self.sizes):
            self.register_buffer(f"codewords_{level}", torch.zeros(size, dimensions))

    def codewords(self, level: int) -> Tensor:
        """float[K, D] of one level."""
        return self.get_buffer(f"codewords_{level}")

    @torch.no_grad()
    def start_at(self, codewords: Iterable[Tensor]) -> None:
        """Codebooks as given: float[K_l, D] of each level."""
        for level, codewords_KD in enumerate(codewords):
            self.codewords(level).copy_(codewords_KD)

    def rename(self, names: Sequence[NDArray[np.int64]]) -> None:
        """Give the codewords of each level other numbers: codeword k of level l becomes names[l][k]."""
        for level, name_K in enumerate(names):
            codewords_KD = self.codewords(level)
            codewords_KD[torch.from_numpy(name_K)] = codewords_KD.clone()

    @torch.no_grad()
    def assign(self, z_LBD: Sequence[Tensor]) -> Tensor:
        """At each level the codeword nearest to what the levels before have left over of that level's latent: int64[B, L]."""
        prefix_BD = torch.zeros_like(z_LBD[0])
        codes = []
        for level, z_BD in enumerate(z_LBD):
            codewords_KD = self.codewords(level)
            code_B = nearest(z_BD - prefix_BD, codewords_KD)
            prefix_BD += codewords_KD[code_B]
            codes.append(code_B)
        return torch.stack(codes, dim=1)

    @torch.no_grad()
    def assign_with_margins(self, z_LBD: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """`assign`, and by how much each codeword was nearer than the second: 1 - d1 / d2 of Euclidean distances.

        Returns:
            int64[B, L] codes and float[B, L] margins, from 0 (two codewords equally near) to 1 (exactly on the codeword).
        """
        prefix_BD = torch.zeros_like(z_LBD[0])
        codes, margins = [], []
        for level, z_BD in enumerate(z_LBD):
            codewords_KD = self.codewords(level)
            index_B2, distance_B2 = two_nearest(z_BD - prefix_BD, codewords_KD)
            prefix_BD += codewords_KD[index_B2[:, 0]]
            codes.append(index_B2[:, 0])
            margins.append(1 - distance_B2[:, 0] / distance_B2[:, 1].clamp(min=1e-12))
        return torch.stack(codes, dim=1), torch.stack(margins, dim=1).clamp(0, 1)
