"""The residual-quantised VAE (Lee et al. 2022; for semantic IDs: Rajput et al. 2023, TIGER).

    embedding x -> one latent per level -> residual codebooks -> codes, sum of codewords -> decoder -> x_hat

The latent of the last level is the projection of x onto its principal components. Those of the levels above are moved
from there by the encoder, which learns to place a product where its neighbourhood lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from shelfcode.quantization.codebook import CHUNK, ResidualCodebooks
from shelfcode.quantization.losses import codeword_cross_entropy


@dataclass(frozen=True)
class Quantized:
    """What one forward pass returns for B products.

    Attributes:
        z_LBD: the latents; those above the last level with gradient.
        reconstruction: scalar, squared error summed over dimensions, mean over the products that were decoded.
        commitment: scalar, cross-entropy of the target codes, summed over the levels above the last, mean over products.
    """

    z_LBD: list[Tensor]
    reconstruction: Tensor
    commitment: Tensor


class RQVAE(nn.Module):
    """MLP encoder and decoder around residual codebooks."""

    def __init__(self, dimensions: int, codebook_sizes: Sequence[int], hidden_sizes: Sequence[int], latent_size: int) -> None:
        super().__init__()
        self.moved_levels = len(codebook_sizes) - 1
        self.projection = nn.Linear(dimensions, latent_size).requires_grad_(False)
        self.encoder = mlp([dimensions, *hidden_sizes, self.moved_levels * latent_size])
        self.codebooks = ResidualCodebooks(codebook_sizes, latent_size)
        self.decoder = mlp([latent_size, *reversed(hidden_sizes), dimensions])
        self.expansion = nn.Linear(latent_size, dimensions).requires_grad_(False)

    def freeze_levels(self, levels: int) -> None:
        """Keep the latents of the first levels as they are: of the encoder, only the last layer goes on learning, for the other levels."""
        if not levels:
            return
        *shared, last = self.encoder
        for layer in shared:
            layer.requires_grad_(False)
        frozen = levels * self.projection.out_features

        def without_frozen(gradient: Tensor) -> Tensor:
            kept = gradient.clone()
            kept[:frozen] = 0
            return kept

        for weights in last.parameters():
            weights.register_hook(without_frozen)

    def latents(self, x_BE: Tensor) -> list[Tensor]:
        """float[B, D] of each level."""
        projected_BD = self.projection(x_BE)
        moves = self.encoder(x_BE).chunk(self.moved_levels, dim=1)
        return [(projected_BD + move_BD).float() for move_BD in moves] + [projected_BD.float()]

    def forward(self, x_BE: Tensor, target_BL: Tensor, temperature_L: Sequence[float], decode_every: int = 1) -> Quantized:
        """Latents and losses of a batch.

        Args:
            target_BL: int64, the codes that the products' neighbourhoods choose.
            temperature_L: of the softmax over codewords, in squared distance.
            decode_every: one product in this many is decoded; only the decoder learns from it.
        """
        z_LBD = self.latents(x_BE)
        with torch.autocast(x_BE.device.type, enabled=False):  # bfloat16 cannot tell near codewords apart
            commitment, prefix_BD = self._commit(z_LBD, target_BL, temperature_L)
        prefix_AD = prefix_BD[::decode_every]
        decoded_AE = self.expansion(prefix_AD) + self.decoder(prefix_AD)
        reconstruction = (decoded_AE.float() - x_BE[::decode_every]).square().sum(dim=1).mean()
        return Quantized(z_LBD, reconstruction, commitment)

    def _commit(self, z_LBD: list[Tensor], target_BL: Tensor, temperature_L: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the target codes, each level given the target codes above it; and the sum of the target's codewords."""
        prefix_BD = torch.zeros_like(z_LBD[0])
        commitment = prefix_BD.new_zeros(())
        for level, z_BD in enumerate(z_LBD):
            codewords_KD, target_B = self.codebooks.codewords(level), target_BL[:, level]
            if level < self.moved_levels:
                # -|r - e|^2 / t without |r|^2, which is the same for all codewords: a softmax does not see it.
                bias_K = codewords_KD.square().sum(dim=1) / -temperature_L[level]
                near_BK = linear(z_BD - prefix_BD, codewords_KD * (2 / temperature_L[level]), bias_K)
                commitment = commitment + codeword_cross_entropy(near_BK, target_B)
            prefix_BD = prefix_BD + codewords_KD[target_B]
        return commitment, prefix_BD

    @torch.inference_mode()
    def encode(self, x_BE: Tensor, chunk: int = CHUNK) -> Tensor:
        """Codes of embeddings, `chunk` rows at a time: int64[B, L]."""
        return torch.cat([self.codebooks.assign(self.latents(chunk_CE)) for chunk_CE in x_BE.split(chunk)])

    @torch.inference_mode()
    def encode_with_margins(self, x_BE: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of embeddings, int64[B, L], and how clear each choice was, float[B, L] (`assign_with_margins`)."""
        return self.codebooks.assign_with_margins(self.latents(x_BE))

    @torch.no_grad()
    def start_at(self, mean_E: Tensor, basis_DE: Tensor, codewords: Sequence[Tensor]) -> None:
        """Set the projection, its inverse and the codebooks; the MLPs add nothing yet."""
        self.projection.weight.copy_(basis_DE)
        self.projection.bias.copy_(-basis_DE @ mean_E)
        self.expansion.weight.copy_(basis_DE.T)
        self.expansion.bias.copy_(mean_E)
        self.codebooks.start_at(codewords)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between; the last one starts at zero."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    last = nn.Linear(sizes[-2], sizes[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
