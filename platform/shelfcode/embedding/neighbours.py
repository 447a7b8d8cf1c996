"""The nearest neighbours by cosine: of every product of a catalog, exact up to a size and approximate above it; of a few vectors, exact."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

EXACT_UP_TO = 100_000
"""Products compared all with all on a CPU; above, only with those of the nearest cells of an inverted file."""

CELLS_PROBED = 16
TRAINING_ROWS_PER_CELL = 64
COSINES_AT_ONCE = 2**28
"""On a GPU: 1 GiB of float32."""


@dataclass(frozen=True)
class Neighbours:
    """K neighbours of N vectors, nearest first.

    Attributes:
        index_NK: int64, positions of products; of a product's neighbours, the product itself where fewer than K were found.
        cosine_NK: float32.
    """

    index_NK: NDArray[np.int64]
    cosine_NK: NDArray[np.float32]


def nearest_neighbours(
    x_NE: NDArray[np.float32], neighbours: int, device: torch.device, threads: int, seed: int, exact_up_to: int = EXACT_UP_TO,
    cells_probed: int = CELLS_PROBED,
) -> Neighbours:  # fmt: skip
    """The neighbours of every product, itself left out: on a GPU exact, by torch; on a CPU by faiss.

    Args:
        x_NE: of unit norm, in memory or memory-mapped.
        neighbours: K; a catalog of N products has N - 1 to give.
        seed: of the inverted file.
    """
    x_NE = np.ascontiguousarray(x_NE)
    count = min(neighbours, len(x_NE) - 1) + 1  # the product itself is among them
    if device.type != "cpu":
        found = search_in_torch(x_NE, count, device)
    else:
        _faiss().omp_set_num_threads(threads)
        found = _search(x_NE, x_NE, count) if len(x_NE) <= exact_up_to else _search_cells(x_NE, count, seed, cells_probed)
    return _without_self(found, np.arange(len(x_NE)))


def nearest_to(
    query_QE: NDArray[np.floating], x_NE: NDArray[np.floating], count: int, own_Q: NDArray[np.integer] | None = None
) -> Neighbours:
    """The products nearest to some vectors, exact; of equally near ones those that stand first in the catalog come first.

    Args:
        query_QE, x_NE: of unit norm; x_NE may be memory-mapped and is read, not copied.
        count: K, at most N; at most N - 1 where the vectors are products themselves.
        own_Q: the products that the vectors are of; each is left out of its own list.
    """
    found = _search(query_QE, x_NE, count if own_Q is None else count + 1)
    if own_Q is not None:
        found = _without_self(found, own_Q)
    order_QK = np.lexsort((found.index_NK, -found.cosine_NK), axis=1)
    return Neighbours(np.take_along_axis(found.index_NK, order_QK, axis=1), np.take_along_axis(found.cosine_NK, order_QK, axis=1))


def search_in_torch(x_NE: NDArray[np.float32], count: int, device: torch.device, cosines_at_once: int = COSINES_AT_ONCE) -> Neighbours:
    """The products nearest to every product, itself among them, exact; compared in parts that fit into a GPU's memory."""
    all_NE = torch.from_numpy(x_NE).to(device)
    queries = max(1, cosines_at_once // len(all_NE))
    tops = [(queries_QE @ all_NE.T).topk(count, dim=1) for queries_QE in all_NE.split(queries)]
    cosine_NK, index_NK = torch.cat([top.values for top in tops]), torch.cat([top.indices for top in tops])
    return Neighbours(index_NK.cpu().numpy(), cosine_NK.cpu().numpy())


def _search(query_QE: NDArray[np.floating], x_NE: NDArray[np.floating], count: int) -> Neighbours:
    faiss = _faiss()
    cosine_QK, index_QK = faiss.knn(query_QE, x_NE, count, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(index_QK, cosine_QK)


def _search_cells(x_NE: NDArray[np.float32], count: int, seed: int, cells_probed: int) -> Neighbours:
    faiss, cells = _faiss(), 4 * math.isqrt(len(x_NE))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(x_NE.shape[1]), x_NE.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 8, seed, TRAINING_ROWS_PER_CELL
    index.nprobe = cells_probed
    index.train(x_NE)
    index.add(x_NE)
    cosine_NK, index_NK = index.search(x_NE, count)
    return Neighbours(index_NK, cosine_NK)


def _faiss() -> Any:
    """The library; it logs a screenful when it is imported, which training workers never need to see."""
    import faiss

    return faiss


def _without_self(found: Neighbours, own_N: NDArray[np.integer]) -> Neighbours:
    """Drop each product from its own list, or, among copies that push it out, the last; fill gaps with the product itself."""
    index_NK, cosine_NK, own_N1 = found.index_NK, found.cosine_NK, own_N[:, None]
    is_own_NK = index_NK == own_N1
    is_own_NK[:, -1] |= ~is_own_NK.any(axis=1)
    shape = (len(index_NK), index_NK.shape[1] - 1)
    index_NK, cosine_NK = index_NK[~is_own_NK].reshape(shape), cosine_NK[~is_own_NK].reshape(shape)
    return Neighbours(np.where(index_NK < 0, own_N1, index_NK), np.where(index_NK < 0, 1.0, cosine_NK).astype(np.float32))
