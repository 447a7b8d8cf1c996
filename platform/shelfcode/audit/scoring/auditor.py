"""The auditor: fitted to some products of a catalog, it says of any product how likely its label is wrong.

    auditor = fit_auditor(products, taxonomy, settings)
    scores = auditor.score(batch)

No human label is needed; decisions, where there are any, count as clean labels and correct the calibration. What an auditor says of a
product does not depend on which others are in the batch. It is plain data, to be pickled and sent to whoever scores.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.scoring.calibration import refine
from shelfcode.audit.scoring.features import Panel, features_of
from shelfcode.audit.scoring.folds import folds_of, products_to_fit, text_keys
from shelfcode.audit.scoring.nearest import NearestIndex, fit_nearest
from shelfcode.audit.scoring.scorer import FittedLabels, Scorer, fit_scorer, map_panels
from shelfcode.audit.scoring.scores import AuditedProducts, FlavorCodes, LabelScores, View
from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.audit.scoring.views.batch import Batch, best_leaves
from shelfcode.audit.scoring.views.words import Vocabulary, fit_vocabulary
from shelfcode.catalog.taxonomy import NO_LEAF, Taxonomy
from shelfcode.keys import KeyIndex, index_keys

__all__ = ["Auditor", "DecidedLabels", "fit_auditor", "products_to_fit"]


@dataclass(frozen=True)
class DecidedLabels:
    """What people decided: the right leaf of N products, by item key. A label that was kept is its own right leaf."""

    key_N: NDArray[np.uint64]
    leaf_N: NDArray[np.int32]


@dataclass(frozen=True)
class Auditor:
    """A fitted audit.

    Attributes:
        settings: that it was fitted with.
        fitted_key_M: item keys of the products that it was fitted to, which `LabelScores.nearest_NJ` counts.
        leaf_U: the leaves in use: those with a label among these products that says something.
        number_P: the place of each leaf among them, -1 for others; one entry more at the end, for NO_LEAF.
        noise_rate, noise_low, noise_high: share of wrong labels among the given ones that say something, and its interval of 95%.
    """

    settings: ScoringSettings
    fitted_key_M: NDArray[np.uint64]
    leaf_U: NDArray[np.int32]
    number_P: NDArray[np.int32]
    noise_rate: float
    noise_low: float
    noise_high: float
    _reader: "_Reader"
    _scorer: Scorer | None

    def score(self, products: AuditedProducts) -> LabelScores:
        """What is thought of the labels of any products, fitted or not."""
        batch = self._reader.batch(products)
        if self._scorer is None:
            return _nothing_known(batch)
        return _scores(self._scorer, batch, self.number_P[products.leaf_N], self.leaf_U)


@dataclass(frozen=True)
class _Reader:
    """Turns products into what the views read."""

    flavors: tuple[str, ...]
    folds: int
    seed: int
    neighbours: int
    vocabulary: Vocabulary | None
    nearest: NearestIndex
    text_key_M: NDArray[np.uint64]
    place: KeyIndex
    nearest_MJ: NDArray[np.int32]
    cosine_MJ: NDArray[np.float16]

    def batch(self, products: AuditedProducts) -> Batch:
        if (names := tuple(each.flavor for each in products.codes)) != self.flavors:
            raise ValueError(f"products have codes of the flavors {names}; the auditor was fitted to {self.flavors}")
        text_key_B = text_keys(products.text_N)
        nearest_BJ, cosine_BJ = self._nearest(products.x_ND, products.key_N, text_key_B)
        asked_BJ = (nearest_BJ >= 0) & (self.text_key_M[nearest_BJ.clip(min=0)] != text_key_B[:, None])
        return Batch(
            folds_of(text_key_B, self.folds, self.seed), np.asarray(products.x_ND, np.float32),
            self.vocabulary.rows(products.text_N) if self.vocabulary else None,
            tuple(each.codes_NL for each in products.codes), nearest_BJ, cosine_BJ, asked_BJ,
        )  # fmt: skip

    def _nearest(
        self, x_BD: NDArray[np.float32], key_B: NDArray[np.uint64], text_key_B: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of fitted products were found once already."""
        place_B = self.place.get(key_B)
        known_B = (place_B >= 0) & (self.text_key_M[place_B.clip(min=0)] == text_key_B)
        nearest_BJ, cosine_BJ = self.nearest_MJ[place_B].astype(np.int64), self.cosine_MJ[place_B].astype(np.float32)
        if not known_B.all():
            other = np.flatnonzero(~known_B)
            nearest_BJ[other], cosine_BJ[other] = self.nearest.search(x_BD[other], key_B[other], self.neighbours)
        return nearest_BJ, cosine_BJ


