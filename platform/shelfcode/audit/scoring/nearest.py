"""The fitted products that are nearest to any product: approximate, by cells.

The fitted products are split into cells around centres. A product is compared with the fitted products of its own cell and of the cells
whose centres are nearest to that one's, all products of a cell at once: matrix products, a tenth of the time of an inverted file.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.scoring.views.batch import rows_of_each

ONE_CELL_UP_TO = 4_000
PROBED = 32
ROUNDS = 6
TRAINING_ROWS_PER_CELL = 40
LARGEST_SEARCH = 8
"""A cell is compared with so many times the usual number of products at the most, so that dense regions take no quadratic time."""
ROWS_AT_ONCE = 8_192


@dataclass(frozen=True)
class NearestIndex:
    """M fitted products, those of a cell side by side.

    Attributes:
        key_M: item keys.
        x_MD: float16 vectors.
        place_M: the position of each among the products that the audit was fitted to.
        centre_CD, near_CP: centres of cells, and the cells nearest to each, itself first.
        start_C: int64[C + 1], where each cell begins.
    """

    key_M: NDArray[np.uint64]
    x_MD: NDArray[np.float16]
    place_M: NDArray[np.int64]
    centre_CD: NDArray[np.float32]
    near_CP: NDArray[np.int64]
    start_C: NDArray[np.int64]

    def search(
        self, x_BD: NDArray[np.float32], key_B: NDArray[np.uint64], count: int, threads: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions and cosines of the nearest, nearest first, int64[B, J] and float32[B, J]; -1 and 0 where there are fewer.

        Never the product itself, which is known by its key.
        """
        nearest_BJ, cosine_BJ = np.full((len(x_BD), count), -1, np.int64), np.zeros((len(x_BD), count), np.float32)
        cell_B = _nearest_centre(x_BD, self.centre_CD)

        def one_cell(rows: NDArray[np.int64]) -> None:
            candidates = self._candidates(int(cell_B[rows[0]]))
            x_KD, key_K = self.x_MD[candidates].astype(np.float32), self.key_M[candidates]
            for first in range(0, len(rows), ROWS_AT_ONCE):
                some = rows[first : first + ROWS_AT_ONCE]
                cosine_SK = np.asarray(x_BD[some], np.float32) @ x_KD.T
                cosine_SK[key_B[some][:, None] == key_K] = -np.inf
                top_SJ = _top(cosine_SK, min(count, len(candidates)))
                found_SJ = np.take_along_axis(cosine_SK, top_SJ, axis=1)
                usable_SJ = found_SJ > -np.inf
                nearest_BJ[some, : top_SJ.shape[1]] = np.where(usable_SJ, self.place_M[candidates[top_SJ]], -1)
                cosine_BJ[some, : top_SJ.shape[1]] = np.where(usable_SJ, found_SJ, 0)

        with ThreadPoolExecutor(threads) as workers:
            for _ in workers.map(one_cell, rows_of_each(cell_B)):
                pass
        return nearest_BJ, cosine_BJ

    def _candidates(self, cell: int) -> NDArray[np.int64]:
        """Products of a cell and of those near it."""
        near = self.near_CP[cell]
        slices = [np.arange(self.start_C[each], self.start_C[each + 1]) for each in near[near >= 0]]
        most = LARGEST_SEARCH * max(1, len(near)) * max(1, len(self.key_M) // len(self.centre_CD))
        return np.concatenate(slices)[:most]


def fit_nearest(x_MD: NDArray[np.float32], key_M: NDArray[np.uint64], seed: int) -> NearestIndex:
    """Lays the fitted products out for searching."""
    centre_CD = _centres(x_MD, seed) if len(x_MD) > ONE_CELL_UP_TO else np.zeros((1, x_MD.shape[1]), np.float32)
    cell_M = _nearest_centre(x_MD, centre_CD)
    order_M = np.argsort(cell_M, kind="stable")
    start_C = np.searchsorted(cell_M[order_M], np.arange(len(centre_CD) + 1))
    cosine_CC = centre_CD @ centre_CD.T
    np.fill_diagonal(cosine_CC, np.inf)
    near_CP = _top(cosine_CC, min(PROBED, len(centre_CD)))
    return NearestIndex(key_M[order_M], np.asarray(x_MD)[order_M].astype(np.float16), order_M, centre_CD, near_CP, start_C.astype(np.int64))


def _centres(x_MD: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    import faiss

    cells = 2 * math.isqrt(len(x_MD))
    sample = np.sort(np.random.default_rng(seed).choice(len(x_MD), min(len(x_MD), TRAINING_ROWS_PER_CELL * cells), replace=False))
    kmeans = faiss.Kmeans(x_MD.shape[1], cells, niter=ROUNDS, seed=seed + 1, spherical=True, min_points_per_centroid=1)
    kmeans.train(np.ascontiguousarray(x_MD[sample], np.float32))
    return np.asarray(kmeans.centroids, np.float32).reshape(cells, -1)


def _nearest_centre(x_BD: NDArray[np.float32], centre_CD: NDArray[np.float32]) -> NDArray[np.int64]:
    if len(centre_CD) == 1:
        return np.zeros(len(x_BD), np.int64)
    parts = [(np.asarray(x_BD[first : first + ROWS_AT_ONCE]) @ centre_CD.T).argmax(axis=1) for first in range(0, len(x_BD), ROWS_AT_ONCE)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _top(cosine_SK: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the highest values, highest first; of equal ones the first."""
    if count < cosine_SK.shape[1]:
        top_SJ = np.sort(np.argpartition(-cosine_SK, count - 1, axis=1)[:, :count], axis=1)
    else:
        top_SJ = np.broadcast_to(np.arange(cosine_SK.shape[1]), cosine_SK.shape)
    order_SJ = np.argsort(-np.take_along_axis(cosine_SK, top_SJ, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top_SJ, order_SJ, axis=1)
