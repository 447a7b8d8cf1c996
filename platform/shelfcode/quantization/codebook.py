"""The codebooks of all levels, and the greedy assignment through them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shelfcode.quantization.kmeans import nearest


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
