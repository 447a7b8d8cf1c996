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

from collections.abc import Iterator
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

ROWS_AT_ONCE = 16_384
"""Products whose pairs are looked at together: what is kept of a pair is small, and what is computed on the way is not."""

GRADES: tuple[dict[int, float], ...] = (
    {UNKNOWN: 0.0, UNRELATED: -0.05, RELATED: 0.05, SIBLING_LEAF: 0.05, SAME_LEAF: 0.2},
    {UNKNOWN: 0.0, UNRELATED: -0.15, RELATED: -0.15, SIBLING_LEAF: -0.15, SAME_LEAF: 0.15},
)
"""What the taxonomy adds to a pair's cosine at the first and at the second level."""


@dataclass(frozen=True)
class Pairs:
    """P partners of each of N products.

    Attributes:
        partner_NP: int32, positions of products.
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
    count, nearest = len(x_NE), near.index_NK.shape[1]
    shape = (count, nearest + settings.random_partners)
    partner_NP, cosine_NP, relation_NP = np.empty(shape, np.int32), np.empty(shape, np.float32), np.empty(shape, np.int8)
    drawn = numpy_stream(seed, PAIRS).integers(count, size=(-(-count // ROWS_TOGETHER), settings.random_partners))
    for block, first in enumerate(range(0, count, ROWS_TOGETHER)):
        rows = slice(first, first + ROWS_TOGETHER)
        partner_NP[rows, :nearest], partner_NP[rows, nearest:] = near.index_NK[rows], drawn[block]
        cosine_NP[rows, :nearest], cosine_NP[rows, nearest:] = near.cosine_NK[rows], x_NE[rows] @ x_NE[drawn[block]].T
        relation_NP[rows] = taxonomy.relation(taxonomy.leaf_of_N[rows, None], taxonomy.leaf_of_N[partner_NP[rows]])
    partner, cosine, relation = (torch.from_numpy(each).to(device) for each in (partner_NP, cosine_NP, relation_NP))
    return Pairs(partner, cosine, _weights(partner, cosine), relation)


def _weights(partner_NP: Tensor, cosine_NP: Tensor) -> Tensor:
    """1 / (pairs in the bin), and 0 for a product with itself: float32[N, P]."""
    itself_NP = partner_NP == torch.arange(len(partner_NP), device=partner_NP.device)[:, None]
    in_bin_B = torch.zeros(BINS, dtype=torch.int64, device=cosine_NP.device)
    for rows in _blocks(len(cosine_NP)):
        in_bin_B += torch.bincount(_bins(cosine_NP[rows])[~itself_NP[rows]], minlength=BINS)
    weight_B = 1 / in_bin_B.clamp(min=1).float()
    weight_NP = torch.empty_like(cosine_NP)
    for rows in _blocks(len(cosine_NP)):
        weight_NP[rows] = weight_B[_bins(cosine_NP[rows])] * ~itself_NP[rows]
    return weight_NP


def weighted_gains(pairs: Pairs, level: int, code_N: Tensor, above_NP: Tensor) -> Tensor:
    """Weight times gain of each pair at a level; zero where the two do not share the codes above it: float[N, P].

    Args:
        level: from 0.
        code_N: the codes of the level that k-means found.
        above_NP: which pairs share the codes above the level.
    """
    even = even_cosine(pairs, above_NP & (pairs.weight_NP > 0), pairs.together(code_N))
    gain_NP = torch.empty_like(pairs.cosine_NP)
    grades = GRADES[level] if level < len(GRADES) else {}
    grade_R = torch.tensor([grades.get(relation, 0.0) for relation in range(UNKNOWN, SAME_LEAF + 1)], device=gain_NP.device)
    for rows in _blocks(len(gain_NP)):
        grade_BP = grade_R[pairs.relation_NP[rows].long() - UNKNOWN]
        gain_NP[rows] = (pairs.cosine_NP[rows] - even + grade_BP) * (pairs.weight_NP[rows] * above_NP[rows])
    return gain_NP


def even_cosine(pairs: Pairs, counted_NP: Tensor, together_NP: Tensor) -> float:
    """The cosine above which most pairs share a code, and below which most do not, each bin of cosine counting alike.

    The border between bins that is wrong about the fewest pairs: of those below it that share, and those above it that do not.

    Args:
        counted_NP: which pairs count, bool.
        together_NP: which pairs share a code, bool.
    """
    all_B = torch.zeros(BINS, dtype=torch.int64, device=counted_NP.device)
    together_B = torch.zeros_like(all_B)
    for rows in _blocks(len(counted_NP)):
        bin_BP, counted_BP = _bins(pairs.cosine_NP[rows]), counted_NP[rows]
        all_B += torch.bincount(bin_BP[counted_BP], minlength=BINS)
        together_B += torch.bincount(bin_BP[counted_BP & together_NP[rows]], minlength=BINS)
    share_B = together_B / all_B.clamp(min=1)
    apart_B = torch.where(all_B > 0, 1 - share_B, torch.zeros_like(share_B))
    wrong_B = torch.cat([share_B.new_zeros(1), share_B.cumsum(0)]) + torch.cat([apart_B.flip(0).cumsum(0).flip(0), share_B.new_zeros(1)])
    return float(wrong_B.argmin()) * BIN_WIDTH


def _bins(cosine_BP: Tensor) -> Tensor:
    return (cosine_BP / BIN_WIDTH).long().clamp(0, BINS - 1)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, first + ROWS_AT_ONCE) for first in range(0, count, ROWS_AT_ONCE))
