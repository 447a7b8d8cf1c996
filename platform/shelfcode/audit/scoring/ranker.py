"""The ranker: told apart from wrong labels that were made up, how suspicious is a given one?

Gradient-boosted trees learn to tell given labels from counterfactual ones. Among the given ones some are wrong, too; that bends the odds,
but not the order, as long as real mistakes are like made-up ones: with a share pi of wrong labels, the ratio of given to counterfactual
densities is (1 - pi) r + pi, which rises with the ratio r of right ones (Elkan, Noto 2008). Small trees, and the mean over several draws of
counterfactual labels, rank better than few large ones. Each ranker is trained twice, on one half of the folds and on the other; a product
is ranked by those that never saw it. Where labels have few products each, made-up labels are too easy to tell for that to teach much, and
how typical a product is of its label counts beside it (typicality.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from shelfcode.audit.scoring.features import OWN_FEATURES, TYPICAL

LEAST_EXAMPLES = 100
"""Given labels in one half of the folds; with fewer, labels are ranked by pooled log-ratios alone."""

MARGIN = list(OWN_FEATURES).index("margin")


@dataclass(frozen=True)
class Ranker:
    """Classifiers per half of the folds, one per draw of counterfactual labels, trained on the other half; none for a small catalog.

    Attributes:
        typical_3: what each measure of typicality takes off the score.
    """

    halves: tuple[tuple[HistGradientBoostingClassifier, ...], ...]
    typical_3: NDArray[np.float64]

    def score(self, features_BF: NDArray[np.float32], fold_B: NDArray[np.integer]) -> NDArray[np.float64]:
        """How suspicious each label is: float64[B].

        The mean log-odds that it is a counterfactual one and no given one, or the pool's margin without classifiers; less typicality.
        """
        return self._log_odds(features_BF, fold_B) - features_BF[:, TYPICAL] @ self.typical_3

    def _log_odds(self, features_BF: NDArray[np.float32], fold_B: NDArray[np.integer]) -> NDArray[np.float64]:
        if not self.halves:
            return features_BF[:, MARGIN].astype(np.float64)
        score_B = np.empty(len(features_BF))
        for half, classifiers in enumerate(self.halves):
            rows = np.flatnonzero(fold_B % 2 == half)
            if len(rows):
                score_B[rows] = np.mean([each.decision_function(_learnt(features_BF[rows])) for each in classifiers], axis=0)
        return score_B


def fit_ranker(
    given_MF: NDArray[np.float32], made: Sequence[NDArray[np.float32]], fold_M: NDArray[np.integer], typical_weight: float, trees: int,
    seed: int,
) -> Ranker:  # fmt: skip
    """Trains on the features of products under their given labels, and under counterfactual ones.

    Args:
        made: of each draw, features of the same products: float32[M, F].
        fold_M: the fold of each product.
        typical_weight: how much each measure of typicality counts beside the log-odds, where all have a standard deviation of one.
    """
    halves: list[tuple[HistGradientBoostingClassifier, ...]] = []
    if min((fold_M % 2 == half).sum() for half in (0, 1)) >= LEAST_EXAMPLES:
        for half in (0, 1):
            rows = np.flatnonzero(fold_M % 2 != half)
            halves.append(tuple(_fit(given_MF[rows], made_MF[rows], trees, seed + draw) for draw, made_MF in enumerate(made)))
    ranker = Ranker(tuple(halves), np.zeros(3))
    if not typical_weight or not len(given_MF):
        return ranker
    deviation_3 = given_MF[:, TYPICAL].std(axis=0, dtype=np.float64)
    scale_3 = np.where(deviation_3 > 0, ranker.score(given_MF, fold_M).std() / np.where(deviation_3 > 0, deviation_3, 1), 0)
    return replace(ranker, typical_3=typical_weight * scale_3)


def _learnt(features_BF: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features that classifiers learn from."""
    return features_BF[:, : TYPICAL.start]


def _fit(given_MF: NDArray[np.float32], made_MF: NDArray[np.float32], trees: int, seed: int) -> HistGradientBoostingClassifier:
    least = min(100, max(5, len(given_MF) // 100))
    classifier = HistGradientBoostingClassifier(
        max_iter=trees, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=least, l2_regularization=5.0, max_features=0.6,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    return classifier.fit(_learnt(np.vstack([given_MF, made_MF])), np.repeat([0, 1], len(given_MF)))
