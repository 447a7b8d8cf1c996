"""From a judge's raw values to purity: a cluster of this value looks like a leaf with so many intruders.

The scale is fitted to the controls: leaves with 0, 1, 2 and 4 of their products replaced, and shuffled sets, in which all but one product
of any leaf are strangers. Planted sets with 3 replaced are never fitted to, and say how well purity is recovered.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from shelfcode.evaluation.judge.controls import LEAF, SHUFFLED, planted

FITTED_DOSES = (1, 2, 4)
HELD_OUT_DOSE = 3

Values = NDArray[np.float64]


@dataclass(frozen=True)
class PurityScale:
    """A curve from mean raw value to purity.

    Attributes:
        raw, purity: points of the curve, rising; purity is the share of a set that belongs together, 0 to 1.
        floor, ceiling: mean raw values of shuffled sets and of leaves.
    """

    raw: tuple[float, ...]
    purity: tuple[float, ...]
    floor: float
    ceiling: float

    def purity_of(self, value: float) -> float:
        """Purity of sets with this mean value; beyond the ends of the curve that of its end."""
        return float(np.interp(value, self.raw, self.purity))

    def calibrated(self, value: float) -> float:
        """0 for what shuffled sets have, 1 for leaves; comparable over instruments and models, and not bounded."""
        return (value - self.floor) / (self.ceiling - self.floor)


def fit_scale(values: Mapping[str, Values], products: int) -> PurityScale | None:
    """The scale of one instrument and dimension; None where leaves do not lie above shuffled sets.

    Args:
        values: raw values by kind of control.
        products: of a set.
    """
    doses = [(LEAF, 0), *((planted(dose), dose) for dose in FITTED_DOSES), (SHUFFLED, products - 1)]
    known = [(dose, values[kind]) for kind, dose in doses if len(values.get(kind, ()))]
    purity = np.concatenate([np.full(len(raw), 1 - dose / products) for dose, raw in known])
    raw = np.concatenate([raw for _, raw in known])
    floor, ceiling = float(values[SHUFFLED].mean()), float(values[LEAF].mean())
    if not ceiling > floor:
        return None
    shares = np.unique(purity)
    means = IsotonicRegression().fit(purity, raw).predict(shares)
    rising = np.concatenate([[True], np.diff(means) > 0])
    return PurityScale(tuple(means[rising].tolist()), tuple(shares[rising].tolist()), floor, ceiling)


def recovery_error(values: Mapping[str, Values], products: int) -> float | None:
    """Largest difference between planted and recovered purity, on leaves that the scale was not fitted to; None where it cannot be.

    Leaves are split in two, each half is measured on the other's scale, and both halves are averaged a dose. Doses that a scale is
    fitted to are looked at, too: on other leaves.
    """
    halves: list[dict[int, float]] = []
    for half in (0, 1):
        scale = fit_scale({kind: raw[1 - half :: 2] for kind, raw in values.items()}, products)
        if scale is None:
            return None
        kept = {dose: values[planted(dose)][half::2] for dose in (*FITTED_DOSES, HELD_OUT_DOSE)}
        halves.append({dose: scale.purity_of(float(raw.mean())) for dose, raw in kept.items() if len(raw)})
    return max(abs((halves[0][dose] + halves[1][dose]) / 2 - (1 - dose / products)) for dose in halves[0])
