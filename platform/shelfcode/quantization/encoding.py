"""Codes of a matrix of embeddings that may lie on disk."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
import torch
from numpy.typing import NDArray

from shelfcode.quantization.rqvae import RQVAE

ROWS_READ = 8192
"""Embeddings read from disk at a time."""


def encode_rows(model: RQVAE, x_ME: NDArray[np.float32], group_M: NDArray[np.integer] | None = None) -> NDArray[np.int64]:
    """Codes of embeddings, in memory or memory-mapped, wherever the model is: int64[M, L].

    Args:
        group_M: the group of each product under the recipe's constraint.
    """
    device = model.projection.weight.device
    codes_ML = np.empty((len(x_ME), len(model.codebooks.sizes)), np.int64)
    for first in range(0, len(x_ME), ROWS_READ):
        of = slice(first, first + ROWS_READ)
        group_B = None if group_M is None else torch.from_numpy(group_M[of].astype(np.int64)).to(device)
        codes_ML[of] = model.encode(torch.from_numpy(np.array(x_ME[of])).to(device), group_B).cpu().numpy()
    return codes_ML
