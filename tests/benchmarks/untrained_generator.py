"""A generator that was not trained, of any size, and what to ask it: for measuring speed, and what two ways of decoding have in common."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.examples import Marks
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.recipe import RetrieverRecipe

CODEBOOK_WIDTH = 128
"""Of the quantizer's codewords."""


def untrained_generator(
    recipe: RetrieverRecipe, marks: Marks, sizes: Sequence[int], codes_NL: NDArray[np.integer], noise: float = 0.02
) -> Generator:
    """The same one at every call, in evaluation mode.

    Args:
        noise: added to all weights, some of which start at 0, so that all of them matter.
    """
    torch.manual_seed(0)
    generator = Generator(recipe, marks, [torch.randn(size, CODEBOOK_WIDTH) for size in sizes])
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(noise * torch.randn_like(weight))
    return generator.eval().with_codes(codes_NL)


def some_contexts(
    requests: int,
    products: int,
    marks: Marks,
    history: int,
    cart: int,
    random: np.random.Generator,
    retailer_R: NDArray[np.int32] | None = None,
) -> Contexts:
    """Requests of users who had `history` products before, some of them twice, and have `cart` in the cart."""
    history_RH = random.integers(0, products, (requests, history))
    history_RH[:, : history // 4] = history_RH[:, history // 2 : history // 2 + history // 4]
    return Contexts(
        np.arange(requests + 1) * history, history_RH.reshape(-1).astype(np.int32),
        np.arange(requests + 1) * cart, random.integers(0, products, requests * cart).astype(np.int32),
        random.integers(0, marks.retailers, requests).astype(np.int32),
        random.integers(0, marks.surfaces, requests).astype(np.int32),
        1_600_000_000 + random.integers(0, 10_000_000, requests),
    )  # fmt: skip
