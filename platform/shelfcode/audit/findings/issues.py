"""Which products are findings, of which issue, and what they suggest."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shelfcode.audit.finding import Issue
from shelfcode.audit.findings.same_products import other_label
from shelfcode.audit.findings.scored import ScoredProducts
from shelfcode.audit.findings.tally import Tally, nearest_mean
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.taxonomy import NO_LEAF, SIBLING_LEAF, Taxonomy

SUGGESTIONS = 5
NEAREST = 5
"""So many of the nearest products are asked whether a product is like anything."""
LEAST_P = 0.005
"""A path that is less likely than this is not suggested."""
SIBLING_ODDS = 8.0
"""A product is filed under a sibling of its right leaf so many times more often than under any other wrong leaf: see docs/audit.md."""


@dataclass(frozen=True)
class Suspicion:
    """A finding before its evidence.

    Attributes:
        row: of the scored products.
        given: the leaf that it has, placeholders included.
        issue: the one that weighs most; also: the others.
        p_wrong: for a placeholder the probability that the first suggestion is right.
        score: what labels are ranked by; that of a placeholder is no higher than any label's.
        suggested: leaves, and the probability that each of them is the right one.
        other: the label that the same product has elsewhere, how many have it, and how many others have this one's.
        priority: what the queue is sorted by.
    """

    row: int
    given: int
    issue: Issue
    also: tuple[Issue, ...]
    p_wrong: float
    score: float
    suggested: tuple[tuple[int, float], ...]
    other: tuple[int, int, int] | None
    priority: float


def find_suspicions(
    scored: ScoredProducts, given_N: NDArray[np.int32], label_N: NDArray[np.int32], says_P: NDArray[np.bool_],
    fitted_label_F: NDArray[np.int32], taxonomy: Taxonomy, tally: Tally, settings: AuditSettings,
) -> list[Suspicion]:  # fmt: skip
    """The findings among some products.

    Args:
        given_N: leaf of each of them; NO_LEAF for those without a path, which have nothing that could be wrong.
        label_N: the same, but NO_LEAF where it is not judged.
        says_P: whether a leaf says anything; placeholders do not.
        fitted_label_F: labels of the products that `nearest` speaks of.
    """
    scores = scored.scores
    has_path_N = given_N != NO_LEAF
    labelled_N = label_N != NO_LEAF
    p_wrong_N = np.nan_to_num(scores.p_wrong_N)
    suspicious_N = labelled_N & ((p_wrong_N >= settings.p_min) | (scores.score_N > tally.score_min))
    below_NK = _below(given_N, scores.best_leaf_NK, taxonomy)
    shallow_N = labelled_N & (np.where(below_NK, scores.best_p_NK, 0).sum(axis=1) >= settings.shallow_p)
    best_p_N = scores.best_p_NK[:, 0] if scores.best_p_NK.shape[1] else np.zeros(len(scored), np.float32)
    placeholder_N = has_path_N & ~says_P[given_N] & (best_p_N >= settings.placeholder_p)
    likeliest_N = np.maximum(best_p_N, scores.given_p_N)
    far_N = (likeliest_N < settings.outlier_p) & (np.nan_to_num(nearest_mean(scored), nan=-1.0) <= tally.far)
    far_N &= ~_agreed(scored, fitted_label_F)
    sparse_N = (scored.words_N < settings.sparse_words) & (likeliest_N < 0.5)
    others = _others(scored, given_N, labelled_N, fitted_label_F, taxonomy, tally, settings)
    candidate_N = suspicious_N | shallow_N | placeholder_N
    candidate_N[list(others)] = True
    found = []
    for row in np.flatnonzero(candidate_N).tolist():
        given, labelled = int(given_N[row]), bool(labelled_N[row])
        given_p = float(scores.given_p_N[row]) if labelled else None
        suggested = _suggested(scores.best_leaf_NK[row], scores.best_p_NK[row], given, given_p, taxonomy)
        issues = _issues(labelled, given, suggested, row in others, bool(shallow_N[row] or below_NK[row, :1].any()), taxonomy)
        doubts = _doubts(bool(sparse_N[row]), bool(far_N[row]))
        # Nobody can say where a product belongs that says nothing, or that is like nothing else: that comes first.
        order = [*issues, *doubts] if not labelled or "conflict" in issues else [*doubts, *issues]
        if not order:
            continue
        p_wrong = float(p_wrong_N[row]) if labelled else float(best_p_N[row])
        likely = tuple((leaf, p_wrong * p) for leaf, p in suggested) if labelled else tuple(suggested)
        score = float(scores.score_N[row]) if labelled and np.isfinite(scores.score_N[row]) else float(tally.score_G[0])
        found.append(Suspicion(row, given, order[0], tuple(order[1:]), p_wrong, score, likely, others.get(row), 0.0))
    return _with_priority(found, scored, tally)


def _below(given_N: NDArray[np.int32], best_leaf_NK: NDArray[np.int32], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Whether each of the best leaves lies below the given one."""
    depth_P = (taxonomy.ancestors_PD >= 0).sum(axis=1)
    node_P = taxonomy.ancestors_PD[np.arange(len(depth_P)), depth_P - 1]
    at_depth_NK = taxonomy.ancestors_PD[best_leaf_NK, (depth_P[given_N] - 1)[:, None]]
    return (
        (best_leaf_NK >= 0) & (given_N != NO_LEAF)[:, None] & (at_depth_NK == node_P[given_N][:, None]) & (best_leaf_NK != given_N[:, None])
    )


