"""The residual-quantised VAE (Lee et al. 2022; for semantic IDs: Rajput et al. 2023, TIGER).

    embedding x -> one latent per level -> residual codebooks -> codes, sum of codewords -> decoder -> x_hat

Every latent is the projection of x onto its principal components, moved by the encoder. What it learns to move products by is the
objective's affair (objectives.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import math
from collections.abc import Sequence
from itertools import pairwise, repeat

import torch
from torch import Tensor, nn

from shelfcode.quantization.codebook import CHUNK, ResidualCodebooks

GROUPS = "codebooks.group_K"
"""The name that the groups of the first codewords have among a model's weights."""


class RQVAE(nn.Module):
    """MLP encoder and decoder around residual codebooks."""

    def __init__(
        self, dimensions: int, codebook_sizes: Sequence[int], hidden_sizes: Sequence[int], latent_size: int, constrained: bool = False
    ) -> None:
        super().__init__()
        self.input_scale = math.sqrt(dimensions)  # an embedding of unit norm has small numbers; layers start faster with numbers of size 1
        self.projection = nn.Linear(dimensions, latent_size).requires_grad_(False)
        self.encoder = mlp([dimensions, *hidden_sizes, len(codebook_sizes) * latent_size])
        self.codebooks = ResidualCodebooks(codebook_sizes, latent_size, constrained)
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
        moves = self.encoder(x_BE * self.input_scale).chunk(len(self.codebooks.sizes), dim=1)
        return [(projected_BD + move_BD).float() for move_BD in moves]

    def decode(self, prefix_BD: Tensor) -> Tensor:
        """Embeddings from sums of codewords: float[B, E]."""
        return (self.expansion(prefix_BD) + self.decoder(prefix_BD)).float()

    @torch.inference_mode()
    def encode(self, x_BE: Tensor, group_B: Tensor | None = None, chunk: int = CHUNK) -> Tensor:
        """Codes of embeddings, `chunk` rows at a time: int64[B, L].

        Args:
            group_B: int64, the group of each product under the recipe's constraint; a negative one leaves it free.
        """
        groups = repeat(None) if group_B is None else group_B.split(chunk)
        chunks = zip(x_BE.split(chunk), groups, strict=False)
        return torch.cat([self.codebooks.assign(self.latents(chunk_CE), group_C) for chunk_CE, group_C in chunks])

    @torch.inference_mode()
    def encode_with_margins(self, x_BE: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of embeddings, int64[B, L], and how clear each choice was, float[B, L] (`assign_with_margins`)."""
        return self.codebooks.assign_with_margins(self.latents(x_BE))

    @torch.no_grad()
    def start_at(self, mean_E: Tensor, basis_DE: Tensor, codewords: Sequence[Tensor], group_K: Tensor | None = None) -> None:
        """Set the projection, its inverse and the codebooks; the MLPs add nothing yet.

        Args:
            group_K: the group of each codeword of the first level, under a constraint.
        """
        self.projection.weight.copy_(basis_DE)
        self.projection.bias.copy_(-basis_DE @ mean_E)
        self.expansion.weight.copy_(basis_DE.T)
        self.expansion.bias.copy_(mean_E)
        self.codebooks.start_at(codewords)
        if self.codebooks.group_K is not None and group_K is not None:
            self.codebooks.group_K.copy_(group_K)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between; the last one starts at zero."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    last = nn.Linear(sizes[-2], sizes[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
