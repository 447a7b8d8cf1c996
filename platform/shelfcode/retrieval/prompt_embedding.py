"""Prompts as vectors, the same way for both retrievers: they differ in what a product's vector is."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, O own products, D width.

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from shelfcode.retrieval.examples import AGE_BUCKETS, COUNT_BUCKETS, COUNT_EDGES, Marks, Tokens

START_STD = 0.02


@dataclass(frozen=True)
class TokenTensors:
    """`Tokens` as tensors on a device; the fields have the same names and shapes."""

    mark_RT: Tensor
    product_RT: Tensor
    count_RT: Tensor
    age_RT: Tensor
    session_R: Tensor
    length_R: Tensor
    own_RO: Tensor
    own_count_RO: Tensor
    own_age_RO: Tensor


def on_device(tokens: Tokens, device: torch.device) -> TokenTensors:
    """Prompts as tensors."""
    return TokenTensors(**{field.name: torch.from_numpy(getattr(tokens, field.name)).to(device) for field in fields(Tokens)})


def count_logarithms() -> Tensor:
    """What the buckets of counts weigh before training: the logarithm of the count that begins each."""
    return torch.log(torch.tensor([1, *COUNT_EDGES.tolist()], dtype=torch.float32))


class PromptEmbedding(nn.Module):
    """Vectors of the marks, and of how often and how long ago a product of the history was had, which are added to the product's own."""

    def __init__(self, marks: Marks, width: int) -> None:
        super().__init__()
        self.marks = marks
        self.mark = nn.Embedding(marks.number, width, padding_idx=0)
        self.count = nn.Embedding(COUNT_BUCKETS + 1, width, padding_idx=0)
        self.age = nn.Embedding(AGE_BUCKETS + 1, width, padding_idx=0)
        for table in (self.mark, self.count, self.age):
            nn.init.normal_(table.weight, std=START_STD)
            with torch.no_grad():
                table.weight[0] = 0

    def forward(self, tokens: TokenTensors, product_RTD: Tensor) -> Tensor:
        """Vectors of whole prompts: [R, T, D].

        Args:
            product_RTD: vectors of the products, whatever where there is none.
        """
        is_product_RT1 = (tokens.product_RT >= 0)[..., None]
        history_RTD = self.count(tokens.count_RT) + self.age(tokens.age_RT)
        return self.mark(tokens.mark_RT) + torch.where(is_product_RT1, product_RTD, 0.0) + history_RTD
