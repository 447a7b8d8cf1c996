"""The model's projection: centred embeddings onto their principal components."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.flavor import Recipe
from shelfcode.quantization.sampler import sample_rows


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
