"""Synthetic products for benchmarks of speed and memory: clusters of unit vectors under a tree of categories."""

import numpy as np
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, build_taxonomy

_ROWS_A_CHUNK = 50_000


def synthetic_products(
    products: int, dimensions: int, rng: np.random.Generator, into: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], Taxonomy]:
    """Products around random centres, about 50 a centre; centres and their leaves hang together.

    Args:
        into: float32[N, E] to fill, such as a memory map; a new array when left out.
    """
    centres = max(20, products // 50)
    leaves = max(10, min(2000, centres // 8))
    department_DE = rng.standard_normal((20, dimensions)).astype(np.float32)
    leaf_of_C = rng.integers(leaves, size=centres)
    leaf_PE = department_DE[np.arange(leaves) % 20] + rng.standard_normal((leaves, dimensions)).astype(np.float32)
    centre_CE = leaf_PE[leaf_of_C] + rng.standard_normal((centres, dimensions)).astype(np.float32)
    x_NE = np.empty((products, dimensions), dtype=np.float32) if into is None else into
    centre_N = rng.integers(centres, size=products)
    for first in range(0, products, _ROWS_A_CHUNK):
        inside = centre_N[first : first + _ROWS_A_CHUNK]
        x_BE = centre_CE[inside] + 0.7 * rng.standard_normal((len(inside), dimensions), dtype=np.float32)
        x_NE[first : first + len(inside)] = x_BE / np.linalg.norm(x_BE, axis=1, keepdims=True)
    paths = [(f"department {leaf % 20}", f"leaf {leaf}") for leaf in range(leaves)]
    return x_NE, build_taxonomy(leaf_of_C[centre_N].astype(np.int32), paths)
