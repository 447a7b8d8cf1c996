"""The chance that one more sentence would change a product's code, learnt from rich products whose texts were cut.

A logistic regression over the signals gives an order, an isotonic regression on other products makes chances of it, and what both are
worth is measured on products that neither saw.
"""

# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shelfcode.errors import ShelfcodeError
from shelfcode.reporting.figures import Figures

BINS = 10
FEWEST_PRODUCTS = 60
"""Rich products, below which no chance can be learnt, calibrated and measured."""

_FIT, _CALIBRATE = 0.5, 0.75
"""Products up to the first share of them are fitted on, up to the second calibrated on, and the rest is held out."""


class ReliabilityBin(BaseModel):
    """A tenth of the held-out examples, by predicted chance."""

    model_config = ConfigDict(frozen=True)

    examples: int
    predicted: float
    observed: float


class Calibration(Figures):
    """What a chance is worth on products that it was not learnt from.

    Attributes:
        fitted_products, held_out_products, examples: of the held-out products there are so many examples.
        base_rate: share of the examples whose code changes.
        brier, brier_base_rate: mean squared error, and that of always saying the base rate.
        ece: expected calibration error over ten bins of equal size.
        auroc, auroc_words: how well the chance, and the number of words alone, order the examples.
        title_alone: predicted and observed share where the version has no sentence at all.
    """

    fitted_products: int
    held_out_products: int
    examples: int
    base_rate: float
    brier: float
    brier_base_rate: float
    ece: float
    auroc: float | None
    auroc_words: float | None
    title_alone: ReliabilityBin | None
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Examples:
    """X versions of products, and whether one more sentence changed their codes.

    Attributes:
        signals_XF: float32, in the order of `SIGNALS`.
        changed_X: bool.
        product_X: int64; versions of one product are kept together.
        sentences_X: int64, sentences that the version has.
    """

    signals_XF: NDArray[np.float32]
    changed_X: NDArray[np.bool_]
    product_X: NDArray[np.int64]
    sentences_X: NDArray[np.int64]

    def of(self, kept_X: NDArray[np.bool_]) -> "Examples":
        return Examples(self.signals_XF[kept_X], self.changed_X[kept_X], self.product_X[kept_X], self.sentences_X[kept_X])


@dataclass(frozen=True)
class Chance:
    """A fitted chance. `None` for a model: the code changed in all or in none of the examples."""

    ranking: Any
    isotonic: Any
    constant: float

    def predict(self, signals_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chance of each product: float32[N], from 0 to 1."""
        if self.ranking is None or not len(signals_NF):
            return np.full(len(signals_NF), self.constant, np.float32)
        score_N = self.ranking.decision_function(signals_NF)
        return self.isotonic.predict(score_N).astype(np.float32)  # type: ignore[no-any-return]


def learn_chance(examples: Examples, seed: int = 0) -> tuple[Chance, Calibration]:
    """Fit on half of the products, calibrate on a quarter, and measure on the last quarter.

    Raises:
        ShelfcodeError: too few products to learn from.
    """
    part_X = _parts(examples.product_X, seed)
    fitted, calibrating, held_out = (examples.of(part_X == part) for part in range(3))
    chance = _fit(fitted, calibrating)
    return chance, measure(chance, held_out, len(np.unique(fitted.product_X)))


def check_rich(products: int) -> None:
    """Refuse to learn from too few products.

    Raises:
        ShelfcodeError: says how many there are, and how many are needed.
    """
    if products < FEWEST_PRODUCTS:
        raise ShelfcodeError(
            f"only {products} products have enough sentences to learn from, and {FEWEST_PRODUCTS} are needed: descriptions of three "
            "sentences or more, which can be cut. Name a release of a catalog that has them"
        )


def _parts(product_X: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    products_P, slot_X = np.unique(product_X, return_inverse=True)
    check_rich(len(products_P))
    rank_P = np.random.default_rng(seed).permutation(len(products_P)) / len(products_P)
    part_P = (rank_P >= _FIT).astype(np.int64) + (rank_P >= _CALIBRATE)
    return part_P[slot_X]


def _fit(fitted: Examples, calibrating: Examples) -> Chance:
    from sklearn.isotonic import IsotonicRegression  # seconds to import: only those who learn pay for it
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    constant = float(np.concatenate([fitted.changed_X, calibrating.changed_X]).mean())
    if fitted.changed_X.all() or not fitted.changed_X.any():
        return Chance(None, None, constant)
    ranking = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), LogisticRegression(C=0.1, max_iter=500)
    ).fit(fitted.signals_XF, fitted.changed_X)
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    isotonic.fit(ranking.decision_function(calibrating.signals_XF), calibrating.changed_X)
    return Chance(ranking, isotonic, constant)


def measure(chance: Chance, held_out: Examples, fitted_products: int) -> Calibration:
    """Calibration on examples that the chance was not learnt from."""
    predicted_X, changed_X = chance.predict(held_out.signals_XF).astype(float), held_out.changed_X.astype(float)
    base_rate = float(changed_X.mean())
    order_X = np.argsort(predicted_X, kind="stable")
    bins = tuple(_bin(predicted_X[at], changed_X[at]) for at in np.array_split(order_X, BINS) if len(at))
    title_X = held_out.sentences_X == 0
    undefined = {} if 0 < base_rate < 1 else dict.fromkeys(("auroc", "auroc_words"), "the code changed in all or in none of the examples")
    return Calibration(
        fitted_products=fitted_products, held_out_products=len(np.unique(held_out.product_X)), examples=len(changed_X), base_rate=base_rate,
        brier=float(np.mean((predicted_X - changed_X) ** 2)), brier_base_rate=base_rate * (1 - base_rate),
        ece=sum(each.examples * abs(each.predicted - each.observed) for each in bins) / max(len(changed_X), 1),
        auroc=auroc(predicted_X, held_out.changed_X), auroc_words=auroc(-held_out.signals_XF[:, 0].astype(float), held_out.changed_X),
        title_alone=_bin(predicted_X[title_X], changed_X[title_X]) if title_X.any() else None, bins=bins, undefined=undefined,
    )  # fmt: skip


def _bin(predicted_B: NDArray[np.float64], changed_B: NDArray[np.float64]) -> ReliabilityBin:
    return ReliabilityBin(examples=len(predicted_B), predicted=float(predicted_B.mean()), observed=float(changed_B.mean()))


def auroc(score_N: NDArray[np.float64], positive_N: NDArray[np.bool_]) -> float | None:
    """Chance that a positive has the higher score than a negative, ties counting half; None where one of them is missing."""
    from scipy.stats import rankdata

    positives, negatives = int(positive_N.sum()), int((~positive_N).sum())
    if not positives or not negatives:
        return None
    return float((rankdata(score_N)[positive_N].sum() - positives * (positives + 1) / 2) / (positives * negatives))
