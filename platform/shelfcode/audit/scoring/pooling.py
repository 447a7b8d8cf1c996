"""Several posteriors as one: a weighted sum of logarithms (a logarithmic opinion pool; Genest, Zidek 1986).

The weights are those that make the given labels likeliest, wrong ones left aside: the likelihood is of a mixture in which a share of the
labels is drawn from the catalog as a whole.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from shelfcode.audit.scoring.views.batch import log_softmax

STRAY_SHARE = 0.05
"""Of the given labels, as long as nothing is known."""
LARGEST_WEIGHT = 2.0
EVEN_SHARE = 0.5
"""So far the weights are drawn towards even ones, which rank wrong labels better than those that predict the given labels best."""
MOST_ENTRIES = 2**25
"""Of all views together, so many log-probabilities are looked at: 128 MiB."""


def pool(log_p_VBU: NDArray[np.float32], weight_V: NDArray[np.floating]) -> NDArray[np.float32]:
    """The pooled log-posterior: float32[B, U]."""
    return log_softmax(np.tensordot(weight_V.astype(np.float32), log_p_VBU, axes=1))


def products_for_weights(products: int, views: int, leaves: int) -> int:
    """How many products the weights are found with: as many as fit, and 10,000 at the most."""
    return max(1, min(products, 10_000, MOST_ENTRIES // (views * leaves)))


def fit_weights(log_p_VBU: NDArray[np.float32], label_B: NDArray[np.integer]) -> NDArray[np.float64]:
    """The weight of each view: float64[V], none negative.

    Args:
        log_p_VBU: of products with a label.
    """
    views, products, _ = log_p_VBU.shape
    if not products:
        return np.full(views, 1 / views)
    rows = np.arange(products)
    share_U = np.bincount(label_B, minlength=log_p_VBU.shape[2]) / products
    stray_B = STRAY_SHARE * share_U[label_B]
    given_VB = log_p_VBU[:, rows, label_B]

    def loss(weight_V: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p_BU = np.exp(pool(log_p_VBU, weight_V))
        kept_B = (1 - STRAY_SHARE) * p_BU[rows, label_B]
        trust_B = kept_B / (kept_B + stray_B)
        expected_VB = np.einsum("vbu,bu->vb", log_p_VBU, p_BU, optimize=True)
        return -float(np.log(kept_B + stray_B).mean()), -(trust_B * (given_VB - expected_VB)).mean(axis=1).astype(np.float64)

    start_V = np.full(views, 1 / views)
    found = minimize(loss, start_V, jac=True, method="L-BFGS-B", bounds=[(0, LARGEST_WEIGHT)] * views, options={"maxiter": 25})
    return EVEN_SHARE / views + (1 - EVEN_SHARE) * np.asarray(found.x, np.float64)
