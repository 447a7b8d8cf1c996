"""Wrong labels that nobody gave: what a ranking can learn from without a single human decision.

What the views say of a product does not depend on its own label, so that it can be judged under any other label at no cost.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
from numpy.typing import NDArray

SHARES = (("sibling", 0.5), ("frequent", 0.25), ("any", 0.25))
"""How wrong labels come about. sibling: another leaf of the same parent. frequent: any leaf, in proportion to its products. any: each leaf
alike. Where there is no sibling, one in proportion to its products."""


def wrong_labels(
    given_B: NDArray[np.integer], size_U: NDArray[np.floating], parent_U: NDArray[np.integer], draw: np.random.Generator
) -> NDArray[np.int64]:
    """A wrong label for each product: int64[B], never the given one.

    Args:
        given_B: the label it has, a number below U; U is at least 2.
        size_U: products of each leaf.
        parent_U: the node above each leaf, -1 for none.
    """
    leaves = len(size_U)
    kind_B = draw.choice(len(SHARES), len(given_B), p=[share for _, share in SHARES])
    weight_BU = np.empty((len(given_B), leaves), np.float64)
    for kind, (name, _) in enumerate(SHARES):
        rows = np.flatnonzero(kind_B == kind)
        if name == "sibling":
            same = (parent_U[given_B[rows]][:, None] == parent_U) & (parent_U >= 0)
            same[np.arange(len(rows)), given_B[rows]] = False
            weight_BU[rows] = np.where(same.any(axis=1, keepdims=True), same, size_U)
        else:
            weight_BU[rows] = size_U if name == "frequent" else 1.0
    weight_BU += 1e-12
    weight_BU[np.arange(len(given_B)), given_B] = 0
    upto_BU = np.cumsum(weight_BU, axis=1)
    drawn_B1 = draw.random((len(given_B), 1)) * upto_BU[:, -1:]
    chosen_B = (upto_BU <= drawn_B1).sum(axis=1).clip(max=leaves - 1)
    return np.where(chosen_B == given_B, (given_B + 1) % leaves, chosen_B).astype(np.int64)
