"""What each request wants of an answer: how many products, how wide the search, how bold, how unlike one another."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_BEAMS, SPARE_BEAMS = 120, 10
"""Beams at the least, and beyond the products that are asked for: the best products are not all under the best IDs."""


def usual_beams(k: int) -> int:
    """IDs that are followed for k products."""
    return max(LEAST_BEAMS, k + SPARE_BEAMS)


@dataclass(frozen=True)
class Demands:
    """The demands of R requests; those of one batch may differ.

    Attributes:
        k_R: int64, products of the list.
        beams_R: int64, of a generator: IDs that are followed.
        temperature_R: float32, of a generator: above 0, IDs are drawn and not the best ones taken.
        diversity_R: float32, what a product loses that shares its whole ID with a better one of the list (`spread`).
    """

    k_R: NDArray[np.int64]
    beams_R: NDArray[np.int64]
    temperature_R: NDArray[np.float32]
    diversity_R: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.k_R)

    def rows(self, low: int, high: int) -> "Demands":
        """Those of a range of requests."""
        return Demands(self.k_R[low:high], self.beams_R[low:high], self.temperature_R[low:high], self.diversity_R[low:high])


def alike(requests: int, k: int, beams: int | None = None, temperature: float = 0.0, diversity: float = 0.0) -> Demands:
    """The same demands of all requests.

    Args:
        beams: `usual_beams` of k when left out.
    """
    return Demands(
        np.full(requests, k, np.int64), np.full(requests, beams or usual_beams(k), np.int64),
        np.full(requests, temperature, np.float32), np.full(requests, diversity, np.float32),
    )  # fmt: skip
