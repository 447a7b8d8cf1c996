"""Do similar products share long prefixes? Spearman of cosine and shared depth, and agreement per bin of cosine."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from shelfcode.evaluation.quality.pairs import BINS, PairPool
from shelfcode.reporting.figures import Figures
from shelfcode.semantic_id import shared_depth

SIMILAR = 0.9
"""From this cosine on, two products are near-twins whose semantic IDs should begin alike."""

_LEAST_PAIRS = 3
_LEVEL_OF_CONFIDENCE = 0.95


class PairAgreement(Figures):
    """Pairs of the whole pool within a range of cosine.

    Attributes:
        cosine_low, cosine_high: the range, high excluded except for 1; the first bin also takes what is below 0.
        pairs: pairs drawn.
        distinct_pairs: different pairs among them.
        mean_shared_depth: mean number of leading levels that the two products share.
        share_at_level: share of the pairs that agree down to level 1, 2, ...
    """

    cosine_low: float
    cosine_high: float
    pairs: int
    distinct_pairs: int
    mean_shared_depth: float | None
    share_at_level: tuple[float, ...] | None


class SimilarityDepth(Figures):
    """Similarity-depth of a set of semantic IDs.

    Attributes:
        spearman: rank correlation of cosine and shared depth over the stratified pairs, -1 to 1.
        spearman_low, spearman_high: bootstrap 95% interval.
        resamples: bootstrap resamples behind the interval.
        stratified_pairs: pairs behind the correlation.
        bins: the 20 bins of cosine, whole pool.
        similar: the pairs of the whole pool with cosine >= 0.9.
    """

    spearman: float | None
    spearman_low: float | None
    spearman_high: float | None
    resamples: int
    stratified_pairs: int
    bins: tuple[PairAgreement, ...]
    similar: PairAgreement


def similarity_depth(pool: PairPool, codes_NL: NDArray[np.integer], rng: np.random.Generator, resamples: int = 300) -> SimilarityDepth:
    """Compare the cosine of each pair with the number of leading levels that its semantic IDs share.

    Args:
        pool: pairs of positions in codes_NL.
        codes_NL: one codeword index per level, for every product.
        rng: drives the bootstrap alone.
        resamples: bootstrap resamples.
    """
    depth_M = shared_depth(codes_NL[pool.left_M], codes_NL[pool.right_M])
    levels = codes_NL.shape[1]
    bins = tuple(_agreement(pool, depth_M, pool.bin_M == number, number / BINS, (number + 1) / BINS, levels) for number in range(BINS))
    similar = _agreement(pool, depth_M, pool.cosine_M >= SIMILAR, SIMILAR, 1.0, levels)
    cosine_S, depth_S = pool.cosine_M[pool.stratified_S], depth_M[pool.stratified_S]
    reason = _why_undefined(cosine_S, depth_S)
    spearman, interval, undefined = None, None, {}
    if reason is None:
        spearman = float(spearmanr(cosine_S, depth_S).statistic)
        interval = _bootstrap_interval(cosine_S, depth_S, pool.bin_M[pool.stratified_S], pool.distinct_M[pool.stratified_S], rng, resamples)
        if interval is None:
            reason = "too few distinct pairs: many resamples have one cosine or one shared depth only"
            undefined = dict.fromkeys(("spearman_low", "spearman_high"), reason)
    else:
        undefined = dict.fromkeys(("spearman", "spearman_low", "spearman_high"), reason)
    low, high = interval or (None, None)
    return SimilarityDepth(
        spearman=spearman,
        spearman_low=low,
        spearman_high=high,
        resamples=resamples,
        stratified_pairs=len(pool.stratified_S),
        bins=bins,
        similar=similar,
        undefined=undefined,
    )


def weighted_spearman(
    cosine_S: NDArray[np.floating], depth_S: NDArray[np.integer], weights: Iterable[NDArray[np.integer]]
) -> NDArray[np.float64]:
    """Spearman's coefficient of samples in which each pair occurs as often as its weight says, ties at their mid-rank.

    The coefficient is Pearson's correlation of mid-ranks (Kendall, Rank Correlation Methods, 1948). A value that occurs w
    times after c others has mid-rank c + (w + 1) / 2, so that a resample needs one cumulative sum and no sort.

    Args:
        cosine_S, depth_S: of each pair.
        weights: int[S] per sample.

    Returns:
        float64, one per sample; NaN where a sample has only one cosine or one depth.
    """
    _, tie_S = np.unique(cosine_S, return_inverse=True)
    _, level_S = np.unique(depth_S, return_inverse=True)
    coefficients = []
    for weight_S in weights:
        total = weight_S.sum()
        centred = []
        for group_S in (tie_S, level_S):
            count_G = np.bincount(group_S, weights=weight_S)
            centred.append((np.cumsum(count_G) - (count_G - 1) / 2 - (total + 1) / 2)[group_S])
        a_S, b_S = centred
        spread = np.sqrt((weight_S * a_S * a_S).sum() * (weight_S * b_S * b_S).sum())
        coefficients.append((weight_S * a_S * b_S).sum() / spread if spread > 0 else np.nan)
    return np.array(coefficients)


def _bootstrap_interval(
    cosine_S: NDArray[np.floating],
    depth_S: NDArray[np.integer],
    bin_S: NDArray[np.integer],
    distinct_S: NDArray[np.integer],
    rng: np.random.Generator,
    resamples: int,
) -> tuple[float, float] | None:
    """Percentile interval; pairs are resampled within their bins.

    The number of pairs per bin is set by the method, not by chance, so resampling across bins would add a spread that
    drawing again does not have. Distinct pairs are resampled, each with all its draws: otherwise a small catalog,
    whose pairs repeat, would look better known than it is.
    """
    _, first_U, draws_U = np.unique(distinct_S, return_index=True, return_counts=True)
    by_bin = np.argsort(bin_S[first_U], kind="stable")
    first_U, draws_U = first_U[by_bin], draws_U[by_bin]
    _, start_B, inverse_U, size_B = np.unique(bin_S[first_U], return_index=True, return_inverse=True, return_counts=True)
    start_U, size_U = start_B[inverse_U], size_B[inverse_U]

    def resampled() -> Iterator[NDArray[np.integer]]:
        for _ in range(resamples):
            picked_U = start_U + (rng.random(len(start_U)) * size_U).astype(np.int64)
            yield np.bincount(picked_U, minlength=len(start_U)) * draws_U

    coefficient_R = weighted_spearman(cosine_S[first_U], depth_S[first_U], resampled())
    defined = coefficient_R[np.isfinite(coefficient_R)]
    if len(defined) < max(2, resamples // 2) or len(first_U) < _LEAST_PAIRS:
        return None
    tail = (1 - _LEVEL_OF_CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _why_undefined(cosine_S: NDArray[np.floating], depth_S: NDArray[np.integer]) -> str | None:
    if len(cosine_S) < _LEAST_PAIRS:
        return f"only {len(cosine_S)} pairs"
    if depth_S.min() == depth_S.max():
        return f"every pair shares the same depth, {int(depth_S[0])}"
    if cosine_S.min() == cosine_S.max():
        return "every pair has the same cosine"
    return None


def _agreement(
    pool: PairPool, depth_M: NDArray[np.int64], inside_M: NDArray[np.bool_], low: float, high: float, levels: int
) -> PairAgreement:
    depth = depth_M[inside_M]
    empty = not len(depth)
    return PairAgreement(
        cosine_low=low,
        cosine_high=high,
        pairs=len(depth),
        distinct_pairs=len(np.unique(pool.distinct_M[inside_M])),
        mean_shared_depth=None if empty else float(depth.mean()),
        share_at_level=None if empty else tuple(float((depth >= level).mean()) for level in range(1, levels + 1)),
        undefined=dict.fromkeys(("mean_shared_depth", "share_at_level"), "no pair has such a cosine") if empty else {},
    )
