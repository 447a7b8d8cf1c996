"""CR, the scoring model: a transformer over atomic product IDs that scores every product of the catalog at once.

What it is good at and what it costs: it learns each product by itself, so it needs a vector for each, and knows nothing of a product
that nobody bought yet. It is trained with the softmax over the whole catalog: a single random negative a target, as in SASRec's first
code, makes such models look weak (Klenitskiy & Vasilev 2023).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, O own products, M targets, N products, D width.

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shelfcode.retrieval.assortment import Assortment
from shelfcode.retrieval.catalog_softmax import catalog_cross_entropy
from shelfcode.retrieval.examples import AGE_BUCKETS, Marks
from shelfcode.retrieval.prompt_embedding import START_STD, PromptEmbedding, TokenTensors, count_logarithms
from shelfcode.retrieval.recipe import RetrieverRecipe
from shelfcode.retrieval.transformer import Shape, Transformer

NEVER = -1e4
"""A logit of what cannot be."""

QUICKER = 10.0
"""By how much the few numbers that weigh own products learn faster than what there are thousands of."""

START_SIZE, UNSOLD = 0.1, 0.1
"""Root mean square of the vectors that training starts from; and what a product that was never sold counts for."""


class ScoringModel(nn.Module):
    """Scores of N products for a prompt."""

    def __init__(self, recipe: RetrieverRecipe, marks: Marks, products: int) -> None:
        super().__init__()
        size = recipe.model
        self.masked = recipe.scoring.objective == "masked"
        self.product = nn.Embedding(products, size.width)
        nn.init.normal_(self.product.weight, std=START_STD)
        self.bias = nn.Parameter(torch.zeros(products))
        self.prompt = PromptEmbedding(marks, size.width)
        self.transformer = Transformer(Shape(size.width, size.layers, size.heads, size.hidden), size.dropout)
        self.own = OwnBias()
        self.sampling: Sampling | None = None

    def start_from(self, vectors_ND: NDArray[np.float32], sold_N: NDArray[np.floating]) -> None:
        """What is known before training: products that occur together are near each other, and some are sold more often than others."""
        with torch.no_grad():
            self.product.weight.add_(START_SIZE * torch.from_numpy(vectors_ND).to(self.bias.device))
            self.bias.add_(torch.from_numpy(np.log(sold_N + UNSOLD) - np.log(sold_N + UNSOLD).mean()).float().to(self.bias.device))

    def sample_above(self, products: int, drawn: int, sold_N: NDArray[np.floating]) -> None:
        """Train by a sample of the catalog where it has more products than this."""
        if len(sold_N) > products:
            self.sampling = Sampling(sold_N, drawn)

    def take_up(self, assortment: Assortment, trained: Assortment) -> None:
        """Speak of the products of another assortment: those that were trained on keep what was learnt, and of others nothing is known."""
        if assortment is trained:
            return
        row_N = torch.from_numpy(trained.place_of.get(assortment.keys_N)).to(self.bias.device)
        known_N = row_N >= 0
        with torch.no_grad():
            weight_ND = torch.where(known_N[:, None], self.product.weight[row_N.clamp(min=0)], 0.0)
            bias_N = torch.where(known_N, self.bias[row_N.clamp(min=0)], NEVER)
        self.with_products(weight_ND, bias_N)

    def with_products(self, weight_ND: Tensor, bias_N: Tensor) -> "ScoringModel":
        """Take vectors and biases of products as they are, without a copy."""
        self.product, self.bias = nn.Embedding.from_pretrained(weight_ND), nn.Parameter(bias_N, requires_grad=False)
        return self

    def read(self, tokens: TokenTensors) -> Tensor:
        """What the transformer makes of prompts: [R, T, D]."""
        x_RTD = self.prompt(tokens, self.product(tokens.product_RT.clamp(min=0)))
        position_RT = torch.arange(x_RTD.shape[1], device=x_RTD.device).expand(x_RTD.shape[:2])
        mask = (position_RT < tokens.length_R[:, None])[:, None, None, :] if self.masked else None
        return self.transformer(x_RTD, position_RT, mask)

    def loss(
        self, tokens: TokenTensors, row_M: Tensor, position_M: Tensor, product_M: Tensor, weight_M: Tensor, smoothing: float
    ) -> Tensor:
        """Weighted sum of the targets' cross-entropy over the catalog, without what stands in the session already: that is no answer.

        Targets at one token share its softmax.
        """
        h_RTD, products = self.read(tokens), len(self.bias)
        length = h_RTD.shape[1]
        place_A, of_M = torch.unique(row_M * length + position_M, return_inverse=True)
        row_A, position_A = place_A // length, place_A % length
        order_M = torch.argsort(of_M)
        of_M, product_M, weight_M = of_M[order_M], product_M[order_M], weight_M[order_M]
        extras = [self.own(tokens, row_A, self.bias), seen(tokens, row_A, position_A, of_M * products + product_M, products)]
        weight_CD: Tensor = self.product.weight
        bias_C: Tensor = self.bias
        if self.sampling is not None:
            column_N, columns_C, log_q_C = self.sampling.draw(product_M)
            weight_CD, product_M = weight_CD[columns_C], column_N[product_M]
            bias_C = bias_C[columns_C] - log_q_C
            extras = [*(_of_columns(extra, column_N) for extra in extras), (log_q_C[product_M], of_M, product_M)]
        extra_E, at_E, product_E = (torch.cat(parts) for parts in zip(*extras, strict=True))
        return catalog_cross_entropy(
            h_RTD[row_A, position_A], weight_CD, bias_C, (extra_E, at_E, product_E), of_M, product_M, weight_M, smoothing
        )

    def last(self, tokens: TokenTensors) -> Tensor:
        """Scores of all products after the whole prompt: [R, N]."""
        row_R = torch.arange(len(tokens.length_R), device=tokens.length_R.device)
        logits_RN = functional.linear(self.read(tokens)[row_R, tokens.length_R - 1], self.product.weight, self.bias).float()
        extra_E, at_E, product_E = self.own(tokens, row_R, self.bias)
        return logits_RN.index_put_((at_E, product_E), extra_E, accumulate=True)


class Sampling:
    """Which products a step scores, where it does not score all: its targets and some drawn at random, the more popular the likelier.

    A product's logit is lowered by the logarithm of how likely it is to be among them, but for the targets, which always are, so that the
    expected sum of exponentials is that of the whole catalog (Bengio & Senecal 2008; Klenitskiy & Vasilev 2023 for such models).
    """

    def __init__(self, sold_N: NDArray[np.floating], drawn: int) -> None:
        self._share_N = torch.from_numpy(sold_N / max(1, sold_N.sum())).float()
        proposal_N = torch.from_numpy((sold_N + 1) ** 0.5).float()
        self._proposal_N, self._drawn = proposal_N / proposal_N.sum(), drawn

    def draw(self, product_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Column of each product (-1: none), the products of the columns, and the logarithm of how likely each is one."""
        drawn = torch.multinomial(self._proposal_N, self._drawn, replacement=True).to(product_M.device)
        columns_C = torch.unique(torch.cat([product_M, drawn]))
        expected_C = self._drawn * self._proposal_N[columns_C.cpu()] + len(product_M) * self._share_N[columns_C.cpu()]
        column_N = torch.full((len(self._share_N),), -1, dtype=torch.int64, device=product_M.device)
        column_N[columns_C] = torch.arange(len(columns_C), device=product_M.device)
        return column_N, columns_C, torch.log(-torch.expm1(-expected_C)).to(product_M.device)


