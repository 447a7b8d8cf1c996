"""A product moved towards its neighbourhood: what the coarse levels are to see instead of the single point.

Borders between codewords run through dense regions of a catalog and tear near-identical products apart. Averaging every
product with its neighbours, again and again, draws each dense region together, so that the borders come to lie between
regions (a random walk on the neighbour graph; Coifman and Lafon 2006, Diffusion maps). One round is

    z_i  <-  (z_i + sum_j w_ij z_j) / (1 + sum_j w_ij),        w_ij = exp(-(1 - cos_ij) / width) * grade_ij

where grade_ij says how near i and j stand in the taxonomy, and width is a part of the catalog's own median distance to
the farthest neighbour counted, so that it suits encoders with wide and with narrow cosines.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, Taxonomy
from shelfcode.embedding.neighbours import Neighbours
from shelfcode.quantization.settings import NeighbourhoodSettings

SMALLEST_WIDTH = 1e-3
"""In cosine, for a catalog that consists of copies."""


def neighbour_weights(near: Neighbours, taxonomy: Taxonomy, settings: NeighbourhoodSettings) -> NDArray[np.float32]:
    """w_ij of every product and its neighbours, relative to the product's own weight of 1: float32[N, K]."""
    distance_NK = 1 - near.cosine_NK
    width = max(SMALLEST_WIDTH, settings.width * float(np.median(distance_NK[:, -1])))
    leaf_N = taxonomy.leaf_of_N
    relation_NK = taxonomy.relation(leaf_N[:, None], leaf_N[near.index_NK])
    # A product without a path is no reason for or against: its neighbours count like sibling leaves.
    sibling_NK = (relation_NK == SIBLING_LEAF) | (relation_NK == UNKNOWN)
    grade_NK = np.select([relation_NK == SAME_LEAF, sibling_NK], [settings.same_leaf, settings.sibling_leaf], settings.other)
    return (np.exp(-distance_NK / width) * grade_NK).astype(np.float32)


def smooth(z_ND: Tensor, near: Neighbours, weight_NK: NDArray[np.float32], rounds: list[int]) -> list[Tensor]:
    """Products after each of the numbers of rounds, in that order: float[N, D] each."""
    itself_N1 = np.arange(len(z_ND))[:, None]
    index_NK = torch.from_numpy(np.hstack([itself_N1, near.index_NK])).to(z_ND.device)
    weight = torch.from_numpy(np.hstack([np.ones_like(itself_N1, dtype=np.float32), weight_NK])).to(z_ND.device)
    weight /= weight.sum(dim=1, keepdim=True)
    after = {0: z_ND}
    for done in range(1, max(rounds) + 1):
        z_ND = embedding_bag(index_NK, z_ND, per_sample_weights=weight, mode="sum")
        if done in rounds:
            after[done] = z_ND
    return [after[wanted] for wanted in rounds]
