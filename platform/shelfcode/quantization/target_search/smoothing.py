"""Smoothing: every product averaged with its neighbours, again and again, so that dense regions of a catalog draw together.

Borders between codewords run through dense regions and tear near-identical products apart. After smoothing they come to lie between
regions (a random walk on the neighbour graph; Coifman and Lafon 2006, Diffusion maps). One round is

    z_i  <-  (z_i + sum_j w_ij z_j) / (1 + sum_j w_ij),        w_ij = exp(-(1 - cos_ij) / width) * grade_ij

where grade_ij says how near i and j stand in the taxonomy, and width is a fraction of the catalog's own median distance to
the farthest neighbour counted, so that it suits encoders with wide and with narrow cosines.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, Taxonomy
from shelfcode.embedding.neighbours import Neighbours
from shelfcode.quantization.settings import NeighbourhoodSettings

SMALLEST_WIDTH = 1e-3
"""The least width of smoothing, in cosine: a catalog of copies would have none."""

ROWS_WEIGHED = 8192
"""Products whose neighbours are weighed at a time."""


def neighbour_weights(near: Neighbours, taxonomy: Taxonomy, settings: NeighbourhoodSettings) -> NDArray[np.float32]:
    """w_ij of every product and its neighbours, relative to the product's own weight of 1: float32[N, K]."""
    weight_NK = np.empty(near.cosine_NK.shape, np.float32)
    if not weight_NK.size:  # one vector alone has no neighbour
        return weight_NK
    width = max(SMALLEST_WIDTH, settings.width * float(np.median(1 - near.cosine_NK[:, -1])))
    leaf_N = taxonomy.leaf_of_N
    for first in range(0, len(weight_NK), ROWS_WEIGHED):
        rows = slice(first, first + ROWS_WEIGHED)
        relation_BK = taxonomy.relation(leaf_N[rows, None], leaf_N[near.index_NK[rows]])
        # A missing path speaks neither for nor against a pair: it counts like a sibling leaf.
        sibling_BK = (relation_BK == SIBLING_LEAF) | (relation_BK == UNKNOWN)
        grade_BK = np.select([relation_BK == SAME_LEAF, sibling_BK], [settings.same_leaf, settings.sibling_leaf], settings.other)
        weight_NK[rows] = np.exp(-(1 - near.cosine_NK[rows]) / width) * grade_BK
    return weight_NK


def smooth(z_ND: Tensor, near: Neighbours, weight_NK: NDArray[np.float32], rounds: list[int]) -> list[Tensor]:
    """Products after each of these numbers of rounds, in that order: float[N, D] each."""
    itself_N1 = np.arange(len(z_ND))[:, None]
    index_NK = torch.from_numpy(np.hstack([itself_N1, near.index_NK])).to(z_ND.device)
    weight = torch.from_numpy(np.hstack([np.ones_like(itself_N1, dtype=np.float32), weight_NK])).to(z_ND.device)
    weight /= weight.sum(dim=1, keepdim=True)
    after = {0: z_ND}
    for done in range(1, max(rounds) + 1):
        z_ND = embedding_bag(index_NK, z_ND, per_sample_weights=weight, mode="sum")
        if done in rounds:
            after[done] = z_ND
    return [after[each] for each in rounds]
