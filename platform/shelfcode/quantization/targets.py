"""What the encoder is to learn: for every product the codes that its neighbourhood chooses.

    embeddings -> principal components -> smoothed over neighbours, level by level -> residual k-means -> target codes

Everything here is done once, before the first training step. The frozen model needs only the projection and the codebooks later.

Smoothing: borders between codewords run through dense regions of a catalog and tear near-identical products apart. Averaging every
product with its neighbours, again and again, draws each dense region together, so that the borders come to lie between
regions (a random walk on the neighbour graph; Coifman and Lafon 2006, Diffusion maps). One round is

    z_i  <-  (z_i + sum_j w_ij z_j) / (1 + sum_j w_ij),        w_ij = exp(-(1 - cos_ij) / width) * grade_ij

where grade_ij says how near i and j stand in the taxonomy, and width is a fraction of the catalog's own median distance to
the farthest neighbour counted, so that it suits encoders with wide and with narrow cosines. Coarse levels see the product
after many rounds, the last level sees the product itself.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from shelfcode.catalog.taxonomy import SAME_LEAF, SIBLING_LEAF, UNKNOWN, Taxonomy
from shelfcode.embedding.neighbours import Neighbours, nearest_neighbours
from shelfcode.flavor import Recipe
from shelfcode.quantization.codebook import kmeans, lloyd, nearest
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.sampler import SETUP, sample_rows, torch_stream
from shelfcode.quantization.settings import NeighbourhoodSettings

SMALLEST_WIDTH = 1e-3
"""The least width of smoothing, in cosine: a catalog of copies would have none."""

ROWS_READ = 8192
"""Embeddings read from disk at a time."""

REFINEMENTS = 1
"""Iterations of k-means from a parent's codewords: they follow the catalog by one step (docs/stability.md)."""

COARSE_STARTS = 5
"""Starts of k-means at the first level, whose few borders decide over every prefix."""


@dataclass(frozen=True)
class Targets:
    """Where training starts and what it aims at.

    Attributes:
        codes_ML: uint16, the codes of the products that are trained on, in their order.
        mean_E, basis_DE: projection onto the principal components.
        codewords: float32[K_l, D] of each level.
        spread_L: mean squared distance of a target to its codeword at each level.
    """

    codes_ML: NDArray[np.uint16]
    mean_E: NDArray[np.float32]
    basis_DE: NDArray[np.float32]
    codewords: tuple[NDArray[np.float32], ...]
    spread_L: NDArray[np.float32]

    def pack(self) -> bytes:
        """As an .npz file without pickles."""
        file = io.BytesIO()
        arrays: dict[str, Any] = {f"codewords_{level}": codewords_KD for level, codewords_KD in enumerate(self.codewords)}
        arrays |= {"codes_ML": self.codes_ML, "spread_L": self.spread_L}
        arrays |= {"mean_E": self.mean_E, "basis_DE": self.basis_DE}
        np.savez(file, **arrays)
        return file.getvalue()


def unpack_targets(data: bytes) -> Targets:
    """Read what `Targets.pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        codewords = tuple(arrays[f"codewords_{level}"] for level in range(len(arrays["spread_L"])))
        return Targets(arrays["codes_ML"], arrays["mean_E"], arrays["basis_DE"], codewords, arrays["spread_L"])


@dataclass(frozen=True)
class Inherited:
    """What is taken over from a parent's model: codewords, float[K_l, D] of each level, and the codes that it gives, int64[M, L]."""

    codewords: tuple[Tensor, ...]
    codes_ML: Tensor


def inherit(parent: RQVAE, x_ME: NDArray[np.float32], device: torch.device) -> Inherited:
    """The codewords of a parent's model, and the codes that it gives to all products, including those that it was not trained on."""
    chunks = (torch.from_numpy(np.array(x_ME[first : first + ROWS_READ])) for first in range(0, len(x_ME), ROWS_READ))
    codes_ML = torch.cat([parent.encode(x_BE.to(parent.projection.weight.device)) for x_BE in chunks])
    return Inherited(tuple(parent.codebooks.codewords(level).to(device) for level in range(codes_ML.shape[1])), codes_ML.to(device))


@torch.no_grad()
def find_targets(
    recipe: Recipe, x_ME: NDArray[np.float32], taxonomy: Taxonomy, device: torch.device, parent: RQVAE | None = None
) -> Targets:
    """Targets of the products that are trained on.

    Args:
        x_ME: their embeddings, of unit norm, memory-mapped or in memory, in the order of `taxonomy.leaf_of_N`.
        parent: a published model, from whose projection and codewords to start.
    """
    training, settings = recipe.training, recipe.quantizer.neighbourhood
    if parent:
        mean_E, basis_DE = parent.expansion.bias.to(device), parent.projection.weight.to(device)
    else:
        mean_E, basis_DE = principal_components(recipe, x_ME, device)
    chunks = (torch.from_numpy(np.array(x_ME[first : first + ROWS_READ])).to(device) for first in range(0, len(x_ME), ROWS_READ))
    z_MD = torch.cat([(x_BE - mean_E) @ basis_DE.T for x_BE in chunks])
    rounds = [*settings.rounds[: len(recipe.quantizer.codebook_sizes) - 1], 0]
    if any(rounds):
        near = nearest_neighbours(x_ME, settings.neighbours, device, training.cpus_per_worker, training.seed, taxonomy.leaf_of_N)
        smoothed = smooth(z_MD, near, neighbour_weights(near, taxonomy, settings), rounds)
    else:
        smoothed = [z_MD] * len(rounds)
    inherited = inherit(parent, x_ME, device) if parent else None
    codewords, codes_ML, spread = residual_kmeans(recipe, smoothed, inherited)
    arrays = tuple(codewords_KD.cpu().numpy() for codewords_KD in codewords)
    codes = codes_ML.cpu().numpy().astype(np.uint16)
    return Targets(codes, mean_E.cpu().numpy(), basis_DE.cpu().numpy(), arrays, np.array(spread, dtype=np.float32))


