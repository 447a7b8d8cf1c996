"""What training aims at: two objectives for one model, each a module whose forward pass gives the losses of a batch.

neighbourhood: the encoder learns the targets, codes that were found for the whole catalog at once (target_search/).
rqvae: reconstruction, commitment and codebooks that follow, as published (Lee et al. 2022), from the same start.

Formulas: docs/objective.md.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import linear

from shelfcode.flavor import Recipe
from shelfcode.quantization.losses import codeword_cross_entropy
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.targets import Targets

SMALLEST_TEMPERATURE = 1e-6

FOLLOWING = 0.01
"""How far a codeword follows the products of a batch that chose it, where as many did as choose a codeword on average."""


@dataclass(frozen=True)
class Losses:
    """What one forward pass returns for B products.

    Attributes:
        z_LBD: the latents, with gradient.
        reconstruction: scalar, squared error summed over dimensions, mean over the products that were decoded.
        quantization: scalar, L_rq: what draws latents towards codewords, summed over levels, mean over products.
    """

    z_LBD: list[Tensor]
    reconstruction: Tensor
    quantization: Tensor


class NeighbourhoodObjective(nn.Module):
    """The cross-entropy of the target codes. Codebooks are constant, and reconstruction trains the decoder alone."""

    def __init__(self, recipe: Recipe, model: RQVAE, targets: Targets) -> None:
        super().__init__()
        self.model = model
        self.decode_every = recipe.training.anchor_every
        temperature = recipe.quantizer.target_temperature
        self.temperature_L = [max(SMALLEST_TEMPERATURE, temperature * float(spread)) for spread in targets.spread_L]

    def forward(self, x_BE: Tensor, seen_BE: Tensor, target_BL: Tensor) -> Losses:
        """Losses of a batch.

        Args:
            seen_BE: the embeddings x_BE as the encoder sees them, with noise.
            target_BL: int64, the target codes.
        """
        z_LBD = self.model.latents(seen_BE)
        with torch.autocast(x_BE.device.type, enabled=False):  # bfloat16 cannot tell near codewords apart
            cross_entropy, prefix_BD = self._learn_targets(z_LBD, target_BL)
        decoded_AE = self.model.decode(prefix_BD[:: self.decode_every])
        return Losses(z_LBD, squared_error(decoded_AE, x_BE[:: self.decode_every]), cross_entropy)

    def _learn_targets(self, z_LBD: list[Tensor], target_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the target codes, each level given the target codes above it; and the sum of the target's codewords."""
        prefix_BD = torch.zeros_like(z_LBD[0])
        cross_entropy = prefix_BD.new_zeros(())
        for level, (z_BD, temperature) in enumerate(zip(z_LBD, self.temperature_L, strict=True)):
            codewords_KD, target_B = self.model.codebooks.codewords(level), target_BL[:, level]
            # -|r - e|^2 / t without |r|^2, which is the same for all codewords: a softmax does not see it.
            bias_K = codewords_KD.square().sum(dim=1) / -temperature
            near_BK = linear(z_BD - prefix_BD, codewords_KD * (2 / temperature), bias_K)
            cross_entropy = cross_entropy + codeword_cross_entropy(near_BK, target_B)
            prefix_BD = prefix_BD + codewords_KD[target_B]
        return cross_entropy, prefix_BD

    def follow(self) -> None:
        """Codebooks stay as they are."""


class ReconstructionObjective(nn.Module):
    """Reconstruction reaches the encoder straight through the codes; codewords follow the products that choose them."""

    def __init__(self, recipe: Recipe, model: RQVAE) -> None:
        super().__init__()
        self.model = model
        self.commitment_weight = recipe.quantizer.commitment_weight
        self._chosen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x_BE: Tensor, seen_BE: Tensor, target_BL: Tensor) -> Losses:  # noqa: ARG002
        """Losses of a batch; the target codes are not looked at."""
        z_LBD = self.model.latents(seen_BE)
        with torch.autocast(x_BE.device.type, enabled=False):
            commitment, prefix_BD = self._commit(z_LBD)
            z_BD = torch.stack(z_LBD).mean(dim=0)
        decoded_BE = self.model.decode(prefix_BD + z_BD - z_BD.detach())
        return Losses(z_LBD, squared_error(decoded_BE, x_BE), self.commitment_weight * commitment)

    def _commit(self, z_LBD: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Squared distance of each latent to the sum of its codewords, and the sum at the last level, without gradient."""
        codes_BL = self.model.codebooks.assign([z_BD.detach() for z_BD in z_LBD])
        prefix_BD, self._chosen = torch.zeros_like(z_LBD[0]), []
        commitment = prefix_BD.new_zeros(())
        for level, z_BD in enumerate(z_LBD):
            code_B = codes_BL[:, level]
            self._chosen.append((code_B, z_BD.detach() - prefix_BD))
            prefix_BD = prefix_BD + self.model.codebooks.codewords(level)[code_B]
            commitment = commitment + (z_BD - prefix_BD).square().sum(dim=1).mean()
        return commitment, prefix_BD

    @torch.no_grad()
    def follow(self) -> None:
        """Each codeword goes towards the mean of the products that chose it in the last batch, those of all workers (van den Oord et al.
        2017, appendix A.1: codebooks by moving average)."""
        for level, (code_B, residual_BD) in enumerate(self._chosen):
            codewords_KD = self.model.codebooks.codewords(level)
            sums_KD = torch.zeros_like(codewords_KD).index_add_(0, code_B, residual_BD)
            count_K = torch.bincount(code_B, minlength=len(codewords_KD)).to(sums_KD.dtype)
            if dist.is_initialized() and dist.get_world_size() > 1:
                dist.all_reduce(sums_KD)
                dist.all_reduce(count_K)
            step_K1 = (FOLLOWING * count_K / count_K.mean()).clamp(max=1)[:, None]
            codewords_KD.add_(step_K1 * (sums_KD / count_K.clamp(min=1)[:, None] - codewords_KD))


Objective = NeighbourhoodObjective | ReconstructionObjective


def objective_of(recipe: Recipe, model: RQVAE, targets: Targets) -> Objective:
    """The objective that a recipe asks for."""
    if recipe.quantizer.objective == "rqvae":
        return ReconstructionObjective(recipe, model)
    return NeighbourhoodObjective(recipe, model, targets)


def squared_error(decoded_AE: Tensor, x_AE: Tensor) -> Tensor:
    """Summed over dimensions, mean over products: a scalar."""
    return (decoded_AE - x_AE).square().sum(dim=1).mean()
