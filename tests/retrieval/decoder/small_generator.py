"""A small generator that was not trained, all of whose weights matter, and prompts for it."""

import numpy as np
import torch

from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.examples import Marks, prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.recipe import ModelSettings, PromptSettings, RetrieverRecipe

SIZES, PRODUCTS, MARKS = (5, 12, 16), 300, Marks(retailers=4, surfaces=2)
RECIPE = RetrieverRecipe(
    model=ModelSettings(width=32, layers=2, heads=2, hidden=48), prompt=PromptSettings(history_products=10, session_products=6)
)


def untrained_generator() -> Generator:
    """The same one at every call, in evaluation mode."""
    torch.manual_seed(0)
    generator = Generator(RECIPE, MARKS, [torch.randn(size, 8) for size in SIZES])
    with torch.no_grad():
        for weight in generator.parameters():  # biases and the like start at 0, where a mistake would not show
            weight.add_(0.2 * torch.randn_like(weight))
    return generator.eval().with_codes(codes())


def codes() -> np.ndarray:
    """Codes of PRODUCTS products: uint16[N, L]."""
    random = np.random.default_rng(0)
    return np.stack([random.integers(0, size, PRODUCTS) for size in SIZES], axis=1).astype(np.uint16)


def some_contexts(requests: int, history: int = 8, cart: int = 5) -> Contexts:
    """Requests with up to so many products of each kind; the first has as many, and the last one none."""
    random = np.random.default_rng(1)
    history_R, cart_R = (random.integers(0, most + 1, requests) for most in (history, cart))
    history_R[-1] = cart_R[-1] = 0
    history_R[0], cart_R[0] = history, cart
    first = [np.concatenate([[0], np.cumsum(count_R)]) for count_R in (history_R, cart_R)]
    products = [random.integers(0, PRODUCTS, int(count_R.sum())).astype(np.int32) for count_R in (history_R, cart_R)]
    retailer_R, surface_R = (random.integers(-1, most, requests).astype(np.int32) for most in (MARKS.retailers, MARKS.surfaces))
    return Contexts(first[0], products[0], first[1], products[1], retailer_R, surface_R, np.full(requests, 1_600_000_000))


def some_tokens(requests: int) -> TokenTensors:
    """The prompts of `some_contexts`."""
    return on_device(tokens_of(prompts_of(some_contexts(requests), MARKS, RECIPE.prompt), MARKS, RECIPE.prompt), torch.device("cpu"))
