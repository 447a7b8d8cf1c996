"""Whether a judge can tell anything: what it says of controls, whose worth is known, decides whether its scores are shown.

A gate stands before each scale, that is before each dimension of each instrument. `usable` shows scores; `weak` shows them with that
word; `cannot_tell` shows none.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from shelfcode.evaluation.judge.controls import BASKET, LEAF, POPULAR, SHUFFLED, THEME, UNTHEMED, WORDLESS, planted
from shelfcode.evaluation.judge.instruments import FUNCTIONAL, JOURNEY, PURCHASE
from shelfcode.evaluation.judge.scale import FITTED_DOSES, Values, recovery_error
from shelfcode.reporting.figures import Figures
from shelfcode.reporting.intervals import RESAMPLES, bootstrap_interval

Verdict = Literal["usable", "weak", "cannot_tell"]

LEAST_AUROC, LEAST_LOW, LEAST_ALPHA, MOST_FLIPS, LEAST_VALID, HALO = 0.90, 0.85, 0.8, 0.10, 0.99, 0.9
LEAST_SEPARATION = 0.5
"""The lower bound of an AUROC that stands above it says that the judge tells more than chance does."""

POSITIVE = {PURCHASE: (BASKET, POPULAR), JOURNEY: (THEME, UNTHEMED)}
"""Controls of their own that dimensions beside the functional one have, where such data was given."""


class Separation(Figures):
    """How well values tell sets of one kind from those of another: AUROC with its 95% bootstrap interval."""

    above: str
    below: str
    auroc: float
    low: float
    high: float


class GateFigures(Figures):
    """What a gate looked at, and what it decided.

    Attributes:
        name: instrument and dimension, such as pmi.functional.
        separation: of leaves from shuffled sets.
        positive: of real baskets, or themes, from products drawn as often; None where none were given.
        beyond_words: of leaves' sets without a word in common from shuffled sets; it decides nothing.
        dose: mean raw value by share of planted products, in percent.
        alpha: Cronbach's, of two readings of the controls in two orders.
        flips: share of further orders in which a question was answered otherwise; None where only one order is asked.
        valid: share of replies that count.
        recovered_within: largest error of planted purity on leaves that the scale was not fitted to, 0 to 1.
        verdict, reasons: what was decided, and what speaks against more.
    """

    name: str
    separation: Separation | None
    positive: Separation | None
    beyond_words: Separation | None
    dose: dict[str, float]
    alpha: float | None
    flips: float | None
    valid: float
    recovered_within: float | None
    verdict: Verdict
    reasons: tuple[str, ...]


def gate(
    name: str, values: Mapping[str, Values], again: Mapping[str, Values], valid: float, flips: float | None, products: int, seed: int
) -> GateFigures:
    """The gate of one scale.

    Args:
        name: instrument.dimension.
        values: raw values by kind of control, the sets of one kind in the order of their leaves.
        again: the same sets read in another order; NaN where a set was not.
        valid: share of replies that count.
        flips: see GateFigures.
        products: of a set.
    """
    dimension = name.split(".")[1]
    dose = _dose(values, products)
    separation = separated(values, LEAF, SHUFFLED, seed)
    positive = separated(values, *POSITIVE[dimension], seed) if dimension in POSITIVE else None
    alpha = _alpha(values, again)
    recovered = recovery_error(values, products) if separation else None
    failing, missing = _failing(separation, dose, alpha, flips, valid), []
    verdict: Verdict = "usable" if not failing else "weak"
    if separation is None or separation.low <= LEAST_SEPARATION or valid < 0.9:
        verdict = "cannot_tell"
    elif dimension != FUNCTIONAL and positive is None:
        missing.append(f"nothing controls {dimension}: give {'--interactions' if dimension == PURCHASE else '--themes'}")
        verdict = "weak"
    elif positive is not None and positive.low <= LEAST_SEPARATION:
        missing.append(
            f"it does not tell {positive.above} from {positive.below} sets: "
            f"AUROC {positive.auroc:.2f} [{positive.low:.2f}, {positive.high:.2f}]"
        )
        verdict = "cannot_tell"
    return GateFigures(
        name=name, separation=separation, positive=positive,
        beyond_words=separated(values, WORDLESS, SHUFFLED, seed), dose=dose, alpha=alpha, flips=flips, valid=valid,
        recovered_within=recovered, verdict=verdict, reasons=(*failing, *missing),
    )  # fmt: skip


def separated(values: Mapping[str, Values], above: str, below: str, seed: int) -> Separation | None:
    """AUROC of two kinds of sets; None where there are none of one kind."""
    a, b = (values.get(kind, np.empty(0)) for kind in (above, below))
    if not len(a) or not len(b):
        return None
    # AUROC is the share of pairs in order (Hanley and McNeil, 1982), so resamples are weights on one matrix of pairs.
    order_AB = (a[:, None] > b).astype(np.float64) + 0.5 * (a[:, None] == b)
    rng = np.random.default_rng([seed, 17])
    w_SA, w_SB = (rng.multinomial(len(each), np.full(len(each), 1 / len(each)), RESAMPLES) / len(each) for each in (a, b))
    drawn_S = np.clip(((w_SA @ order_AB) * w_SB).sum(axis=1), 0, 1)
    low, high = bootstrap_interval(drawn_S) or (0.0, 1.0)
    return Separation(above=above, below=below, auroc=float(order_AB.mean()), low=low, high=high)


def _dose(values: Mapping[str, Values], products: int) -> dict[str, float]:
    kinds = [(LEAF, 0), *((planted(dose), dose) for dose in FITTED_DOSES)]
    return {f"{dose / products:.0%}": float(values[kind].mean()) for kind, dose in kinds if len(values.get(kind, ()))}


def _alpha(values: Mapping[str, Values], again: Mapping[str, Values]) -> float | None:
    kinds = [kind for kind in values if kind in again and len(again[kind]) == len(values[kind])]
    first = np.concatenate([values[kind] for kind in kinds]) if kinds else np.empty(0)
    second = np.concatenate([again[kind] for kind in kinds]) if kinds else np.empty(0)
    both = ~np.isnan(second)
    if both.sum() < 3:
        return None
    total = float(np.var(first[both] + second[both], ddof=1))
    return 2 * (1 - float(np.var(first[both], ddof=1) + np.var(second[both], ddof=1)) / total) if total else None


def _failing(separation: Separation | None, dose: Mapping[str, float], alpha: float | None, flips: float | None, valid: float) -> list[str]:
    """What keeps a scale from being usable, in words."""
    failing = []
    if separation is None:
        failing.append("no set has a valid answer")
    elif separation.auroc < LEAST_AUROC or separation.low < LEAST_LOW:
        failing.append(
            f"AUROC of leaves against shuffled sets {separation.auroc:.2f} [{separation.low:.2f}, {separation.high:.2f}], "
            f"wanted {LEAST_AUROC:.2f} with {LEAST_LOW:.2f} at the low end"
        )
    if any(later >= earlier for earlier, later in pairwise(dose.values())):
        failing.append("more planted products do not always lower the score")
    if alpha is None or alpha < LEAST_ALPHA:
        failing.append(f"the same sets in another order: alpha {'unknown' if alpha is None else f'{alpha:.2f}'}, wanted {LEAST_ALPHA}")
    if flips is not None and flips > MOST_FLIPS:
        failing.append(f"{flips:.0%} of questions are answered otherwise in another order, at most {MOST_FLIPS:.0%} wanted")
    if valid < LEAST_VALID:
        failing.append(f"{valid:.1%} of replies are valid, {LEAST_VALID:.0%} wanted")
    return failing


def halo(values: Mapping[str, Values], dimensions: Sequence[str]) -> float | None:
    """The least correlation between dimensions of one instrument over the controls; None where there are not two.

    Args:
        values: of each dimension, the same control sets in the same order.
    """
    known = [values[dimension] for dimension in dimensions if dimension in values]
    if len(known) < 2:
        return None
    matrix = np.corrcoef(np.stack(known))
    return float(matrix[np.triu_indices(len(known), 1)].min())