def fit_auditor(
    products: AuditedProducts, taxonomy: Taxonomy, settings: ScoringSettings, decided: DecidedLabels | None = None, threads: int = 2
) -> Auditor:
    """Fits an audit to the products of a catalog, or to those of them that `products_to_fit` chooses.

    Args:
        taxonomy: the tree that `leaf_N` counts in; which leaf its own products have does not matter.
        decided: right labels, which are learnt from in place of the given ones.
        threads: networks trained at a time.

    Raises:
        ValueError: there is no product.
    """
    products = _some(products, products_to_fit(products.key_N, products.leaf_N, settings))
    if not len(products.key_N):
        raise ValueError("an audit needs at least one product")
    given_M = _saying_leaves(products.leaf_N, taxonomy, settings)
    clean_M = _overlaid(given_M, products.key_N, taxonomy, settings, decided)
    leaf_U = np.unique(np.concatenate([given_M, clean_M]))
    leaf_U = leaf_U[leaf_U != NO_LEAF]
    number_P = np.full(len(taxonomy.paths) + 1, -1, np.int32)
    number_P[leaf_U] = np.arange(len(leaf_U))
    reader, batch = _reader(products, settings, threads)
    if not len(leaf_U):
        return Auditor(settings, products.key_N, leaf_U, number_P, 0.0, 0.0, 1.0, reader, None)
    labels = FittedLabels(number_P[given_M], number_P[clean_M], taxonomy.ancestors_PD[leaf_U], taxonomy.parent_P[leaf_U])
    found = fit_scorer(batch, labels, reader.flavors, settings, threads)
    if decided is not None:
        judged = np.flatnonzero(index_keys(decided.key_N).get(products.key_N) >= 0)
        judged = judged[labels.given_M[judged] >= 0]
        wrong = labels.given_M[judged] != labels.clean_M[judged]
        found = replace(found, calibration=refine(found.calibration, found.score_M[judged], wrong))
    rate = found.calibration
    return Auditor(settings, products.key_N, leaf_U, number_P, rate.noise_rate, rate.noise_low, rate.noise_high, reader, found)


def _saying_leaves(leaf_N: NDArray[np.integer], taxonomy: Taxonomy, settings: ScoringSettings) -> NDArray[np.int32]:
    """Leaves, those that say nothing as NO_LEAF."""
    return replace(taxonomy, leaf_of_N=np.asarray(leaf_N, np.int32)).without_leaves(settings.no_leaf_names).leaf_of_N


def _overlaid(
    given_M: NDArray[np.int32], key_M: NDArray[np.uint64], taxonomy: Taxonomy, settings: ScoringSettings, decided: DecidedLabels | None
) -> NDArray[np.int32]:
    """Given leaves, but for those that people decided."""
    if decided is None or not len(decided.key_N):
        return given_M
    place_M = index_keys(decided.key_N).get(key_M)
    right_N = _saying_leaves(decided.leaf_N, taxonomy, settings)
    return np.where(place_M >= 0, right_N[place_M], given_M).astype(np.int32)


def _reader(products: AuditedProducts, settings: ScoringSettings, threads: int) -> tuple[_Reader, Batch]:
    """What turns products into batches, and the batch of the fitted products."""
    vocabulary, words = None, None
    if settings.words:
        vocabulary, words = fit_vocabulary(products.text_N, settings.gram_buckets, settings.gram_characters)
    text_key_M = text_keys(products.text_N)
    nearest = fit_nearest(products.x_ND, products.key_N, settings.seed)
    nearest_MJ, cosine_MJ = nearest.search(products.x_ND, products.key_N, settings.neighbours, threads)
    reader = _Reader(
        tuple(each.flavor for each in products.codes), settings.folds, settings.seed, settings.neighbours, vocabulary, nearest, text_key_M,
        index_keys(products.key_N), nearest_MJ.astype(np.int32), cosine_MJ.astype(np.float16),
    )  # fmt: skip
    asked_MJ = (nearest_MJ >= 0) & (text_key_M[nearest_MJ.clip(min=0)] != text_key_M[:, None])
    fold_M = folds_of(text_key_M, settings.folds, settings.seed)
    cosine_MJ = cosine_MJ.astype(np.float16).astype(np.float32)  # as they are kept
    codes = tuple(each.codes_NL for each in products.codes)
    return reader, Batch(fold_M, np.asarray(products.x_ND, np.float32), words, codes, nearest_MJ, cosine_MJ, asked_MJ)


