"""What every retriever and every control answers: for each request the best products."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lists:
    """Answers to R requests, K products at the most. Products are places in an assortment.

    Attributes:
        products_RK: int32, best first; -1 where a list ends early.
        scores_RK: float32, higher is better, comparable within a list only; -inf where a list ends early.
    """

    products_RK: NDArray[np.int32]
    scores_RK: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.products_RK)

    def first(self, number: int) -> "Lists":
        """The same lists, cut after so many products."""
        return Lists(self.products_RK[:, :number], self.scores_RK[:, :number])