def _of_columns(extra: "Extra", column_N: Tensor) -> "Extra":
    """What is added to logits, of the products that are scored."""
    value_E, at_E, product_E = extra
    column_E = column_N[product_E]
    kept = column_E >= 0
    return value_E[kept], at_E[kept], column_E[kept]


Extra = tuple[Tensor, Tensor, Tensor]
"""What is added to some logits: values, rows, products."""


class OwnBias(nn.Module):
    """What having had a product before adds to its logit: by how often, and by how long ago."""

    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(count_logarithms() / QUICKER)
        self.age = nn.Parameter((4 - 2 * torch.arange(AGE_BUCKETS + 1) / AGE_BUCKETS) / QUICKER)
        self.popularity = nn.Parameter(torch.tensor(-0.7 / QUICKER))

    def forward(self, tokens: TokenTensors, row_A: Tensor, bias_N: Tensor) -> Extra:
        """For the prompts that some tokens are of.

        Args:
            bias_N: of all products: what everybody buys says little of what somebody will buy again.
        """
        bias_RO = self.count[tokens.own_count_RO] + self.age[tokens.own_age_RO] + self.popularity * bias_N[tokens.own_RO.clamp(min=0)]
        bias_AO = QUICKER * bias_RO[row_A]
        own_AO = tokens.own_RO[row_A]
        at_E, place_E = torch.nonzero(own_AO >= 0, as_tuple=True)
        return bias_AO[at_E, place_E], at_E, own_AO[at_E, place_E]


def seen(tokens: TokenTensors, row_A: Tensor, position_A: Tensor, wanted_M: Tensor, products: int) -> Extra:
    """What takes the products of a session before some tokens out of the choice, but for those that are to be predicted all the same.

    Args:
        wanted_M: token and product of each target as one number: token * products + product.
    """
    place_T = torch.arange(tokens.product_RT.shape[1], device=row_A.device)
    product_AT = tokens.product_RT[row_A]
    seen_AT = (product_AT >= 0) & (place_T > tokens.session_R[row_A, None]) & (place_T <= position_A[:, None])
    at_E, place_E = torch.nonzero(seen_AT, as_tuple=True)
    kept = ~torch.isin(at_E * products + product_AT[at_E, place_E], wanted_M)
    at_E, place_E = at_E[kept], place_E[kept]
    return torch.full((len(at_E),), NEVER, device=row_A.device), at_E, product_AT[at_E, place_E]