def _some(products: AuditedProducts, rows: NDArray[np.integer]) -> AuditedProducts:
    if len(rows) == len(products.key_N):
        return products
    codes = tuple(FlavorCodes(each.flavor, each.codes_NL[rows], each.codebook_sizes) for each in products.codes)
    texts = [products.text_N[row] for row in rows]
    return AuditedProducts(products.key_N[rows], texts, products.x_ND[rows], codes, products.leaf_N[rows])


def _scores(scorer: Scorer, batch: Batch, label_B: NDArray[np.int32], leaf_U: NDArray[np.int32]) -> LabelScores:
    parts = map_panels(
        lambda rows, panel: _panel_scores(scorer, panel, label_B[rows], leaf_U), batch, scorer.views, scorer.weight_V, len(leaf_U), 1
    )
    views = tuple(_joined([part.views[at] for part in parts]) for at in range(len(scorer.views)))
    score_B = np.concatenate([part.score_N for part in parts])
    return LabelScores(
        np.concatenate([part.p_wrong_N for part in parts]), score_B, np.concatenate([part.given_p_N for part in parts]),
        np.concatenate([part.best_leaf_NK for part in parts]), np.concatenate([part.best_p_NK for part in parts]), views,
        batch.nearest_BJ, batch.cosine_BJ,
    )  # fmt: skip


def _joined(views: Sequence[View]) -> View:
    """One view of several parts."""
    given_p_N, best_p_N = np.concatenate([view.given_p_N for view in views]), np.concatenate([view.best_p_N for view in views])
    return View(views[0].name, given_p_N, np.concatenate([view.best_leaf_N for view in views]), best_p_N)


def _panel_scores(scorer: Scorer, panel: Panel, label_B: NDArray[np.int32], leaf_U: NDArray[np.int32]) -> LabelScores:
    """Scores of the products of one panel. A label that no fitted product has counts as none."""
    rows, has_B = np.arange(len(label_B)), label_B >= 0
    some_B = label_B.clip(min=0)
    score_B = np.where(has_B, scorer.ranker.score(features_of(panel, some_B, scorer.facts), panel.batch.fold_B), -np.inf)
    p_wrong_B = np.where(has_B, scorer.calibration.p_wrong(np.where(has_B, score_B, 0)), np.nan)
    best_BK, p_BK = best_leaves(panel.pooled_BU)
    top_VB = panel.log_p_VBU.argmax(axis=2)
    views = tuple(
        View(
            view.name, np.where(has_B, np.exp(log_p_BU[rows, some_B]), 0).astype(np.float32), leaf_U[top_B],
            np.exp(log_p_BU[rows, top_B]).astype(np.float32),
        )
        for view, log_p_BU, top_B in zip(scorer.views, panel.log_p_VBU, top_VB, strict=True)
    )  # fmt: skip
    given_B = np.where(has_B, np.exp(panel.pooled_BU[rows, some_B]), 0).astype(np.float32)
    return LabelScores(
        p_wrong_B, score_B, given_B, leaf_U[best_BK], p_BK.astype(np.float32), views, panel.batch.nearest_BJ, panel.batch.cosine_BJ
    )


def _nothing_known(batch: Batch) -> LabelScores:
    """Scores of a catalog in which no label says anything."""
    size = len(batch)
    return LabelScores(
        np.full(size, np.nan), np.full(size, -np.inf), np.zeros(size, np.float32), np.empty((size, 0), np.int32),
        np.empty((size, 0), np.float32), (), batch.nearest_BJ, batch.cosine_BJ,
    )  # fmt: skip
