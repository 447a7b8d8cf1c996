"""Products with scores, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np

from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.audit.scoring.scores import LabelScores, View

Likely = Sequence[tuple[int, float]]


def scored(
    p_wrong: Sequence[float], given_p: Sequence[float], best: Sequence[Likely],
    nearest: Sequence[Sequence[tuple[int, float]]] | None = None,
    words: Sequence[int] | None = None, titles: Sequence[int] | None = None, popularity: Sequence[float] | None = None, place: int = 0,
) -> ScoredProducts:  # fmt: skip
    """Scores of some products; one view, which says what all say together.

    Args:
        best: the likeliest leaves with their probabilities, the same number for each.
        nearest: places among the fitted products, and cosines.
    """
    count = len(p_wrong)
    leaf_NK = np.array([[leaf for leaf, _ in row] for row in best], np.int32).reshape(count, -1)
    p_NK = np.array([[p for _, p in row] for row in best], np.float32).reshape(count, -1)
    near = nearest or [[]] * count
    given = np.array(given_p, np.float32)
    scores = LabelScores(
        np.array(p_wrong, float), np.nan_to_num(np.array(p_wrong, float), nan=-1.0), given, leaf_NK, p_NK,
        (View("all", given, leaf_NK[:, 0], p_NK[:, 0]),),
        np.array([[each for each, _ in row] for row in near], np.int64).reshape(count, -1),
        np.array([[cosine for _, cosine in row] for row in near], np.float32).reshape(count, -1),
    )  # fmt: skip
    return ScoredProducts(
        np.arange(place, place + count), scores, np.full(count, 0.5, np.float32),
        np.array(titles if titles is not None else range(100, 100 + count), np.int64),
        np.array(words if words is not None else [9] * count, np.int32),
        np.array(popularity if popularity is not None else [np.nan] * count, float),
    )  # fmt: skip
