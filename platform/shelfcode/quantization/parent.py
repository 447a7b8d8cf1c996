"""What a training takes over from the release before it, where codes are to stay."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shelfcode.quantization.rqvae import RQVAE


@dataclass(frozen=True)
class Parent:
    """A published quantizer and what it said of the products of a new catalog.

    Attributes:
        model: on the CPU; its weights are where training starts.
        codes_NL: int32, its codes; -1 for products that it has not coded, or whose text is another now.
    """

    model: RQVAE
    codes_NL: NDArray[np.int32]

    def projection(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and principal components: float[E], float[D, E]."""
        return self.model.expansion.bias.to(device), self.model.projection.weight.to(device)

    def codewords(self, level: int, device: torch.device) -> Tensor:
        """float[K, D] of one level."""
        return self.model.codebooks.codewords(level).to(device)

    def of(self, rows_M: NDArray[np.int64]) -> "Parent":
        """The same for some of the products."""
        return replace(self, codes_NL=self.codes_NL[rows_M])
