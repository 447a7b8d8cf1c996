"""The pairs of products on which cosine and shared depth are compared, and the stratified sample of them.

Random pairs are nearly all dissimilar, and neighbours nearly all similar. The pool takes both, and the stratified sample
takes the same number of pairs from each bin of cosine, so that the result does not depend on how common a similarity is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.embedding.neighbours import first_copies, nearest_to

BINS = 20
"""Bins of cosine between 0 and 1, 0.05 wide. A cosine below 0 falls into the first bin."""

_PAIRS_PER_CHUNK = 16384
_UNIT_NORM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class PairPool:
    """M pairs of products, as drawn: the same pair may have been drawn more than once.

    Attributes:
        left_M, right_M: int64, positions of the two products.
        cosine_M: float32.
        bin_M: int64, the bin of each cosine, 0 to BINS - 1.
        distinct_M: int64, the number of the distinct unordered pair that each draw is.
        stratified_S: int64, which of the M draws are in the stratified sample, by rising bin.
    """

    left_M: NDArray[np.int64]
    right_M: NDArray[np.int64]
    cosine_M: NDArray[np.float32]
    bin_M: NDArray[np.int64]
    distinct_M: NDArray[np.int64]
    stratified_S: NDArray[np.int64]


def draw_pairs(
    x_ND: NDArray[np.floating],
    rng: np.random.Generator,
    anchors: int = 3000,
    neighbours: int = 100,
    random_pairs: int = 300_000,
    pairs_per_bin: int = 2000,
    among_P: NDArray[np.integer] | None = None,
) -> PairPool:
    """The pool (anchors x neighbours, and random pairs of two different products) and its stratified sample.

    Neighbours are distinct vectors, none of them the anchor's: copies have the same ID under any model, and say nothing of it. A catalog
    with fewer products has fewer anchors and neighbours; its random pairs repeat, and count as often as they were drawn.

    Args:
        among_P: positions from which the anchors and one product of every random pair are drawn; all positions when left out.

    Raises:
        ValueError: fewer than two products, or rows that are not finite and of unit norm.
    """
    count = len(x_ND)
    if x_ND.ndim != 2 or count < 2:
        raise ValueError(f"embeddings of shape {x_ND.shape}: pairs need two products or more")
    among = np.arange(count) if among_P is None else among_P
    anchors_A = np.sort(rng.choice(among, min(anchors, len(among)), replace=False))
    _check_unit(np.asarray(x_ND[anchors_A], dtype=np.float32))
    near_AK = _distinct_neighbours(x_ND, anchors_A, neighbours)
    random_left, random_right = rng.integers(0, [[len(among)], [count]], size=(2, random_pairs))
    random_left = among[random_left]
    different = random_left != random_right
    left_M = np.concatenate([np.repeat(anchors_A, near_AK.shape[1]), random_left[different]])
    right_M = np.concatenate([near_AK.ravel(), random_right[different]])
    key_M = np.minimum(left_M, right_M) * count + np.maximum(left_M, right_M)
    key_U, distinct_M = np.unique(key_M, return_inverse=True)
    cosine_M = _cosines(x_ND, *np.divmod(key_U, count))[distinct_M]
    if not np.isfinite(cosine_M).all():
        raise ValueError("embeddings hold values that are not finite")
    bin_M = np.clip((cosine_M * BINS).astype(np.int64), 0, BINS - 1)
    stratified_S = np.concatenate([rng.permutation(np.flatnonzero(bin_M == number))[:pairs_per_bin] for number in range(BINS)])
    return PairPool(left_M, right_M, cosine_M, bin_M, distinct_M, stratified_S)


def _distinct_neighbours(x_ND: NDArray[np.floating], anchors_A: NDArray[np.integer], neighbours: int) -> NDArray[np.int64]:
    """The distinct vectors nearest to each anchor, by the first product that has each: int64[A, K]."""
    copy_of_N = first_copies(x_ND)
    distinct_U = np.flatnonzero(copy_of_N == np.arange(len(x_ND)))
    among = None if len(distinct_U) == len(x_ND) else distinct_U
    return nearest_to(x_ND[anchors_A], x_ND, min(neighbours, len(distinct_U) - 1), copy_of_N[anchors_A], among).index_NK


def _check_unit(x_AD: NDArray[np.float32]) -> None:
    norm_A = np.linalg.norm(x_AD, axis=1)
    off_A = ~(np.abs(norm_A - 1) <= _UNIT_NORM_TOLERANCE)
    if off_A.any():
        example = f"such as one of norm {norm_A[off_A][0]:.4g}"
        raise ValueError(f"embeddings must have unit norm; {int(off_A.sum())} of {len(off_A)} rows looked at have not, {example}")


def _cosines(x_ND: NDArray[np.floating], left_U: NDArray[np.int64], right_U: NDArray[np.int64]) -> NDArray[np.float32]:
    cosine_U = np.empty(len(left_U), dtype=np.float32)
    for start in range(0, len(left_U), _PAIRS_PER_CHUNK):
        part = slice(start, start + _PAIRS_PER_CHUNK)
        a_PD, b_PD = (np.asarray(x_ND[side[part]], dtype=np.float32) for side in (left_U, right_U))
        cosine_U[part] = np.einsum("pd,pd->p", a_PD, b_PD)
    return cosine_U
