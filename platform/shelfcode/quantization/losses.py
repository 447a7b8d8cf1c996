"""The graded contrastive term: the catalog's taxonomy as supervision, level by level.

For product i, its positives P(i) are the products of its own leaf and of sibling leaves, with strengths w_ij; its
negatives are the products with no shared ancestor. With h the sum of codewords down to a level, scaled to unit norm,

    l_i = - sum_{j in P(i)} w_ij log( exp(h_i h_j / t) / sum_{k in P(i) or negative} exp(h_i h_k / t) ) / sum_{j in P(i)} w_ij

This is the supervised contrastive loss (Khosla et al. 2020, equation 2, L_out) with graded positives. Related products
that share neither leaf nor parent are neither: they stay out of both sums, and so do products without a category path.
"""

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_functional
from torch import Tensor

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, UNRELATED


def graded_pairs(leaf_B: Tensor, parent_B: Tensor, top_B: Tensor, same_leaf: float, sibling_leaf: float) -> tuple[Tensor, Tensor]:
    """Strength of every pair as a positive, and which pairs enter the softmax.

    Args:
        leaf_B, parent_B, top_B: node numbers of each product; leaf -1 without a path, parent -1 at the top.

    Returns:
        float[B, B] strengths, zero on the diagonal, and bool[B, B].
    """
    relation_BB = relation(leaf_B, parent_B, top_B)
    relation_BB.fill_diagonal_(UNKNOWN)
    strength_BB = (relation_BB == SAME_LEAF) * same_leaf + (relation_BB == SIBLING_LEAF) * sibling_leaf
    return strength_BB, (strength_BB > 0) | (relation_BB == UNRELATED)


def relation(leaf_B: Tensor, parent_B: Tensor, top_B: Tensor) -> Tensor:
    """`Taxonomy.relation` of all pairs of a batch, on its device: int8[B, B]."""
    same_leaf_BB = leaf_B[:, None] == leaf_B
    sibling_BB = (parent_B[:, None] == parent_B) & (parent_B >= 0)
    unrelated_BB = top_B[:, None] != top_B
    known_BB = (leaf_B[:, None] >= 0) & (leaf_B >= 0)
    relation_BB = torch.ones_like(known_BB, dtype=torch.int8)
    relation_BB[unrelated_BB] = UNRELATED
    relation_BB[sibling_BB] = SIBLING_LEAF
    relation_BB[same_leaf_BB] = SAME_LEAF
    relation_BB[~known_BB] = UNKNOWN
    return relation_BB


def contrastive_loss(h_LBD: Tensor, strength_BB: Tensor, counted_BB: Tensor, temperature: float, level_weights: list[float]) -> Tensor:
    """Weighted mean over levels of the mean of l_i over products that have a positive; zero where none has.

    Args:
        h_LBD: sum of codewords down to each level, of the products of all workers, with gradient.
        strength_BB, counted_BB: from `graded_pairs`.
    """
    total_B = strength_BB.sum(dim=1)
    anchors_A = (total_B > 0).nonzero().flatten()
    if not len(anchors_A):
        return h_LBD.sum() * 0
    target_AB = strength_BB[anchors_A] / total_B[anchors_A, None]
    outside_AB = torch.zeros_like(target_AB).masked_fill_(~counted_BB[anchors_A], -torch.inf)
    loss = h_LBD.new_zeros(())
    for h_BD, weight in zip(torch.nn.functional.normalize(h_LBD, dim=-1), level_weights, strict=False):
        h_AD = h_BD[anchors_A]
        log_sum_A = torch.logsumexp(torch.addmm(outside_AB, h_AD, h_BD.T, alpha=1 / temperature), dim=1)
        # The strengths add up to one, so the weighted sum of logits is one product with the weighted sum of positives.
        pulled_A = (h_AD * (target_AB @ h_BD)).sum(dim=1) / temperature
        loss = loss + weight * (log_sum_A - pulled_A).mean()
    return loss / sum(level_weights[: len(h_LBD)])


def gather_with_gradient(h_LBD: Tensor) -> Tensor:
    """The batches of all workers, one after another along B; gradients flow back to each worker's own part.

    DDP averages gradients over workers while the backward pass of this gather adds them up, so a loss that every worker
    computes alike from the gathered batch gets its exact gradient.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return h_LBD
    return torch.cat(dist_functional.all_gather(h_LBD.contiguous()), dim=1)
