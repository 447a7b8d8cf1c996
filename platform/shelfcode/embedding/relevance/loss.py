"""The loss of a relevance encoder, on similarities alone: plain torch.

    L = order_weight * L_order + in_batch_weight * L_in_batch + product_weight * L_product

L_order is RankNet's pairwise logistic loss (Burges et al. 2005), every pair weighted by the difference of its gains. L_in_batch
is InfoNCE (van den Oord et al. 2018) with the negatives that are false ones left out. L_product is the same pairwise loss among
the products of one query. What each is worth: docs/encoder.md.
"""

import torch
from torch import Tensor
from torch.nn import functional

LOWEST = -1e4
"""In place of a similarity that is not to count; exp of it is 0."""


def order_loss(similarity_B: Tensor, owner_B: Tensor, gain_B: Tensor, scale: float) -> Tensor:
    """Products of one query in the order of their gains: mean of softplus(-scale * (s_i - s_j)) over pairs with gain_i > gain_j.

    Args:
        similarity_B: cosine of a product and the query it was drawn for.
        owner_B: that query.
        gain_B: of its label; NaN where it is not judged, which leaves it out.
    """
    weight_BB = (gain_B[:, None] - gain_B[None]).nan_to_num(0.0).clamp(min=0) * (owner_B[:, None] == owner_B[None])
    difference_BB = similarity_B[:, None] - similarity_B[None]
    return (functional.softplus(-scale * difference_BB) * weight_BB).sum() / weight_BB.sum().clamp(min=1e-6)


def in_batch_loss(similarity_AB: Tensor, owner_B: Tensor, exact_B: Tensor, negative_AB: Tensor, scale: float) -> Tensor:
    """A query's Exacts against what is no match of it: mean over Exacts of -log softmax among itself and the query's negatives.

    Args:
        similarity_AB: cosine of every query and every product of the batch.
        exact_B: whether a product is an Exact of its own query.
        negative_AB: whether a product counts as a negative of a query.
    """
    scaled_AB = scale * similarity_AB
    rest_A = scaled_AB.masked_fill(~negative_AB, LOWEST).logsumexp(dim=1)
    exact_E = torch.nonzero(exact_B).squeeze(1)
    query_E = owner_B[exact_E]
    return functional.softplus(rest_A[query_E] - scaled_AB[query_E, exact_E]).mean()


def product_loss(similarity_BB: Tensor, owner_B: Tensor, exact_B: Tensor, other_B: Tensor, scale: float) -> Tensor:
    """Two Exacts of a query closer than an Exact and a product that is no near-substitute; 0 where a batch has no such triple.

    Args:
        similarity_BB: cosine of every two products of the batch.
        exact_B, other_B: whether a product is an Exact, or a Complement or Irrelevant, of its own query.
    """
    same_BB = owner_B[:, None] == owner_B[None]
    partner_BB = same_BB & exact_B[:, None] & exact_B[None] & ~torch.eye(len(owner_B), dtype=torch.bool, device=owner_B.device)
    other_BB = same_BB & exact_B[:, None] & other_B[None] & partner_BB.any(dim=1, keepdim=True)
    if not other_BB.any():
        return similarity_BB.new_zeros(())
    near_B = (similarity_BB * partner_BB).sum(dim=1) / partner_BB.sum(dim=1).clamp(min=1)
    difference_BB = near_B[:, None] - similarity_BB
    return functional.softplus(-scale * difference_BB)[other_BB].mean()
