"""Ratios, and how sure a figure is that was computed anew for each resample of its groups."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
LEAST_GROUPS = 10
"""Fewer groups than this say nothing of their spread: no interval is given."""

_LEVEL_OF_CONFIDENCE = 0.95


def divided(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """above / below; NaN for 0 / 0, infinite where only `below` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below


def bootstrap_interval(value_S: NDArray[np.float64]) -> tuple[float, float] | None:
    """95% percentile interval of resampled values; None where half of them are undefined, or an end is infinite."""
    known = value_S[~np.isnan(value_S)]
    if len(known) < max(2, len(value_S) // 2):
        return None
    tail = (1 - _LEVEL_OF_CONFIDENCE) / 2
    # Values, not means of two: between two infinite ones there is nothing.
    low, high = np.quantile(known, [tail, 1 - tail], method="inverted_cdf")
    return (float(low), float(high)) if np.isfinite(high) else None
