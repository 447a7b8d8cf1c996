"""A small log and small codes that the tests of retrievers share."""

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.recipe_file import validate_settings
from shelfcode.retrieval.recipe import RetrieverRecipe

SIZES = (4, 8, 8)
PRODUCTS = 60


def small_codes(seed: int = 0) -> NDArray[np.uint16]:
    """Codes of 60 products, some of which share one."""
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, PRODUCTS) for size in SIZES], axis=1).astype(np.uint16)


def small_codebooks() -> list[torch.Tensor]:
    """Codewords of six dimensions."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((size, 6), generator=generator) for size in SIZES]


def small_recipe(**fields: object) -> RetrieverRecipe:
    """A recipe of a tiny model, to which every hit is worth the same and which computes alike everywhere."""
    model = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "dropout": 0.0}
    even = {"worth": {"new_to_user": 1, "seldom_sold": 1, "never_sold": 1}}
    fields["training"] = {"precision": "float32"} | dict(fields.get("training", {}))  # type: ignore[call-overload]
    return validate_settings(RetrieverRecipe, {"model": model, "generator": even, **fields}, "small")


def small_log(ordered: bool, users: int = 30, seed: int = 0) -> SessionLog:
    """Users with three sessions each, at two retailers, a day apart; products of a user are near each other in number."""
    random = np.random.default_rng(seed)
    products, names, retailers, times = [], [], [], []
    for user in range(users):
        for session in range(3):
            count = int(random.integers(4, 8))
            products.append(((user * 2 + random.choice(12, count, replace=False)) % PRODUCTS).tolist())
            names.append(str(user))
            retailers.append("north" if user % 2 else "south")
            times.append(1_700_000_000 + 86_400 * session + user)
    return log_of_sessions(products, names, retailers, times, ordered=ordered)
