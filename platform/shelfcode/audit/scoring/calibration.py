"""From scores to probabilities without a human label.

Given labels are a mixture: their scores have the density g = (1 - pi) r + pi w, right ones and wrong ones. Counterfactual labels show w. So
P(wrong | score) = pi w / g, and pi can be no more than the ratio of the two tails beyond any threshold: the smallest one is taken (the
estimator of the proportion in a mixture of Blanchard, Lee, Scott 2010), of those thresholds that most counterfactual labels are beyond;
farther out the ratio tells which kinds of mistakes happen more often. The ratio w / g rises with the score and is found by isotonic
regression. Human decisions, where there are enough, correct slope and height of the log-odds (Platt 1999).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

LEAST_GIVEN = 30
LEAST_TAIL = 0.7
"""Share of the counterfactual labels beyond a threshold, for its two tails to be compared."""
LEAST_DECISIONS = 30
EDGE = 1e-4


@dataclass(frozen=True)
class Calibration:
    """A rising function from scores to the probability that a label is wrong, linear between points.

    Attributes:
        score_K, p_K: the points.
        noise_rate: share of wrong labels among the given ones; noise_low and noise_high: its interval of 95%.
        slope, height: of the correction that decisions make to the log-odds; 1 and 0 without one.
    """

    score_K: NDArray[np.float64]
    p_K: NDArray[np.float64]
    noise_rate: float
    noise_low: float
    noise_high: float
    slope: float = 1.0
    height: float = 0.0

    def p_wrong(self, score_B: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability that each label is wrong: float64[B]."""
        p_B = np.interp(score_B, self.score_K, self.p_K)
        if self.slope == 1 and self.height == 0:
            return p_B
        return np.asarray(expit(self.slope * logit(p_B.clip(EDGE, 1 - EDGE)) + self.height))


NOTHING_TO_TELL = Calibration(np.zeros(1), np.zeros(1), 0.0, 0.0, 1.0)
"""Where there are too few labels, or one leaf only."""


def fit_calibration(given_M: NDArray[np.floating], made_M: NDArray[np.floating]) -> Calibration:
    """Calibrates by the scores of given and of counterfactual labels, each under a ranker that did not learn from them."""
    if len(given_M) < 2 * LEAST_GIVEN or not len(made_M):
        return NOTHING_TO_TELL
    rate, low, high = noise_rate(given_M, made_M)
    score_T = np.concatenate([given_M, made_M]).astype(np.float64)
    made_T = np.repeat([0.0, 1.0], [len(given_M), len(made_M)])
    weight_T = np.repeat([1 / len(given_M), 1 / len(made_M)], [len(given_M), len(made_M)])
    isotonic = IsotonicRegression(y_min=0, y_max=1 - 1e-9).fit(score_T, made_T, weight_T)
    score_K, share_K = np.asarray(isotonic.X_thresholds_), np.asarray(isotonic.y_thresholds_)
    p_K = np.minimum(1 - EDGE, rate * share_K / (1 - share_K))
    return Calibration(score_K, p_K, rate, low, high)


def noise_rate(given_M: NDArray[np.floating], made_M: NDArray[np.floating]) -> tuple[float, float, float]:
    """Share of wrong labels among the given ones, and an interval.

    Of all thresholds that enough counterfactual labels are beyond, the smallest ratio of the given tail to the counterfactual one; each
    ratio is taken with a standard error more, so that a thin tail cannot be the smallest by chance.
    """
    given, made = np.sort(given_M), np.sort(made_M)
    made_T = np.linspace(LEAST_TAIL, 1, 61)
    threshold_T = np.quantile(made, 1 - made_T)
    share_T = 1 - np.searchsorted(given, threshold_T) / len(given)
    made_T = 1 - np.searchsorted(made, threshold_T) / len(made)
    error_T = np.sqrt(share_T * (1 - share_T) / len(given))
    at = int(((share_T + error_T) / made_T).argmin())
    rate = min(1.0, share_T[at] / made_T[at])
    error = 1.96 * error_T[at] / made_T[at]
    return float(rate), float(max(0.0, rate - error)), float(min(1.0, rate + error))


def refine(calibration: Calibration, score_B: NDArray[np.floating], wrong_B: NDArray[np.bool_]) -> Calibration:
    """Corrects the log-odds by human decisions; with too few of them, nothing.

    The correction is drawn towards none as if LEAST_DECISIONS further decisions had agreed with it.
    """
    if len(score_B) < LEAST_DECISIONS:
        return calibration
    z_B = logit(calibration.p_wrong(score_B).clip(EDGE, 1 - EDGE))

    def loss(parameters: NDArray[np.float64]) -> float:
        slope, height = parameters
        return float(
            np.logaddexp(0, np.where(wrong_B, -1, 1) * (slope * z_B + height)).sum()
            + 0.5 * LEAST_DECISIONS * ((slope - 1) ** 2 + (height / 4) ** 2)
        )

    slope, height = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.2, 5), (-6, 6)], method="L-BFGS-B").x
    return replace(calibration, slope=float(slope), height=float(height))
