"""The nearest neighbours by cosine: of every product of a catalog, exact up to a size and approximate above it; of a few vectors, exact.

Products with the same vector are *copies*. Neighbours are searched among distinct vectors: a product with more copies than neighbours
would otherwise see nothing but itself.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from shelfcode.keys import index_keys

EXACT_UP_TO = 100_000
"""Products compared all with all on a CPU; above, those of a cell only with those of the nearest cells."""

CELLS_PROBED = 32
LARGEST_SEARCH = 8
"""A cell is compared with so many times the usual number of products at the most, so that dense regions take no quadratic time."""
TRAINING_ROWS_PER_CELL = 64
COSINES_AT_ONCE = 2**28
"""On a GPU: 1 GiB of float32."""

ROWS_AT_ONCE = 65_536
"""Rows read from a memory-mapped file at a time."""


@dataclass(frozen=True)
class Neighbours:
    """K neighbours of N vectors, nearest first.

    Attributes:
        index_NK: int64, positions of products; of a product's neighbours, the product itself where fewer than K were found.
        cosine_NK: float32.
    """

    index_NK: NDArray[np.int64]
    cosine_NK: NDArray[np.float32]


def first_copies(x_NE: NDArray[np.floating]) -> NDArray[np.int64]:
    """The first row that has the same vector as each row, itself where none came before: int64[N]. Compared by 64-bit hashes."""
    hash_N = np.empty(len(x_NE), np.uint64)
    for rows in _chunks(np.arange(len(x_NE))):
        hash_N[rows] = [xxhash.xxh3_64_intdigest(vector) for vector in np.ascontiguousarray(x_NE[rows[0] : rows[-1] + 1])]
    _, first_U, group_N = np.unique(hash_N, return_index=True, return_inverse=True)
    return first_U[group_N]


def nearest_neighbours(
    x_NE: NDArray[np.float32], neighbours: int, device: torch.device, threads: int, seed: int, kind_N: NDArray[np.integer] | None = None,
    exact_up_to: int = EXACT_UP_TO, cells_probed: int = CELLS_PROBED,
) -> Neighbours:  # fmt: skip
    """The neighbours of every product, its copies left out: on a GPU exact, by torch; on a CPU by faiss.

    Of a neighbour that has copies only one is named, the first.

    Args:
        x_NE: of unit norm, in memory or memory-mapped.
        neighbours: K; a catalog of U distinct vectors has U - 1 to give.
        seed: of the cells.
        kind_N: of copies, the first that is of the product's own kind is named, where there is one.
    """
    copy_of_N = first_copies(x_NE)
    distinct_U = np.flatnonzero(copy_of_N == np.arange(len(x_NE)))
    count = min(neighbours, len(distinct_U) - 1) + 1  # the product itself is among them
    if device.type == "cpu":
        _faiss().omp_set_num_threads(threads)
    if device.type == "cpu" and len(distinct_U) > exact_up_to:
        found = _search_cells(x_NE, distinct_U, count, seed, cells_probed)
    else:
        x_UE = np.ascontiguousarray(x_NE if len(distinct_U) == len(x_NE) else x_NE[distinct_U])
        found = _search(x_UE, x_UE, count) if device.type == "cpu" else search_in_torch(x_UE, count, device)
    found = _without_self(found, np.arange(len(distinct_U)))
    return found if len(distinct_U) == len(x_NE) else _of_copies_too(found, distinct_U, copy_of_N, kind_N)


def nearest_to(
    query_QE: NDArray[np.floating], x_NE: NDArray[np.floating], count: int, own_Q: NDArray[np.integer] | None = None,
    among_M: NDArray[np.integer] | None = None,
) -> Neighbours:  # fmt: skip
    """The products nearest to some vectors, exact; of equally near ones those that stand first in the catalog come first.

    Args:
        query_QE, x_NE: of unit norm; x_NE may be memory-mapped and is read, not copied.
        count: K, at most as many as are searched; at most one fewer where the vectors are products themselves.
        own_Q: the products that the vectors are of; each is left out of its own list.
        among_M: search only these products, in rising order; all when left out.
    """
    asked = count if own_Q is None else count + 1
    found = _search(query_QE, x_NE, asked) if among_M is None else _search_among(query_QE, x_NE, asked, among_M)
    if own_Q is not None:
        found = _without_self(found, own_Q)
    return _nearest_first(found)


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


def _search_among(query_QE: NDArray[np.floating], x_NE: NDArray[np.floating], count: int, among_M: NDArray[np.integer]) -> Neighbours:
    """`_search` in some rows, so many at a time."""
    found = Neighbours(np.empty((len(query_QE), 0), np.int64), np.empty((len(query_QE), 0), np.float32))
    for rows in _chunks(among_M):
        part = _search(query_QE, x_NE[rows], min(count, len(rows)))
        both = Neighbours(np.hstack([found.index_NK, rows[part.index_NK].astype(np.int64)]), np.hstack([found.cosine_NK, part.cosine_NK]))
        nearest = _nearest_first(both)
        found = Neighbours(nearest.index_NK[:, :count], nearest.cosine_NK[:, :count])
    return found


def _search_cells(x_NE: NDArray[np.float32], rows_U: NDArray[np.integer], count: int, seed: int, cells_probed: int) -> Neighbours:
    """The rows nearest to every one of some rows, by their places among these: all rows of a cell against those of the nearest cells.

    Matrix products take a tenth of the time of an inverted file, which scans its lists once for each row, and need no copy of the rows.
    """
    cell_U, near_CP = _cells(x_NE, rows_U, seed, cells_probed)
    by_cell_U, ends_C = np.argsort(cell_U, kind="stable"), np.cumsum(np.bincount(cell_U, minlength=len(near_CP)))
    members = np.split(by_cell_U, ends_C[:-1])
    most = LARGEST_SEARCH * max(count, cells_probed * len(rows_U) // len(near_CP))
    index_UK, cosine_UK = np.full((len(rows_U), count), -1), np.full((len(rows_U), count), -1, np.float32)
    for own, near_P in zip(members, near_CP, strict=True):
        if not len(own):
            continue
        candidates = np.concatenate([members[cell] for cell in near_P if cell >= 0])[:most]
        found = _search(x_NE[rows_U[own]], x_NE[rows_U[candidates]], min(count, len(candidates)))
        width = found.index_NK.shape[1]
        index_UK[own, :width], cosine_UK[own, :width] = candidates[found.index_NK], found.cosine_NK
    return Neighbours(index_UK, cosine_UK)


def _cells(x_NE: NDArray[np.float32], rows_U: NDArray[np.integer], seed: int, probed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cell of each row, int64[U], and the cells nearest to each cell, int64[C, P], itself first."""
    faiss, cells = _faiss(), 4 * math.isqrt(len(rows_U))
    kmeans = faiss.Kmeans(
        x_NE.shape[1], cells, niter=8, seed=seed, spherical=True, max_points_per_centroid=TRAINING_ROWS_PER_CELL, min_points_per_centroid=1
    )
    sampled = min(len(rows_U), TRAINING_ROWS_PER_CELL * cells)
    kmeans.train(np.ascontiguousarray(x_NE[np.sort(np.random.default_rng(seed).choice(rows_U, sampled, replace=False))]))
    cell_U = np.concatenate([kmeans.index.search(np.ascontiguousarray(x_NE[rows]), 1)[1][:, 0] for rows in _chunks(rows_U)])
    near_CP = kmeans.index.search(kmeans.centroids, min(probed, cells))[1]
    itself_C1 = np.arange(cells)[:, None]
    others_CP = np.where(
        near_CP == itself_C1, -1, near_CP
    )  # two cells may have one centre: then a cell need not come first in its own list
    return cell_U, np.hstack([itself_C1, others_CP])


