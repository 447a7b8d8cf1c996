"""The library's quantizer in one process, as benchmarks want it: targets, training, codes of all products."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.evaluation.quality.collisions import UNLIKE_BELOW
from shelfcode.evaluation.quality.pairs import draw_pairs
from shelfcode.evaluation.quality.similarity_depth import SimilarityDepth, similarity_depth
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.constraint import Grouped
from shelfcode.quantization.fitting import Fit, fit, start
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets


@dataclass(frozen=True)
class Fitted:
    """A trained quantizer and what it was to learn."""

    state: Fit
    targets: Targets


def train(
    recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, parent: RQVAE | None = None, grouped: Grouped | None = None
) -> Fitted:
    """Targets and training by one worker, with the recipe's number of threads, from a parent where there is one, under a constraint too."""
    torch.set_num_threads(recipe.training.cpus_per_worker)
    taxonomy = taxonomy.without_leaves(recipe.catalog.no_leaf_names)
    targets = find_targets(recipe, x_NE, taxonomy, torch.device("cpu"), parent, grouped)
    return fitted_to(recipe, x_NE, taxonomy, targets, parent)


def fitted_to(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy, targets: Targets, parent: RQVAE | None = None) -> Fitted:
    """Training alone, on targets that are known."""
    state = start(recipe, targets, Worker(), parent)
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


@dataclass(frozen=True)
class HeldOutFigures:
    """What codes are worth for products that were held out.

    Attributes:
        similarity: of pairs in which one product at least was held out.
        ami: of L1 and the top category, of the held-out products alone; None without paths.
        purity: the share of held-out products whose leaf is the most frequent one, among those trained on, below their codes of L1 and L2.
        unlike_share: of the held-out products that share their whole ID with others, the share whose mean cosine with these is below
            UNLIKE_BELOW.
    """

    similarity: SimilarityDepth
    ami: float | None
    purity: float | None
    unlike_share: float


def held_out_figures(
    x_NE: NDArray[np.float32], codes_NL: NDArray[np.integer], held_P: NDArray[np.int64], taxonomy: Taxonomy, seed: int = 0
) -> HeldOutFigures:
    """All figures of held-out products."""
    top_P, leaf_N = taxonomy.labels_at(1)[held_P], taxonomy.leaf_of_N
    known_P = top_P >= 0
    ami = float(adjusted_mutual_info_score(top_P[known_P], codes_NL[held_P, 0][known_P])) if known_P.any() else None
    purity = _held_out_purity(codes_NL[:, :2], leaf_N, held_P) if known_P.any() else None
    return HeldOutFigures(held_out_similarity(x_NE, codes_NL, held_P, seed), ami, purity, _unlike_share(x_NE, codes_NL, held_P))


def _held_out_purity(prefix_N2: NDArray[np.integer], leaf_N: NDArray[np.int32], held_P: NDArray[np.int64]) -> float:
    _, prefix_N = np.unique(prefix_N2, axis=0, return_inverse=True)
    trained_M = np.setdiff1d(np.flatnonzero(leaf_N >= 0), held_P)
    pairs, count = np.unique(np.stack([prefix_N[trained_M], leaf_N[trained_M]]), axis=1, return_counts=True)
    usual = dict(zip(pairs[0, np.argsort(count)].tolist(), pairs[1, np.argsort(count)].tolist(), strict=True))  # the last one counts
    asked = [
        (usual.get(prefix), leaf) for prefix, leaf in zip(prefix_N[held_P].tolist(), leaf_N[held_P].tolist(), strict=True) if leaf >= 0
    ]
    return float(np.mean([found == leaf for found, leaf in asked]))


def _unlike_share(x_NE: NDArray[np.float32], codes_NL: NDArray[np.integer], held_P: NDArray[np.int64]) -> float:
    _, number_N, count_G = np.unique(codes_NL, axis=0, return_inverse=True, return_counts=True)
    sums_GE = np.zeros((len(count_G), x_NE.shape[1]))
    np.add.at(sums_GE, number_N, x_NE)
    group_C, x_CE = number_N[held_P], x_NE[held_P]
    colliding_C = count_G[group_C] > 1
    others_C = count_G[group_C][colliding_C] - 1
    mean_C = (np.einsum("ce,ce->c", sums_GE[group_C], x_CE)[colliding_C] - 1) / others_C
    return float((mean_C < UNLIKE_BELOW).mean()) if len(mean_C) else 0.0


def held_out_similarity(
    x_NE: NDArray[np.float32], codes_NL: NDArray[np.integer], held_P: NDArray[np.int64], seed: int = 0
) -> SimilarityDepth:
    """Similarity and shared depth of pairs in which one product at least was held out."""
    rng = np.random.default_rng(seed)
    return similarity_depth(draw_pairs(x_NE, rng, among_P=held_P), codes_NL, rng)