def principal_components(recipe: Recipe, x_ME: NDArray[np.float32], device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and the first D principal components of a sample: float[E], float[D, E]; rows of zeros where D exceeds E."""
    sample = sample_rows(len(x_ME), recipe.quantizer.kmeans_sample, recipe.training.seed)
    x_SE = torch.from_numpy(np.ascontiguousarray(x_ME[sample])).to(device)
    mean_E = x_SE.mean(dim=0)
    centred_SE = x_SE - mean_E
    _, vectors_EE = torch.linalg.eigh(centred_SE.T @ centred_SE)
    latent = recipe.quantizer.latent_size
    basis_DE = vectors_EE.flip(1)[:, :latent].T
    if len(basis_DE) < latent:
        basis_DE = torch.cat([basis_DE, basis_DE.new_zeros(latent - len(basis_DE), basis_DE.shape[1])])
    return mean_E, basis_DE.contiguous()


def neighbour_weights(near: Neighbours, taxonomy: Taxonomy, settings: NeighbourhoodSettings) -> NDArray[np.float32]:
    """w_ij of every product and its neighbours, relative to the product's own weight of 1: float32[N, K]."""
    weight_NK = np.empty(near.cosine_NK.shape, np.float32)
    if not weight_NK.size:  # one vector alone has no neighbour
        return weight_NK
    width = max(SMALLEST_WIDTH, settings.width * float(np.median(1 - near.cosine_NK[:, -1])))
    leaf_N = taxonomy.leaf_of_N
    for first in range(0, len(weight_NK), ROWS_READ):
        rows = slice(first, first + ROWS_READ)
        relation_BK = taxonomy.relation(leaf_N[rows, None], leaf_N[near.index_NK[rows]])
        # A missing path speaks neither for nor against a pair: it counts like a sibling leaf.
        sibling_BK = (relation_BK == SIBLING_LEAF) | (relation_BK == UNKNOWN)
        grade_BK = np.select([relation_BK == SAME_LEAF, sibling_BK], [settings.same_leaf, settings.sibling_leaf], settings.other)
        weight_NK[rows] = np.exp(-(1 - near.cosine_NK[rows]) / width) * grade_BK
    return weight_NK


def smooth(z_ND: Tensor, near: Neighbours, weight_NK: NDArray[np.float32], rounds: list[int]) -> list[Tensor]:
    """Products after each of these numbers of rounds, in that order: float[N, D] each."""
    itself_N1 = np.arange(len(z_ND))[:, None]
    index_NK = torch.from_numpy(np.hstack([itself_N1, near.index_NK])).to(z_ND.device)
    weight = torch.from_numpy(np.hstack([np.ones_like(itself_N1, dtype=np.float32), weight_NK])).to(z_ND.device)
    weight /= weight.sum(dim=1, keepdim=True)
    after = {0: z_ND}
    for done in range(1, max(rounds) + 1):
        z_ND = embedding_bag(index_NK, z_ND, per_sample_weights=weight, mode="sum")
        if done in rounds:
            after[done] = z_ND
    return [after[each] for each in rounds]


def residual_kmeans(recipe: Recipe, smoothed: list[Tensor], inherited: Inherited | None = None) -> tuple[list[Tensor], Tensor, list[float]]:
    """Codebooks and codes, level by level: each level clusters what the levels above leave over of its own smoothed products.

    Inherited codewords are only refined. At frozen levels, they and the parent's codes are taken over unchanged.

    Returns:
        float[K_l, D] of each level, int64[M, L] codes, mean squared distance to the codeword at each level.
    """
    quantizer, seed = recipe.quantizer, recipe.training.seed
    generator = torch_stream(seed, SETUP)
    sample = torch.from_numpy(sample_rows(len(smoothed[0]), quantizer.kmeans_sample, seed)).to(smoothed[0].device)
    prefix_MD = torch.zeros_like(smoothed[0])
    codewords, codes, spread = [], [], []
    for level, (size, z_MD) in enumerate(zip(quantizer.codebook_sizes, smoothed, strict=True)):
        residual_MD = z_MD - prefix_MD
        if inherited and level < frozen_levels(recipe):
            codewords_KD, code_M = inherited.codewords[level], inherited.codes_ML[:, level]
        else:
            if inherited:
                codewords_KD = lloyd(residual_MD[sample], inherited.codewords[level], REFINEMENTS)
            else:
                starts = COARSE_STARTS if level == 0 else 1
                codewords_KD = kmeans(residual_MD[sample], size, quantizer.kmeans_iterations, starts, generator)
            code_M = nearest(residual_MD, codewords_KD)
        prefix_MD = prefix_MD + codewords_KD[code_M]
        codewords.append(codewords_KD)
        codes.append(code_M)
        spread.append(float((z_MD - prefix_MD).square().sum(dim=1).mean()))
    return codewords, torch.stack(codes, dim=1), spread


def frozen_levels(recipe: Recipe) -> int:
    """Levels at which a new release gives every product the code that its parent gives it."""
    return 2 if recipe.stability == "frozen_coarse" else 0
