"""The loss of a relevance encoder: its three terms, on similarities alone, and the loss of a batch of texts. Plain torch.

    L = order_weight * L_order + in_batch_weight * L_in_batch + product_weight * L_product

L_order is RankNet's pairwise logistic loss (Burges et al. 2005), every pair weighted by the difference of its gains. L_in_batch
is InfoNCE (van den Oord et al. 2018) with the negatives that are false ones left out. L_product is the same pairwise loss among
the products of one query. What each is worth: docs/encoder.md.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional

from shelfcode.embedding.relevance.batches import UNJUDGED, Batch
from shelfcode.embedding.relevance.recipe import RelevanceRecipe
from shelfcode.embedding.relevance.training_set import RelevanceSet
from shelfcode.interactions.columns import EXACT

TEXTS_AT_ONCE = 32
"""Texts that are padded to one length in training."""

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


class RelevanceLoss(nn.Module):
    """A batch's texts -> the loss. One forward pass per call, so that DistributedDataParallel can wrap it."""

    def __init__(self, recipe: RelevanceRecipe, model: SentenceTransformer, relevance: RelevanceSet, prompts: tuple[str, str]) -> None:
        super().__init__()
        self.model, self.relevance, self.settings, (self.query_prompt, self.product_prompt) = model, relevance, recipe.objective, prompts
        self.gains = torch.tensor([*recipe.objective.gains, float("nan")])
        assert UNJUDGED == -1  # the last of the gains is that of a product that nobody judged

    def forward(self, batch: Batch) -> Tensor:
        query_AD = self.embedded([self.relevance.queries[query] for query in batch.query_A], self.query_prompt)
        product_BD = self.embedded([self.relevance.texts[product] for product in batch.product_B], self.product_prompt)
        with torch.autocast(query_AD.device.type, enabled=False):  # bfloat16 has two digits of a cosine, and `scale` makes them louder
            return self.of_embeddings(query_AD, product_BD, batch)

    def of_embeddings(self, query_AD: Tensor, product_BD: Tensor, batch: Batch) -> Tensor:
        """The loss, from embeddings of unit norm."""
        settings, device = self.settings, query_AD.device
        owner_B, label_B = torch.from_numpy(batch.owner_B).to(device), torch.from_numpy(batch.label_B.astype(np.int64)).to(device)
        similarity_AB = query_AD @ product_BD.T
        own_B = similarity_AB[owner_B, torch.arange(len(owner_B), device=device)]
        exact_B, other_B = label_B == EXACT, label_B > 1
        loss = settings.order_weight * order_loss(own_B, owner_B, self.gains.to(device)[label_B], settings.scale)
        if settings.in_batch_weight:
            negative_AB = torch.from_numpy(batch.negative_AB).to(device)
            loss = loss + settings.in_batch_weight * in_batch_loss(similarity_AB, owner_B, exact_B, negative_AB, settings.scale)
        if settings.product_weight:
            loss = loss + settings.product_weight * product_loss(product_BD @ product_BD.T, owner_B, exact_B, other_B, settings.scale)
        return loss

    def embedded(self, texts: Sequence[str], prompt: str) -> Tensor:
        """Embeddings of unit norm, with gradient: float32[len(texts), D]."""
        by_length = np.argsort([len(text) for text in texts], kind="stable")  # texts of like length together: little padding
        parts = [by_length[first : first + TEXTS_AT_ONCE] for first in range(0, len(texts), TEXTS_AT_ONCE)]
        x_ND = torch.cat([self._forward([texts[place] for place in part], prompt) for part in parts])
        return x_ND[torch.from_numpy(np.argsort(by_length)).to(x_ND.device)]

    def _forward(self, texts: list[str], prompt: str) -> Tensor:
        inputs = self.model.preprocess(texts, prompt=prompt)
        device = next(self.model.parameters()).device
        features = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
        return functional.normalize(self.model(features)["sentence_embedding"].float(), dim=-1)