def _agreed(scored: ScoredProducts, fitted_label_F: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether more than half of the five nearest products of each have one label."""
    near_NJ = scored.scores.nearest_NJ[:, :NEAREST]
    if not near_NJ.shape[1] or not len(fitted_label_F):
        return np.zeros(len(scored), bool)
    label_NJ = np.sort(np.where(near_NJ >= 0, fitted_label_F[near_NJ], -1 - np.arange(near_NJ.shape[1])), axis=1)
    middle = near_NJ.shape[1] // 2  # what more than half of a sorted row are stands in its middle
    return (label_NJ == label_NJ[:, middle, None]).sum(axis=1) * 2 > near_NJ.shape[1]


def _others(
    scored: ScoredProducts, given_N: NDArray[np.int32], labelled_N: NDArray[np.bool_], fitted_label_F: NDArray[np.int32],
    taxonomy: Taxonomy, tally: Tally, settings: AuditSettings,
) -> dict[int, tuple[int, int, int]]:  # fmt: skip
    """Rows whose product is there under another label, too: at least as often as under its own, and the likelier one."""
    scores = scored.scores
    near_NJ = (scores.nearest_NJ >= 0) & (scores.nearest_cosine_NJ >= settings.same_cosine)
    near_label_NJ = (
        np.where(near_NJ, fitted_label_F[scores.nearest_NJ], NO_LEAF) if len(fitted_label_F) else np.full(near_NJ.shape, NO_LEAF)
    )
    place_N = np.searchsorted(tally.same_title.key_K, scored.title_key_N).clip(max=max(0, len(tally.same_title.key_K) - 1))
    titled_N = tally.same_title.key_K[place_N] == scored.title_key_N if len(tally.same_title.key_K) else np.zeros(len(scored), bool)
    differs_N = (near_NJ & (near_label_NJ != given_N[:, None])).any(axis=1) | titled_N
    others = {}
    for row in np.flatnonzero(labelled_N & differs_N).tolist():
        of_title = tally.same_title.get(int(scored.title_key_N[row])) if titled_N[row] else None
        other = other_label(int(given_N[row]), of_title, near_label_NJ[row][near_NJ[row]].tolist(), taxonomy.paths)
        if other is None or other[1] < other[2]:
            continue
        other_p = float(scores.best_p_NK[row][scores.best_leaf_NK[row] == other[0]].sum())
        if other_p >= float(scores.given_p_N[row]):
            others[row] = other
    return others


def _suggested(
    best_leaf_K: NDArray[np.int32], best_p_K: NDArray[np.float32], given: int, given_p: float | None, taxonomy: Taxonomy
) -> list[tuple[int, float]]:
    """The likeliest leaves but the given one and those above it, which would say less; and how likely each is if the label is wrong.

    A wrong label tells something of the right one, too: that is more often a sibling of it. So siblings weigh more (Bayes' rule).

    Args:
        given_p: pooled probability of the given leaf; None for a placeholder, whose label tells nothing.
    """
    above = {taxonomy.paths[given][:depth] for depth in range(1, len(taxonomy.paths[given]) + 1)}
    pairs = zip(best_leaf_K.tolist(), best_p_K.tolist(), strict=True)
    likely = [(leaf, p) for leaf, p in pairs if leaf >= 0 and p >= LEAST_P and taxonomy.paths[leaf] not in above]
    if given_p is None or not likely:
        return likely[:SUGGESTIONS]
    p_X = np.array([p for _, p in likely])
    sibling_X = taxonomy.relation(np.array([leaf for leaf, _ in likely]), np.array(given)) == SIBLING_LEAF
    weight_X = p_X * np.where(sibling_X, SIBLING_ODDS, 1.0)
    elsewhere = max(1 - given_p - p_X.sum(), 0.0)
    share_X = weight_X / max(weight_X.sum() + elsewhere, 1e-9)
    return [(likely[at][0], float(share_X[at])) for at in np.argsort(-weight_X, kind="stable")[:SUGGESTIONS]]


def _issues(
    labelled: bool, given: int, suggested: list[tuple[int, float]], conflict: bool, shallow: bool, taxonomy: Taxonomy
) -> list[Issue]:
    """What may be wrong with a label, what weighs most first."""
    if not labelled:
        return ["placeholder"] if suggested else []
    issues: list[Issue] = []
    if conflict:
        issues.append("conflict")
    if shallow:
        issues.append("too_shallow")
    elif suggested:
        same_branch = taxonomy.ancestors_PD[suggested[0][0], 0] == taxonomy.ancestors_PD[given, 0]
        issues.append("wrong_leaf" if same_branch else "wrong_branch")
    return issues


def _doubts(sparse: bool, far: bool) -> list[Issue]:
    """Why nobody can say where a product belongs."""
    doubts: list[Issue] = []
    if sparse:
        doubts.append("sparse_text")
    if far:
        doubts.append("outlier")
    return doubts


def _with_priority(found: list[Suspicion], scored: ScoredProducts, tally: Tally) -> list[Suspicion]:
    """P(wrong), a little more where the first suggestion is certain, times what the product is worth where that is known.

    Calibrated probabilities may be equal for many products: the rank by score decides between them.
    """
    rows = np.array([each.row for each in found], np.int64)
    rank_M = tally.rank(scored.scores.score_N[rows]) if len(rows) else np.empty(0)
    worth_M = np.ones(len(rows))
    if np.isfinite(tally.popularity_max) and tally.popularity_max > 0:
        known_M = np.nan_to_num(scored.popularity_N[rows]).clip(min=0)
        worth_M = 0.5 + 0.5 * np.log1p(known_M) / np.log1p(tally.popularity_max)
    with_priority = []
    for each, rank, worth in zip(found, rank_M.tolist(), worth_M.tolist(), strict=True):
        certain = each.suggested[0][1] / each.p_wrong if each.suggested and each.p_wrong else 0.0
        priority = (each.p_wrong + 1e-3 * rank) * (0.8 + 0.2 * min(1.0, certain)) * worth
        with_priority.append(replace(each, priority=priority))
    return with_priority
