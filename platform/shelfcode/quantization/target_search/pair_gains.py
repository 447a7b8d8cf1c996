"""Pairs of products, and what each gains when its two products share a codeword: what the moves go by (moves.py).

The partners of a product are its nearest neighbours, who should share its codewords, and others at random, who should not. A pair weighs
1 / (pairs in its bin of cosine), so that every similarity counts alike: nearly all random pairs are dissimilar.

A pair gains when it shares a codeword that its similarity deserves, and loses when it shares one that it does not:

    gain_ij = cos_ij - even_l + grade_l(i, j)

`even_l` is the cosine at which k-means puts half of the pairs together at level l, of those that are together above it: what size the
codebook has decides it, and no encoder's scale of cosines has to be known. The grade is the taxonomy's word: at the first level the
department and the leaf count, at the second the leaf, below it similarity alone.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.catalog.taxonomy import RELATED, SAME_LEAF, SIBLING_LEAF, UNKNOWN, UNRELATED, Taxonomy
from shelfcode.embedding.neighbours import Neighbours
from shelfcode.quantization.sampler import PAIRS, numpy_stream
from shelfcode.quantization.settings import MoveSettings

BIN_WIDTH = 0.05
"""Of cosine; pairs below 0 are in the first bin. The bins of evaluation (evaluation/quality/pairs.py)."""
BINS = round(1 / BIN_WIDTH)

ROWS_TOGETHER = 256
"""Products that share one draw of random partners, so that a matrix product gives the cosines."""

GRADES: tuple[dict[int, float], ...] = (
    {UNKNOWN: 0.0, UNRELATED: -0.05, RELATED: 0.05, SIBLING_LEAF: 0.05, SAME_LEAF: 0.2},
    {UNKNOWN: 0.0, UNRELATED: -0.15, RELATED: -0.15, SIBLING_LEAF: -0.15, SAME_LEAF: 0.15},
)
"""What the taxonomy adds to a pair's cosine at the first and at the second level."""


@dataclass(frozen=True)
class Pairs:
    """P partners of each of N products.

    Attributes:
        partner_NP: int64, positions of products.
        cosine_NP: float32.
        weight_NP: float32; 0 where a product was drawn as its own partner.
        relation_NP: int8, how the two stand in the taxonomy (catalog/taxonomy.py).
    """

    partner_NP: Tensor
    cosine_NP: Tensor
    weight_NP: Tensor
    relation_NP: Tensor

    def together(self, code_N: Tensor) -> Tensor:
        """Which pairs share a code: bool[N, P]."""
        return code_N[self.partner_NP] == code_N[:, None]


def draw_pairs(
    x_NE: NDArray[np.float32], near: Neighbours, taxonomy: Taxonomy, settings: MoveSettings, seed: int, device: torch.device
) -> Pairs:
    """Each product with its neighbours and with others at random.

    Args:
        x_NE: of unit norm, in memory or memory-mapped, in the order of `taxonomy.leaf_of_N`.
        near: of these products.
    """
    count = len(x_NE)
    drawn = numpy_stream(seed, PAIRS).integers(count, size=(-(-count // ROWS_TOGETHER), settings.random_partners))
    random_NR = np.repeat(drawn, ROWS_TOGETHER, axis=0)[:count]
    cosine_NR = np.empty(random_NR.shape, np.float32)
    for block, first in enumerate(range(0, count, ROWS_TOGETHER)):
        rows = slice(first, first + ROWS_TOGETHER)
        cosine_NR[rows] = x_NE[rows] @ x_NE[drawn[block]].T
    partner_NP, cosine_NP = np.hstack([near.index_NK, random_NR]), np.hstack([near.cosine_NK, cosine_NR])
    other_NP = partner_NP != np.arange(count)[:, None]
    bin_NP = np.clip((cosine_NP / BIN_WIDTH).astype(np.int64), 0, BINS - 1)
    pairs_in_bin = np.bincount(bin_NP[other_NP], minlength=BINS)
    weight_NP = (1 / pairs_in_bin.clip(min=1)).astype(np.float32)[bin_NP] * other_NP
    relation_NP = taxonomy.relation(taxonomy.leaf_of_N[:, None], taxonomy.leaf_of_N[partner_NP])
    partner, cosine, weight, relation = (torch.from_numpy(each).to(device) for each in (partner_NP, cosine_NP, weight_NP, relation_NP))
    return Pairs(partner, cosine, weight, relation)


def weighted_gains(pairs: Pairs, level: int, code_N: Tensor, above_NP: Tensor) -> Tensor:
    """Weight times gain of each pair at a level; zero where the two do not share the codes above it: float[N, P].

    Args:
        level: from 0.
        code_N: the codes of the level that k-means found.
        above_NP: which pairs share the codes above the level.
    """
    weight_NP = pairs.weight_NP * above_NP
    gain_NP = pairs.cosine_NP - even_cosine(pairs, weight_NP, pairs.together(code_N))
    if level < len(GRADES):
        grade_R = torch.tensor([GRADES[level][relation] for relation in range(UNKNOWN, SAME_LEAF + 1)], device=gain_NP.device)
        gain_NP += grade_R[pairs.relation_NP.long() - UNKNOWN]
    return gain_NP.mul_(weight_NP)


def even_cosine(pairs: Pairs, weight_NP: Tensor, together_NP: Tensor) -> float:
    """The cosine above which most pairs share a code, and below which most do not, each bin of cosine counting alike.

    The border between bins that is wrong about the fewest pairs: of those below it that share, and those above it that do not. Pairs of
    weight 0 are not counted.
    """
    bin_NP = (pairs.cosine_NP / BIN_WIDTH).long().clamp(0, BINS - 1)
    counted_NP = weight_NP > 0
    all_B = torch.bincount(bin_NP[counted_NP], minlength=BINS)
    together_B = torch.bincount(bin_NP[counted_NP & together_NP], minlength=BINS)
    share_B = together_B / all_B.clamp(min=1)
    apart_B = torch.where(all_B > 0, 1 - share_B, torch.zeros_like(share_B))
    wrong_B = torch.cat([share_B.new_zeros(1), share_B.cumsum(0)]) + torch.cat([apart_B.flip(0).cumsum(0).flip(0), share_B.new_zeros(1)])
    return float(wrong_B.argmin()) * BIN_WIDTH
