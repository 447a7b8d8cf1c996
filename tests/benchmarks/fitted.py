"""The library's quantizer in one process, as benchmarks want it: targets, training, codes of all products."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth, similarity_depth
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import Fit, fit, start
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.targets import Targets, find_targets


@dataclass(frozen=True)
class Fitted:
    """A trained quantizer and what it was to learn."""

    state: Fit
    targets: Targets


def train(
    recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, change: Callable[[Fit], None] | None = None, parent: RQVAE | None = None
) -> Fitted:
    """Targets and training by one worker, with the recipe's number of threads, from a parent where there is one.

    `change` may alter the untrained model.
    """
    torch.set_num_threads(recipe.training.cpus_per_worker)
    taxonomy = taxonomy.without_leaves(recipe.catalog.no_leaf_names)
    targets = find_targets(recipe, x_NE, taxonomy, torch.device("cpu"), parent)
    state = start(recipe, targets, Worker(), parent)
    if change:
        change(state)
    for _ in fit(recipe, x_NE, taxonomy, targets, state, Worker()):
        continue
    return Fitted(state, targets)


def encode(state: Fit, x_NE: NDArray[np.float32]) -> NDArray[np.int64]:
    """Codes from the trained model: int64[N, L]."""
    codes_NL: NDArray[np.int64] = state.model.eval().encode(torch.from_numpy(x_NE)).numpy()
    return codes_NL


def split_off(products: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the products that are trained on and of those held out, both rising."""
    shuffled = np.random.default_rng(seed).permutation(products)
    held = round(products * share)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])


def held_out_similarity(
    x_NE: NDArray[np.float32], codes_NL: NDArray[np.integer], held_P: NDArray[np.int64], seed: int = 0
) -> SimilarityDepth:
    """Similarity and shared depth of pairs in which one product at least was held out."""
    rng = np.random.default_rng(seed)
    return similarity_depth(draw_pairs(x_NE, rng, among_P=held_P), codes_NL, rng)
