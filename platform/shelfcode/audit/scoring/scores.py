"""What scoring takes and what it gives: products as arrays, and for each of them how likely its label is wrong."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BEST_LEAVES = 16
"""So many leaves are kept per product, the likeliest; memory never grows with products times leaves."""


@dataclass(frozen=True)
class FlavorCodes:
    """The codes of N products in one flavor: uint16[N, L], and the size of each level's codebook."""

    flavor: str
    codes_NL: NDArray[np.uint16]
    codebook_sizes: tuple[int, ...]


@dataclass(frozen=True)
class AuditedProducts:
    """N products as the maths sees them.

    Attributes:
        key_N: uint64, item keys: what random draws and folds go by, so that they do not depend on order.
        text_N: the text that was embedded.
        x_ND: float32, of unit norm.
        codes: of the audited flavor first, then of the flavors beside it.
        leaf_N: int32, the given leaf, a number of `Taxonomy.paths`; NO_LEAF where there is none.
    """

    key_N: NDArray[np.uint64]
    text_N: Sequence[str]
    x_ND: NDArray[np.float32]
    codes: tuple[FlavorCodes, ...]
    leaf_N: NDArray[np.int32]


@dataclass(frozen=True)
class View:
    """What one view of a product says of its label: the probability of the given leaf, the likeliest leaf, and the probability of that."""

    name: str
    given_p_N: NDArray[np.float32]
    best_leaf_N: NDArray[np.int32]
    best_p_N: NDArray[np.float32]


@dataclass(frozen=True)
class LabelScores:
    """What is thought of the labels of N products.

    Attributes:
        p_wrong_N: calibrated probability that the label is wrong; NaN for a product without one.
        score_N: what products are ranked by, higher for a more suspicious label.
        given_p_N: pooled probability of the given leaf, 0 for a product without one.
        best_leaf_NK, best_p_NK: the likeliest leaves and their pooled probabilities, best first; K is at most BEST_LEAVES.
            Leaves that say nothing, such as "other", are never among them.
        views: what each view said.
        nearest_NJ, nearest_cosine_NJ: int64 positions of the nearest among the products that the audit was fitted to, and their cosines;
            -1 where there are fewer. Never the product itself.
    """

    p_wrong_N: NDArray[np.float64]
    score_N: NDArray[np.float64]
    given_p_N: NDArray[np.float32]
    best_leaf_NK: NDArray[np.int32]
    best_p_NK: NDArray[np.float32]
    views: tuple[View, ...]
    nearest_NJ: NDArray[np.int64]
    nearest_cosine_NJ: NDArray[np.float32]
