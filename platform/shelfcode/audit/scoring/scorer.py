"""The scorer: views, their pool, the ranker and the calibration, fitted in this order."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from shelfcode.audit.scoring.calibration import NOTHING_TO_TELL, Calibration, fit_calibration
from shelfcode.audit.scoring.counterfactual import wrong_labels
from shelfcode.audit.scoring.features import LeafFacts, Panel, centres, features_of, hardness, mistaken_shares
from shelfcode.audit.scoring.kinship import fit_kinship, likely_leaves
from shelfcode.audit.scoring.pooling import fit_weights, pool, products_for_weights
from shelfcode.audit.scoring.ranker import Ranker, fit_ranker
from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.audit.scoring.typicality import Typicality, draw_members, typical_weight
from shelfcode.audit.scoring.views.batch import Batch, FittedView, best_leaves, rows_of
from shelfcode.audit.scoring.views.neighbours import PRIOR, NeighbourView, labels_known, posteriors_known
from shelfcode.audit.scoring.views.network import NetworkView, fit_network
from shelfcode.audit.scoring.views.prefixes import PrefixView, fit_prefixes, shares_elsewhere

T = TypeVar("T")

ENTRIES_AT_ONCE = 2**22
"""Products times leaves looked at together: 16 MiB a view."""


@dataclass(frozen=True)
class Scorer:
    """What says of a product, under any label, how suspicious that label is.

    Attributes:
        views, weight_V: the views, and how much each counts in the pool.
        facts: of the leaves.
        ranker, calibration: from features to scores, and from scores to probabilities.
        score_M: of each fitted product's given label; NaN where there is none.
    """

    views: tuple[FittedView, ...]
    weight_V: NDArray[np.float64]
    facts: LeafFacts
    ranker: Ranker
    calibration: Calibration
    score_M: NDArray[np.float64]


@dataclass(frozen=True)
class FittedLabels:
    """Labels of the fitted products, as numbers of the U leaves in use; -1 where there is none.

    Attributes:
        given_M: as the catalog has them.
        clean_M: the same, but for those that people decided.
        ancestors_UD, parent_U: the tree above the leaves in use.
    """

    given_M: NDArray[np.int32]
    clean_M: NDArray[np.int32]
    ancestors_UD: NDArray[np.int32]
    parent_U: NDArray[np.int32]

    @property
    def leaves(self) -> int:
        return len(self.parent_U)


def fit_scorer(batch: Batch, labels: FittedLabels, flavors: Sequence[str], settings: ScoringSettings, threads: int) -> Scorer:
    """Fits all of it to the labelled products."""
    base = _base_views(batch, labels, flavors, settings, threads)
    views = (*base, *_neighbour_views(batch, labels, base, settings, threads))
    weight_V = _weights(batch, labels, views, settings)
    facts = _leaf_facts(batch, labels, views, weight_V, settings, threads)
    given_MF, made, has = _examples(batch, labels, views, weight_V, facts, settings, threads)
    fold_M, drawn = batch.fold_B[has], np.random.default_rng(settings.seed).permutation(len(has))[: settings.ranker_products]
    right = drawn[labels.given_M[has[drawn]] == labels.clean_M[has[drawn]]]
    if labels.leaves == 1:
        right = right[:0]  # there is no wrong label to learn from
    typical_weight = facts.typicality.weight if facts.typicality else 0.0
    made_right = [made_MF[right] for made_MF in made]
    ranker = fit_ranker(given_MF[right], made_right, fold_M[right], typical_weight, settings.ranker_trees, settings.seed)
    score = ranker.score(given_MF, fold_M)
    # Each ranker judges the draws that the others learnt from, too, but never a product that any of them learnt from.
    made_score = np.concatenate([ranker.score(made_MF, fold_M) for made_MF in made])
    calibration = fit_calibration(score, made_score) if labels.leaves > 1 else NOTHING_TO_TELL
    score_M = np.full(len(batch), np.nan)
    score_M[has] = score
    return Scorer(views, weight_V, facts, ranker, calibration, score_M)


def map_panels(
    function: Callable[[NDArray[np.int64], Panel], T], batch: Batch, views: Sequence[FittedView], weight_V: NDArray[np.floating],
    leaves: int, threads: int,
) -> list[T]:  # fmt: skip
    """What a function makes of each panel, given its rows, in their order; so many panels at a time as there are threads."""

    def one(first: int) -> T:
        part = rows_of(batch, rows := np.arange(first, min(first + size, len(batch))))
        log_p_VBU = np.stack([view.log_posterior(part) for view in views])
        return function(rows, Panel(part, log_p_VBU, pool(log_p_VBU, weight_V)))

    size = max(64, ENTRIES_AT_ONCE // leaves)
    with ThreadPoolExecutor(threads) as workers:
        return list(workers.map(one, range(0, len(batch), size)))


def _base_views(batch: Batch, labels: FittedLabels, flavors: Sequence[str], settings: ScoringSettings, threads: int) -> list[FittedView]:
    """The views that need no other view."""
    label_M, fold_M = labels.clean_M, batch.fold_B
    counts = labels.leaves, settings.folds
    views: list[FittedView] = [
        fit_network("embedding", batch.x_BD, label_M, fold_M, *counts, settings.embedding_network, settings.seed, threads)
    ]
    if batch.words_BG is not None:
        views.append(fit_network("words", batch.words_BG, label_M, fold_M, *counts, settings.words_network, settings.seed, threads))
    for which, flavor in enumerate(flavors):
        views.append(fit_prefixes(flavor, which, batch.codes[which], label_M, fold_M, *counts, settings.prefix_strength))
    return views


def _leaf_facts(
    batch: Batch, labels: FittedLabels, views: Sequence[FittedView], weight_V: NDArray[np.float64], settings: ScoringSettings, threads: int
) -> LeafFacts:
    """What the views say of the leaves."""
    label_M, leaves, folds = labels.clean_M, labels.leaves, settings.folds

    def best_and_given(rows: NDArray[np.int64], panel: Panel) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return panel.pooled_BU.argmax(axis=1), panel.pooled_BU[np.arange(len(rows)), label_M[rows].clip(min=0)]

    found = map_panels(best_and_given, batch, views, weight_V, leaves, threads)
    best_M, given_M = (np.concatenate(each) for each in zip(*found, strict=True))
    has = label_M >= 0
    weight = typical_weight(label_M, best_M, leaves)
    return LeafFacts(
        labels.ancestors_UD, labels.parent_U, np.bincount(label_M[has], minlength=leaves).astype(np.float64),
        hardness(label_M[has], given_M[has], batch.fold_B[has], folds, leaves),
        mistaken_shares(label_M[has], best_M[has], batch.fold_B[has], folds, leaves), label_M,
        centres(batch.x_BD, label_M, batch.fold_B, folds, leaves),
        _typicality(batch, labels, views, weight_V, weight, settings, threads) if weight else None,
    )  # fmt: skip


def _typicality(
    batch: Batch, labels: FittedLabels, views: Sequence[FittedView], weight_V: NDArray[np.float64], weight: float,
    settings: ScoringSettings, threads: int,
) -> Typicality:  # fmt: skip
    """How usual products are among those of a label; kin are told by the views that count labels and learn nothing."""
    label_M, leaves, folds = labels.clean_M, labels.leaves, settings.folds
    counting = tuple(
        place
        for place, view in enumerate(views)
        if isinstance(view, PrefixView) or (isinstance(view, NeighbourView) and len(view.known) == 1)
    )
    parts = map_panels(
        lambda _, panel: likely_leaves([panel.log_p_VBU[view] for view in counting]), batch, views, weight_V, leaves, threads
    )
    kinship = fit_kinship(csr_matrix(vstack(parts, format="csr")), label_M, batch.fold_B, leaves, folds)
    members = draw_members(batch.x_BD, label_M, batch.fold_B, leaves, settings.seed)
    prefixes = tuple(view for view in views if isinstance(view, PrefixView))
    return Typicality(members, prefixes, kinship, counting, weight)


def _neighbour_views(
    batch: Batch, labels: FittedLabels, base: Sequence[FittedView], settings: ScoringSettings, threads: int
) -> list[FittedView]:
    """The two views of the neighbours: their labels, and what the networks of the asking product's fold say of them."""
    label_M, leaves = labels.clean_M, labels.leaves
    base_FU = shares_elsewhere(label_M, batch.fold_B, leaves, settings.folds)
    networks = [view for view in base if isinstance(view, NetworkView)]
    alike_V = np.full(len(networks), 1 / len(networks))
    known = []
    for fold in range(settings.folds):
        as_of_fold = replace(batch, fold_B=np.full(len(batch), fold, batch.fold_B.dtype))
        best = map_panels(lambda _, panel: best_leaves(panel.pooled_BU), as_of_fold, networks, alike_V, leaves, threads)
        known.append(posteriors_known(np.concatenate([each for each, _ in best]), np.concatenate([p for _, p in best]), leaves))
    width = settings.neighbour_width
    return [
        NeighbourView("neighbours", (labels_known(label_M, leaves),), base_FU, width, PRIOR),
        NeighbourView("neighbours' views", tuple(known), base_FU, width, 0.0),
    ]


