"""The losses of training: the cross-entropy of codewords, and the graded contrastive term.

The contrastive term takes the catalog's taxonomy as supervision, level by level. The positives P(i) of a product i, an anchor,
are the products of its own leaf and of sibling leaves, with strengths w_ij; its negatives are the products with no shared
ancestor. With h the latent of a level, scaled to unit norm,

    l_i = - sum_{j in P(i)} w_ij log( exp(h_i h_j / t) / sum_{k in P(i) or negative} exp(h_i h_k / t) ) / sum_{j in P(i)} w_ij

This is the supervised contrastive loss (Khosla et al. 2020, equation 2, L_out) with graded positives. Related products
that share neither leaf nor parent are neither positives nor negatives: they stay out of both sums, as do products without a
category path.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_functional
from torch import Tensor

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, UNRELATED

OUT_OF_REACH = -40.0
"""The lowest logit of a codeword, relative to the highest: lower ones count as this, a probability of 4e-18."""


def graded_pairs(
    leaf_B: Tensor, parent_B: Tensor, top_B: Tensor, anchors_A: Tensor, same_leaf: float, sibling_leaf: float
) -> tuple[Tensor, Tensor]:
    """Strength of each anchor's pairs as positives, and which pairs enter its softmax.

    Args:
        leaf_B, parent_B, top_B: node numbers of each product; leaf -1 without a path, parent -1 at the top.
        anchors_A: int64, the products i, by their places in the batch.

    Returns:
        float[A, B] strengths, zero for the product itself, and bool[A, B].
    """
    relation_AB = relation(leaf_B, parent_B, top_B, anchors_A)
    relation_AB[torch.arange(len(anchors_A), device=leaf_B.device), anchors_A] = UNKNOWN
    strength_AB = (relation_AB == SAME_LEAF) * same_leaf + (relation_AB == SIBLING_LEAF) * sibling_leaf
    return strength_AB, (strength_AB > 0) | (relation_AB == UNRELATED)


def relation(leaf_B: Tensor, parent_B: Tensor, top_B: Tensor, anchors_A: Tensor) -> Tensor:
    """`Taxonomy.relation` of anchors and all products of a batch, on its device: int8[A, B]."""
    same_leaf_AB = leaf_B[anchors_A, None] == leaf_B
    sibling_AB = (parent_B[anchors_A, None] == parent_B) & (parent_B >= 0)
    unrelated_AB = top_B[anchors_A, None] != top_B
    known_AB = (leaf_B[anchors_A, None] >= 0) & (leaf_B >= 0)
    relation_AB = torch.ones_like(known_AB, dtype=torch.int8)
    relation_AB[unrelated_AB] = UNRELATED
    relation_AB[sibling_AB] = SIBLING_LEAF
    relation_AB[same_leaf_AB] = SAME_LEAF
    relation_AB[~known_AB] = UNKNOWN
    return relation_AB


def contrastive_loss(
    h_LBD: Tensor, anchors_A: Tensor, strength_AB: Tensor, counted_AB: Tensor, temperature: float, level_weights: list[float]
) -> Tensor:
    """Weighted mean over levels of the mean of l_i over the anchors that have a positive; zero if none has.

    Args:
        h_LBD: latents of each level, for the products of all workers, with gradient.
        anchors_A, strength_AB, counted_AB: as in `graded_pairs`.
    """
    total_A = strength_AB.sum(dim=1)
    having = (total_A > 0).nonzero().flatten()
    if not len(having):
        return h_LBD.sum() * 0
    anchors_A = anchors_A[having]
    target_AB = strength_AB[having] / total_A[having, None]
    outside_AB = torch.zeros_like(target_AB).masked_fill_(~counted_AB[having], -torch.inf)
    loss = h_LBD.new_zeros(())
    for h_BD, weight in zip(torch.nn.functional.normalize(h_LBD, dim=-1), level_weights, strict=False):
        h_AD = h_BD[anchors_A]
        log_sum_A = torch.logsumexp(torch.addmm(outside_AB, h_AD, h_BD.T, alpha=1 / temperature), dim=1)
        # The strengths add up to one, so the weighted sum of logits is one product with the weighted sum of positives.
        pulled_A = (h_AD * (target_AB @ h_BD)).sum(dim=1) / temperature
        loss = loss + weight * (log_sum_A - pulled_A).mean()
    return loss / sum(level_weights[: len(h_LBD)])


def codeword_cross_entropy(logits_BK: Tensor, target_B: Tensor) -> Tensor:
    """Mean over the batch of -log softmax(logits) at the target: a scalar."""
    loss: Tensor = _CodewordCrossEntropy.apply(logits_BK, target_B)  # type: ignore[no-untyped-call]
    return loss


class _CodewordCrossEntropy(torch.autograd.Function):
    """Like torch's cross-entropy, but codewords out of reach get a tiny probability instead of a denormal one.

    At low temperature most codewords are out of reach, and denormal numbers make both the exponential and the matrix product
    of the backward pass many times slower on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, logits_BK: Tensor, target_B: Tensor) -> Tensor:  # type: ignore[override]
        shifted_BK = logits_BK - logits_BK.amax(dim=1, keepdim=True)
        at_target_B = shifted_BK.gather(1, target_B[:, None]).squeeze(1)
        odds_BK = shifted_BK.clamp_(min=OUT_OF_REACH).exp_()
        total_B = odds_BK.sum(dim=1)
        ctx.save_for_backward(odds_BK, total_B, target_B)
        return (total_B.log() - at_target_B).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        odds_BK, total_B, target_B = ctx.saved_tensors
        scale = gradients[0] / len(target_B)
        gradient_BK = odds_BK * (scale / total_B)[:, None]
        gradient_BK.scatter_add_(1, target_B[:, None], (-scale).expand(len(target_B), 1))
        return gradient_BK, None


def gather_with_gradient(h_LBD: Tensor) -> Tensor:
    """The batches of all workers, one after another along B; gradients flow back to each worker's own part.

    DDP averages gradients over workers while the backward pass of this gather adds them up, so a loss that every worker
    computes alike from the gathered batch gets its exact gradient.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return h_LBD
    return torch.cat(dist_functional.all_gather(h_LBD.contiguous()), dim=1)
