"""What the encoder is to learn: for every product the codes that suit its neighbourhood, found for the whole catalog at once.

    embeddings -> principal components -> smoothed over neighbours -> at each level: k-means, then moves -> at the last: near-twins -> codes

Everything here is done once, before the first training step. The frozen model needs only the projection and the codebooks later.

Coarse levels see the product after many rounds of smoothing (smoothing.py), the last level the product itself. How each level finds its
codes: levels.py.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.catalog.taxonomy import Taxonomy
from shelfcode.embedding.neighbours import Neighbours, first_copies, nearest_neighbours
from shelfcode.flavor import Recipe
from shelfcode.quantization.constraint import Grouped, codewords_of_groups
from shelfcode.quantization.encoding import ROWS_READ, encode_rows
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.engagement import Engagement
from shelfcode.quantization.target_search.levels import Inherited, LevelSearch
from shelfcode.quantization.target_search.moves import Groups
from shelfcode.quantization.target_search.pair_gains import draw_pairs
from shelfcode.quantization.target_search.projection import principal_components
from shelfcode.quantization.target_search.smoothing import neighbour_weights, smooth
from shelfcode.quantization.target_search.targets import Targets


def inherit(parent: RQVAE, x_ME: NDArray[np.float32], device: torch.device, grouped: Grouped | None = None) -> Inherited:
    """The codewords of a parent's model, and the codes that it gives to all products, including those that it was not trained on."""
    codes_ML = torch.from_numpy(encode_rows(parent, x_ME, grouped.of_N if grouped else None))
    return Inherited(tuple(parent.codebooks.codewords(level).to(device) for level in range(codes_ML.shape[1])), codes_ML.to(device))


@torch.no_grad()
def find_targets(
    recipe: Recipe, x_ME: NDArray[np.float32], taxonomy: Taxonomy, device: torch.device, parent: RQVAE | None = None,
    grouped: Grouped | None = None, engaged: Engagement | None = None,
) -> Targets:  # fmt: skip
    """Targets of the products that are trained on.

    Args:
        x_ME: their embeddings, of unit norm, memory-mapped or in memory, in the order of `taxonomy.leaf_of_N`.
        parent: a published model, from whose projection, codewords and codes to start.
        grouped: the products in groups, which the first level keeps apart; None without a constraint.
        engaged: what customers took together of these products, where that is known.

    Raises:
        ShelfcodeError: there are more groups than first codewords.
    """
    if parent:
        mean_E, basis_DE = parent.expansion.bias.to(device), parent.projection.weight.to(device)
    else:
        mean_E, basis_DE = principal_components(recipe, x_ME, device)
    chunks = (torch.from_numpy(np.array(x_ME[first : first + ROWS_READ])).to(device) for first in range(0, len(x_ME), ROWS_READ))
    z_MD = torch.cat([(x_BE - mean_E) @ basis_DE.T for x_BE in chunks])
    near = _neighbours(recipe, x_ME, taxonomy, device)
    smoothed = _smoothed(recipe, z_MD, near, taxonomy)
    moves = recipe.quantizer.moves
    pairs = draw_pairs(x_ME, near, taxonomy, moves, recipe.training.seed, device) if near and moves.sweeps else None
    inherited = inherit(parent, x_ME, device, grouped) if parent else None
    groups = _groups(recipe, grouped, parent, device) if grouped else None
    search = LevelSearch(recipe, x_ME, taxonomy, _copies(x_ME, grouped), pairs, inherited, groups=groups, engaged=engaged)
    codewords, codes_ML, spread = search.levels(smoothed)
    arrays = tuple(codewords_KD.cpu().numpy() for codewords_KD in codewords)
    codes = codes_ML.cpu().numpy().astype(np.uint16)
    group_K = groups.of_codeword_K.cpu().numpy() if groups else None
    return Targets(codes, mean_E.cpu().numpy(), basis_DE.cpu().numpy(), arrays, np.array(spread, dtype=np.float32), group_K)


def _groups(recipe: Recipe, grouped: Grouped, parent: RQVAE | None, device: torch.device) -> Groups:
    """The groups of codewords are the parent's; without one, codewords are given to groups by how many products these have."""
    of_product_M = torch.from_numpy(grouped.of_N).to(device)
    if parent and parent.codebooks.group_K is not None:
        return Groups(parent.codebooks.group_K.to(device), of_product_M)
    of_codeword_K = codewords_of_groups(grouped, recipe.quantizer.codebook_sizes[0], str(recipe.quantizer.constraint))
    return Groups(torch.from_numpy(of_codeword_K).to(device), of_product_M)


def _copies(x_ME: NDArray[np.float32], grouped: Grouped | None) -> NDArray[np.int64]:
    """The first product that has the same embedding, and is of the same group: int64[M]."""
    copy_M = first_copies(x_ME)
    if grouped is None:
        return copy_M
    _, first_U, number_M = np.unique(np.stack([copy_M, grouped.of_N]), axis=1, return_index=True, return_inverse=True)
    return first_U[number_M.ravel()]


def _neighbours(recipe: Recipe, x_ME: NDArray[np.float32], taxonomy: Taxonomy, device: torch.device) -> Neighbours | None:
    """As many as smoothing and moves ask for; None where neither does."""
    rounds, smoothing, moves = recipe.quantizer.rounds_of_levels, recipe.quantizer.neighbourhood, recipe.quantizer.moves
    asked = max(smoothing.neighbours if any(rounds) else 0, moves.neighbours if moves.sweeps else 0)
    if not asked:
        return None
    return nearest_neighbours(x_ME, asked, device, recipe.training.cpus_per_worker, recipe.training.seed, taxonomy.leaf_of_N)


def _smoothed(recipe: Recipe, z_MD: Tensor, near: Neighbours | None, taxonomy: Taxonomy) -> list[Tensor]:
    """Products as each level sees them: float[M, D] of each."""
    rounds, settings = recipe.quantizer.rounds_of_levels, recipe.quantizer.neighbourhood
    if near is None or not any(rounds):
        return [z_MD] * len(rounds)
    nearest_few = Neighbours(near.index_NK[:, : settings.neighbours], near.cosine_NK[:, : settings.neighbours])
    return smooth(z_MD, nearest_few, neighbour_weights(nearest_few, taxonomy, settings), rounds)
