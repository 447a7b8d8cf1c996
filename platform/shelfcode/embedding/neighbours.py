"""The nearest neighbours of every product by cosine: exact up to a size, approximate above it."""

import math
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

EXACT_UP_TO = 100_000
"""Products compared all with all on a CPU; above, only with those of the nearest cells of an inverted file."""

CELLS_PROBED = 16
TRAINING_ROWS_A_CELL = 64
COSINES_AT_ONCE = 2**28
"""On a GPU: 1 GiB of float32."""


@dataclass(frozen=True)
class Neighbours:
    """K neighbours of N products, nearest first, the product itself left out.

    Attributes:
        index_NK: int64; the product itself where fewer than K were found.
        cosine_NK: float32.
    """

    index_NK: NDArray[np.int64]
    cosine_NK: NDArray[np.float32]


def nearest_neighbours(x_NE: NDArray[np.float32], neighbours: int, device: torch.device, threads: int, seed: int) -> Neighbours:
    """Find them: on a GPU exactly, in torch; on a CPU by faiss.

    Args:
        x_NE: of unit norm, in memory or memory-mapped.
        neighbours: K; a catalog of N products has N - 1 to give.
    """
    x_NE = np.ascontiguousarray(x_NE)
    wanted = min(neighbours, len(x_NE) - 1) + 1  # the product itself is among them
    if device.type != "cpu":
        cosine_NK, index_NK = _compare_all(x_NE, wanted, device)
    else:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(x_NE.shape[1]) if len(x_NE) <= EXACT_UP_TO else _inverted_file(x_NE, seed)
        index.add(x_NE)
        cosine_NK, index_NK = index.search(x_NE, wanted)
    return _without_self(cosine_NK, index_NK)


def _compare_all(x_NE: NDArray[np.float32], wanted: int, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    all_NE = torch.from_numpy(x_NE).to(device)
    queries = max(1, COSINES_AT_ONCE // len(all_NE))
    tops = [(queries_QE @ all_NE.T).topk(wanted, dim=1) for queries_QE in all_NE.split(queries)]
    return torch.cat([top.values for top in tops]).cpu().numpy(), torch.cat([top.indices for top in tops]).cpu().numpy()


def _inverted_file(x_NE: NDArray[np.float32], seed: int) -> faiss.Index:
    cells = 4 * math.isqrt(len(x_NE))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(x_NE.shape[1]), x_NE.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 8, seed, TRAINING_ROWS_A_CELL
    index.nprobe = CELLS_PROBED
    index.train(x_NE)
    return index


def _without_self(cosine_NK: NDArray[np.float32], index_NK: NDArray[np.int64]) -> Neighbours:
    """Drop each product from its own list, or, among copies that push it out, the last; fill gaps with the product itself."""
    own_N1 = np.arange(len(index_NK))[:, None]
    is_own_NK = index_NK == own_N1
    is_own_NK[:, -1] |= ~is_own_NK.any(axis=1)
    shape = (len(index_NK), index_NK.shape[1] - 1)
    index_NK, cosine_NK = index_NK[~is_own_NK].reshape(shape), cosine_NK[~is_own_NK].reshape(shape)
    return Neighbours(np.where(index_NK < 0, own_N1, index_NK), np.where(index_NK < 0, 1.0, cosine_NK).astype(np.float32))