def _weights(batch: Batch, labels: FittedLabels, views: Sequence[FittedView], settings: ScoringSettings) -> NDArray[np.float64]:
    """Weights of the pool, from a draw of the labelled products."""
    has = np.flatnonzero(labels.clean_M >= 0)
    count = products_for_weights(len(has), len(views), labels.leaves)
    rows = np.sort(np.random.default_rng(settings.seed + 1).choice(has, count, replace=False))
    part = rows_of(batch, rows)
    return fit_weights(np.stack([view.log_posterior(part) for view in views]), labels.clean_M[rows])


def _examples(
    batch: Batch, labels: FittedLabels, views: Sequence[FittedView], weight_V: NDArray[np.float64], facts: LeafFacts,
    settings: ScoringSettings, threads: int,
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]], NDArray[np.int64]]:  # fmt: skip
    """Features of the labelled products under their given labels, and under a counterfactual one per draw; and which products they are."""
    has = np.flatnonzero(labels.given_M >= 0)
    draws = settings.ranker_draws if labels.leaves > 1 else 0

    def features(rows: NDArray[np.int64], panel: Panel) -> list[NDArray[np.float32]]:
        label_B = labels.given_M[has[rows]]
        draw = np.random.default_rng([settings.seed + 2, int(rows[0])])  # of this panel, for panels come in any order
        labels_: list[NDArray[np.integer]] = [
            label_B,
            *(wrong_labels(label_B, facts.size_U, facts.parent_U, draw) for _ in range(draws)),
        ]
        return [features_of(panel, each_B, facts) for each_B in labels_]

    found = map_panels(features, rows_of(batch, has), views, weight_V, labels.leaves, threads)
    given_MF, *made = (np.concatenate(each) for each in zip(*found, strict=True))
    return given_MF, made or [given_MF] * settings.ranker_draws, has
