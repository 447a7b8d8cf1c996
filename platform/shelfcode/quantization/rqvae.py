"""The residual-quantised VAE (Lee et al. 2022; for semantic IDs: Rajput et al. 2023, TIGER).

    embedding x -> encoder -> z -> residual codebooks -> codes, z_q -> decoder -> x_hat

The commitment loss takes the residual against the *detached* codeword at every level. Subtracting the straight-through
output instead leaves levels 2 and below without a gradient to the encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from shelfcode.quantization.codebook import ResidualCodebooks


@dataclass(frozen=True)
class Quantized:
    """What one pass gives for B products.

    Attributes:
        z_BD: encoded products, with gradient.
        codes_BL: int64, the codeword chosen at each level.
        prefix_LBD: the sum of codewords down to each level, straight-through: forward the codewords, backward z.
        reconstruction: scalar, squared error summed over dimensions, mean over products.
        commitment: scalar, squared distance of the residual to its codeword, summed over dimensions and levels.
    """

    z_BD: Tensor
    codes_BL: Tensor
    prefix_LBD: Tensor
    reconstruction: Tensor
    commitment: Tensor


class RQVAE(nn.Module):
    """MLP encoder and decoder around residual codebooks."""

    def __init__(self, dimensions: int, codebook_sizes: Sequence[int], hidden_sizes: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.encoder = SkipMLP([dimensions, *hidden_sizes, latent_size])
        self.decoder = SkipMLP([latent_size, *reversed(hidden_sizes), dimensions])
        self.codebooks = ResidualCodebooks(codebook_sizes, latent_size)

    def forward(self, x_BE: Tensor) -> Quantized:
        z_BD = self.encoder(x_BE).float()
        with torch.autocast(x_BE.device.type, enabled=False):  # in bfloat16 near codewords cannot be told apart
            codes_BL, prefix_LBD = self.codebooks.assign(z_BD)
        straight_LBD = z_BD + (prefix_LBD - z_BD).detach()
        reconstruction = (self.decoder(straight_LBD[-1]).float() - x_BE).square().sum(dim=1).mean()
        commitment = (z_BD - prefix_LBD).square().sum(dim=(0, 2)).mean()
        return Quantized(z_BD, codes_BL, straight_LBD, reconstruction, commitment)

    @torch.inference_mode()
    def encode(self, x_BE: Tensor) -> Tensor:
        """Codes of embeddings: int64[B, L]."""
        return self.codebooks.assign(self.encoder(x_BE).float())[0]

    @torch.no_grad()
    def start_as_projection(self, x_NE: Tensor) -> None:
        """Set encoder and decoder to the principal components of a sample, their MLPs adding nothing yet.

        Distances between embeddings then hold in the latent space from the first step, and so do the codebooks that
        k-means finds there.
        """
        latent = self.codebooks.codewords(0).shape[1]
        mean_E = x_NE.mean(dim=0)
        centred_NE = x_NE - mean_E
        _, vectors_EE = torch.linalg.eigh(centred_NE.T @ centred_NE)
        basis_DE = vectors_EE.flip(1)[:, :latent].T
        if len(basis_DE) < latent:  # more latent dimensions than the embedding has: the rest start at zero
            basis_DE = torch.cat([basis_DE, basis_DE.new_zeros(latent - len(basis_DE), basis_DE.shape[1])])
        self.encoder.set_skip(basis_DE, -basis_DE @ mean_E)
        self.decoder.set_skip(basis_DE.T, mean_E)


class SkipMLP(nn.Module):
    """A linear map plus an MLP whose last layer starts at zero."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.skip = nn.Linear(sizes[0], sizes[-1])
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes[:-1]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = nn.Linear(sizes[-2], sizes[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x_BE: Tensor) -> Tensor:
        return self.skip(x_BE) + self.layers(x_BE)

    def set_skip(self, weight: Tensor, bias: Tensor) -> None:
        self.skip.weight.copy_(weight)
        self.skip.bias.copy_(bias)
