"""Several lists as one."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list, J products of all lists side by side.

from collections.abc import Sequence

import numpy as np

from shelfcode.retrieval.best import best_of
from shelfcode.retrieval.lists import Lists

RANK_DAMPING = 60
"""What is added to every rank, as in the paper: below it, ranks count nearly alike."""


def fused(lists: Sequence[Lists], number: int, weights: Sequence[float] | None = None) -> Lists:
    """The products with the largest sum over lists of weight / (RANK_DAMPING + rank), ranks from 1.

    Reciprocal rank fusion (Cormack et al., 2009). Of equal scores the product of the earlier list comes first, and of one list the earlier
    product.

    Args:
        weights: of each list; all alike when left out.
    """
    weighted = list(zip(lists, weights or [1.0] * len(lists), strict=True))
    product_RJ = np.hstack([each.products_RK for each in lists]).astype(np.int64)
    part_RJ = np.hstack(
        [np.broadcast_to(w / (RANK_DAMPING + 1 + np.arange(each.products_RK.shape[1])), each.products_RK.shape) for each, w in weighted]
    )
    order_RJ = np.argsort(product_RJ, axis=1, kind="stable")
    product_J, part_J = (np.take_along_axis(values, order_RJ, axis=1).ravel() for values in (product_RJ, part_RJ))
    starts_J = np.ones(product_RJ.shape, bool)
    starts_J[:, 1:] = np.diff(product_J.reshape(product_RJ.shape), axis=1) != 0
    firsts = np.flatnonzero(starts_J.ravel())
    sum_RJ = np.full(product_RJ.shape, -np.inf, np.float32)
    # The score of a product stands where the product was first, so that ties fall to the earlier place.
    place_J = (order_RJ + np.arange(len(product_RJ))[:, None] * product_RJ.shape[1]).ravel()
    sum_RJ.ravel()[place_J[firsts]] = np.add.reduceat(part_J, firsts) if len(firsts) else []
    sum_RJ[product_RJ < 0] = -np.inf
    place_RK, score_RK = best_of(sum_RJ, number)
    return Lists(np.where(place_RK < 0, -1, np.take_along_axis(product_RJ, place_RK, axis=1)).astype(np.int32), score_RK)
