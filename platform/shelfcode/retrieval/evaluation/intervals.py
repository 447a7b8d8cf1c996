"""How sure a figure is: paired bootstrap over cases, and the spread over several trainings of one retriever.

Cases are drawn with replacement, as many as there are (Efron and Tibshirani, 1993), by the seed alone: whatever is measured on the same
cases is resampled alike, so a difference of two retrievers is taken within each resample.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R cases, F figures, S resamples, V versions.

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import LEAST_GROUPS, bootstrap_interval, divided

RESAMPLES = 1_000
CELLS_AT_ONCE = 1 << 23
"""Resamples times cases that are held in memory."""

_NO_CASE = "no case has such targets or results"
_FEW = f"fewer than {LEAST_GROUPS} cases"
_RARE = "it is undefined in many resamples"


class Figure(Figures):
    """One figure, or the difference of two.

    Attributes:
        value: mean over cases; of several versions, the mean of theirs.
        low, high: bootstrap 95% interval over cases.
        cases: that have a part in it.
        spread: standard deviation over versions; None of a single one.
    """

    value: float | None
    low: float | None
    high: float | None
    cases: int
    spread: float | None = None

    @property
    def apart(self) -> bool:
        """Of a difference, whether its interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def figures_of(versions: Sequence[Mapping[str, NDArray[np.float64]]], seed: int, resamples: int = RESAMPLES) -> dict[str, Figure]:
    """The figures of one retriever.

    Args:
        versions: of each training of it, the value of each case by figure, float64[R], NaN where the case has no part in the figure.
        seed: of the resamples.
    """
    names = list(versions[0])
    value_VRF = np.stack([np.column_stack([version[name] for name in names]) for version in versions])
    mean_RF = value_VRF.mean(axis=0)
    drawn_SF = _means(mean_RF, seed, resamples)
    of_version_VF = np.stack([_means(value_RF, seed, 0)[0] for value_RF in value_VRF])
    return {
        name: _figure(drawn_SF[:, place], int((~np.isnan(mean_RF[:, place])).sum()), of_version_VF[:, place])
        for place, name in enumerate(names)
    }


def differences_of(
    a: Sequence[Mapping[str, NDArray[np.float64]]], b: Sequence[Mapping[str, NDArray[np.float64]]], seed: int, resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """What the second of two retrievers has over the first, of figures that both have; each the mean of its versions, case by case."""
    mean_a, mean_b = ({name: np.mean([version[name] for version in each], axis=0) for name in each[0]} for each in (a, b))
    return figures_of([{name: mean_b[name] - mean_a[name] for name in mean_a if name in mean_b}], seed, resamples)


def _means(value_RF: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Means over cases: float64[1 + S, F], of the cases as they are first; NaN where no drawn case has a value."""
    known_RF = ~np.isnan(value_RF)
    filled_RF, counted_RF = np.where(known_RF, value_RF, 0.0), known_RF.astype(np.float64)
    return np.concatenate(
        [divided(weight_SR @ filled_RF, weight_SR @ counted_RF) for weight_SR in _weights(len(value_RF), seed, resamples)]
    )


def _weights(cases: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each case is drawn, float64[some samples, R]: once each in the first sample, then resamples."""
    yield np.ones((1, cases))
    random = np.random.default_rng(seed)
    step = max(1, CELLS_AT_ONCE // max(cases, 1))
    for first in range(0, resamples if cases else 0, step):
        yield random.multinomial(cases, np.full(cases, 1 / cases), size=min(step, resamples - first)).astype(np.float64)


def _figure(value_S: NDArray[np.float64], cases: int, of_version_V: NDArray[np.float64]) -> Figure:
    """From the mean over the cases as they are and over the resamples, which follow it."""
    if not cases:
        return Figure(value=None, low=None, high=None, cases=0, undefined=dict.fromkeys(("value", "low", "high"), _NO_CASE))
    interval = bootstrap_interval(value_S[1:]) if cases >= LEAST_GROUPS else None
    why = {} if interval else dict.fromkeys(("low", "high"), _FEW if cases < LEAST_GROUPS else _RARE)
    low, high = interval or (None, None)
    spread = float(np.std(of_version_V, ddof=1)) if len(of_version_V) > 1 else None
    return Figure(value=float(value_S[0]), low=low, high=high, cases=cases, spread=spread, undefined=why)
