"""What decisions teach about the audit's probabilities: findings that are still open are shown a corrected `p_wrong`."""
# Tensor suffixes: F findings

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

TRUST = 64.0
"""So many decisions the audit's own probabilities weigh, spread evenly over the findings."""

_ANCHORS = 32


def recalibrated(p_F: NDArray[np.float64], wrong_F: NDArray[np.bool_], judged_F: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities that fit the decisions made so far, in the order of the audit's own: float64[F].

    Isotonic regression of the verdicts on the audit's p (Zadrozny & Elkan 2002, KDD), to which the audit's own probabilities are added as
    observations: one at each of 32 quantiles of p, all together as heavy as TRUST decisions. Without decisions this is p itself, with few
    it stays close to it, and where many were made they outvote it. What was decided among the most suspicious findings says nothing about
    the others, except that those are no more suspicious, so that reviewing from the top does not bias what lies below. Choosing findings
    by anything but p would: leave out what was decided in bulk.

    Args:
        p_F: the audit's probabilities.
        wrong_F: whether the label was found wrong, where judged.
        judged_F: which findings count, those judged one by one as right or wrong.
    """
    if not judged_F.any():
        return p_F
    anchor_A = np.sort(p_F)[np.linspace(0, len(p_F) - 1, _ANCHORS).astype(np.int64)]
    weights = np.concatenate([np.ones(int(judged_F.sum())), np.full(_ANCHORS, TRUST / _ANCHORS)])
    seen, target = np.concatenate([p_F[judged_F], anchor_A]), np.concatenate([wrong_F[judged_F].astype(np.float64), anchor_A])
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(seen, target, sample_weight=weights)
    fitted_F: NDArray[np.float64] = isotonic.predict(p_F)
    return fitted_F
