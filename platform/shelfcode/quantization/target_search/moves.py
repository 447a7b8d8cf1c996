"""Moving products between codewords by what their pairs gain: a local search that starts at k-means.

In each sweep every product looks for the codeword at which its partners gain most,

    score_i(k) = sum_{j: y_j = k} w_ij g_ij / sum_j |w_ij g_ij|  -  size_weight log(n_k / n)  -  distance_weight d_ik^2 / d^2

over its partners j with their weighted gains w_ij g_ij (pair_gains.py), n_k products at codeword k and n on average, and d_ik the distance
to the codeword in units of the median distance d to the nearest one. Half of those who would gain by it move, chosen at random: if all
moved at once, pairs would change places for ever. Where kinds of products attract each other, that is added to the score. As a clustering
of pairs that attract and repel each other this is correlation clustering (Bansal, Blum and Chawla 2004) with a given number of clusters.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import torch
from torch import Tensor

from shelfcode.quantization.codebook import other_group

SCORES_AT_ONCE = 1 << 24
"""64 MiB of float32."""
MOVING_SHARE = 0.5
FEW = 0.002
"""The search ends when less than this share of the products would move."""
ROWS_MEASURED = 8192
"""Products that the unit of distance is measured on."""


@dataclass(frozen=True)
class Moves:
    """How often, and at what price, products move."""

    sweeps: int
    size_weight: float = 0.0
    distance_weight: float = 0.0


@dataclass(frozen=True)
class Groups:
    """What a constraint (constraint.py) keeps apart: the group of each codeword, int64[K], and of each product, int64[N]."""

    of_codeword_K: Tensor
    of_product_N: Tensor


@dataclass(frozen=True)
class Attraction:
    """How kinds of products attract each other: a product scores at a codeword what the kinds there attract its own.

    Attributes:
        kind_N: int64, one of G kinds.
        pull_GG: float32, row by row what a kind feels of all others, itself included; negative where it is driven off.
        popularity_N: float32, above 0; a kind that is spread over codewords is where its popular products are.
    """

    kind_N: Tensor
    pull_GG: Tensor
    popularity_N: Tensor

    def scores(self, code_N: Tensor, clusters: int) -> Tensor:
        """What each codeword is worth to a product of each kind: float32[G, K]."""
        kinds = len(self.pull_GG)
        weight = torch.bincount(self.kind_N * clusters + code_N, weights=self.popularity_N, minlength=kinds * clusters)
        share_GK = weight.reshape(kinds, clusters).float()
        share_GK /= share_GK.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return self.pull_GG @ share_GK


@torch.no_grad()
def move(
    code_N: Tensor, codewords_KD: Tensor, partner_NP: Tensor, gain_NP: Tensor, residual_ND: Tensor, moves: Moves,
    generator: torch.Generator, attraction: Attraction | None = None, groups: Groups | None = None,
) -> Tensor:  # fmt: skip
    """Codes after the sweeps: int64[N].

    Args:
        code_N: where products start.
        codewords_KD: of these codes; a codeword that has lost all its products stays where it is.
        gain_NP: weight times gain of each pair.
        residual_ND: what the codewords of this level stand for.
        generator: on the CPU, whatever the device, so that all devices move alike.
        attraction: how kinds of products attract each other, where that is known.
        groups: products move within the codewords of their group.
    """
    share_NP = shares(gain_NP)
    for _ in range(moves.sweeps):
        best_N, gains_N = _best_codewords(code_N, codewords_KD, partner_NP, share_NP, residual_ND, moves, attraction, groups)
        wanting_W = gains_N.nonzero().flatten()
        moving_W = (torch.rand(len(wanting_W), generator=generator) < MOVING_SHARE).to(code_N.device)
        code_N = code_N.clone()
        code_N[wanting_W[moving_W]] = best_N[wanting_W[moving_W]]
        codewords_KD = means(residual_ND, code_N, codewords_KD)
        if len(wanting_W) < FEW * len(code_N):
            break
    return code_N


def shares(gain_NP: Tensor) -> Tensor:
    """Gains of each product's pairs as shares of what they come to in all: float[N, P]."""
    return gain_NP / gain_NP.abs().sum(dim=1, keepdim=True).clamp(min=1e-12)


def _best_codewords(
    code_N: Tensor, codewords_KD: Tensor, partner_NP: Tensor, share_NP: Tensor, residual_ND: Tensor, moves: Moves,
    attraction: Attraction | None, groups: Groups | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The codeword at which each product scores best, int64[N], and whether that is better than where it is, bool[N]."""
    clusters = len(codewords_KD)
    size_K = torch.bincount(code_N, minlength=clusters)
    cost_K = moves.size_weight * (size_K.clamp(min=1) * (clusters / len(code_N))).log()
    half_norm_K = codewords_KD.square().sum(dim=1) / 2
    per_distance = 2 * moves.distance_weight / median_distance(residual_ND, codewords_KD) if moves.distance_weight else 0.0
    attracted_GK = attraction.scores(code_N, clusters) if attraction else None
    best, better = [], []
    for first in range(0, len(code_N), rows := max(1, SCORES_AT_ONCE // clusters)):
        of = slice(first, first + rows)
        code_B = code_N[of]
        score_BK = (-cost_K).repeat(len(code_B), 1)
        if per_distance:
            score_BK.add_(torch.addmm(-half_norm_K, residual_ND[of], codewords_KD.T), alpha=per_distance)
        score_BK.scatter_add_(1, code_N[partner_NP[of]], share_NP[of])
        if attraction and attracted_GK is not None:
            score_BK += attracted_GK[attraction.kind_N[of]]
        if groups:
            score_BK.masked_fill_(other_group(groups.of_codeword_K, groups.of_product_N[of]), -torch.inf)
        score_B, best_B = score_BK.max(dim=1)
        best.append(best_B)
        better.append(score_B > score_BK.gather(1, code_B[:, None]).squeeze(1) + 1e-6)
    return torch.cat(best), torch.cat(better)


def median_distance(residual_ND: Tensor, codewords_KD: Tensor) -> float:
    """Median over products of the squared distance to the nearest codeword, never 0."""
    sample_SD = residual_ND[:: max(1, len(residual_ND) // ROWS_MEASURED)]
    return max(1e-6, float(torch.cdist(sample_SD, codewords_KD).amin(dim=1).square().median()))


def means(x_ND: Tensor, code_N: Tensor, codewords_KD: Tensor) -> Tensor:
    """Mean of the rows of each codeword, and the codeword itself where it has none: float[K, D]."""
    sums_KD = torch.zeros_like(codewords_KD).index_add_(0, code_N, x_ND)
    count_K1 = torch.bincount(code_N, minlength=len(codewords_KD))[:, None]
    return torch.where(count_K1 > 0, sums_KD / count_K1.clamp(min=1), codewords_KD)


def drawn_together(x_ND: Tensor, group_N: Tensor, share: float) -> Tensor:
    """Each row drawn by `share` towards the mean of its group; rows of no group, of number -1, stay where they are."""
    known_N = group_N >= 0
    if not share or not known_N.any():
        return x_ND
    nothing_GD = x_ND.new_zeros(int(group_N.max()) + 1, x_ND.shape[1])
    centre_GD = means(x_ND[known_N], group_N[known_N], nothing_GD)
    drawn_ND = x_ND.clone()
    drawn_ND[known_N] = torch.lerp(x_ND[known_N], centre_GD[group_N[known_N]], share)
    return drawn_ND