def _of_copies_too(
    found: Neighbours, distinct_U: NDArray[np.integer], copy_of_N: NDArray[np.int64], kind_N: NDArray[np.integer] | None
) -> Neighbours:
    """The neighbours of distinct vectors as those of all products."""
    place_N = np.searchsorted(distinct_U, copy_of_N)
    index_NK = distinct_U.astype(np.int64)[found.index_NK][place_N]
    if kind_N is not None:
        kind_N = kind_N.astype(np.int64) - int(kind_N.min())
        kinds = int(kind_N.max()) + 1
        same_NK = index_keys((copy_of_N * kinds + kind_N).astype(np.uint64)).get((index_NK * kinds + kind_N[:, None]).astype(np.uint64))
        index_NK = np.where(same_NK >= 0, same_NK, index_NK)
    return Neighbours(index_NK, found.cosine_NK[place_N])


def _nearest_first(found: Neighbours) -> Neighbours:
    order_QK = np.lexsort((found.index_NK, -found.cosine_NK), axis=1)
    return Neighbours(np.take_along_axis(found.index_NK, order_QK, axis=1), np.take_along_axis(found.cosine_NK, order_QK, axis=1))


def _chunks(rows: NDArray[np.integer]) -> Iterator[NDArray[np.integer]]:
    return (rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE))


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
