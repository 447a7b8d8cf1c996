"""The coefficient against scipy, the interval against drawing again, and hand-made pools."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from shelfcode.evaluation.quality.pairs import BINS, PairPool, draw_pairs
from shelfcode.evaluation.quality.similarity_depth import similarity_depth, weighted_spearman


def pool_of(pairs, cosines):
    left_M, right_M = np.array(pairs).T
    cosine_M = np.array(cosines, dtype=np.float32)
    bin_M = np.clip((cosine_M * BINS).astype(np.int64), 0, BINS - 1)
    return PairPool(left_M, right_M, cosine_M, bin_M, np.arange(len(left_M)), np.arange(len(left_M)))


def test_weighted_spearman_equals_scipy_on_the_repeated_sample():
    rng = np.random.default_rng(0)
    cosine_S = rng.random(300).round(2).astype(np.float32)
    depth_S = rng.integers(0, 5, 300)
    weight_RS = rng.integers(0, 4, (5, 300))
    weight_RS[0] = 1
    for weight_S, coefficient in zip(weight_RS, weighted_spearman(cosine_S, depth_S, weight_RS), strict=True):
        assert coefficient == pytest.approx(spearmanr(np.repeat(cosine_S, weight_S), np.repeat(depth_S, weight_S)).statistic, abs=1e-12)


def test_weighted_spearman_is_nan_without_spread():
    weight_RS = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]])
    coefficient_R = weighted_spearman(np.array([0.1, 0.2, 0.3]), np.array([1, 1, 2]), weight_RS)
    assert np.isnan(coefficient_R).tolist() == [True, True, True, False]


def test_a_pool_worked_out_by_hand():
    codes_NL = np.array([[1, 1], [1, 1], [1, 2], [2, 1]])
    pool = pool_of([(0, 1), (0, 2), (1, 2), (0, 3), (2, 3)], [0.95, 0.92, 0.6, 0.61, -0.3])  # depths 2 1 1 0 0
    result = similarity_depth(pool, codes_NL, np.random.default_rng(0))
    # Ranks of cosine: 5 4 2 3 1; of depth: 5 3.5 3.5 1.5 1.5. Products of deviations 4 + .5 - .5 + 0 + 3, squares 10 and 9.
    assert result.spearman == pytest.approx(7 / np.sqrt(90))
    assert result.similar.pairs == 2
    assert result.similar.share_at_level == (1.0, 0.5)
    assert result.similar.mean_shared_depth == 1.5
    assert (result.bins[12].pairs, result.bins[12].share_at_level) == (2, (0.5, 0.0))
    assert result.bins[0].pairs == 1
    assert result.bins[3].share_at_level is None
    assert result.bins[3].undefined["share_at_level"] == "no pair has such a cosine"


def test_codes_that_order_all_pairs_rightly_beat_shuffled_ones(clustered):
    pool = draw_pairs(clustered.x_ND, np.random.default_rng(0), anchors=500, neighbours=40, random_pairs=40_000)
    good = similarity_depth(pool, clustered.codes_NL, np.random.default_rng(0), resamples=100)
    bad = similarity_depth(pool, np.random.default_rng(1).permutation(clustered.codes_NL), np.random.default_rng(0), resamples=100)
    assert good.spearman > 0.6
    assert abs(bad.spearman) < 0.05
    assert bad.spearman_low < bad.spearman < bad.spearman_high


def test_the_interval_has_the_width_of_drawing_again(clustered):
    drawn, widths = [], []
    for seed in range(12):
        pool = draw_pairs(clustered.x_ND, np.random.default_rng(seed), anchors=300, neighbours=20, random_pairs=5000, pairs_per_bin=100)
        result = similarity_depth(pool, clustered.codes_NL, np.random.default_rng(seed), resamples=100)
        drawn.append(result.spearman)
        widths.append(result.spearman_high - result.spearman_low)
    assert 0.5 < np.mean(widths) / (2 * 1.96 * np.std(drawn, ddof=1)) < 2


def test_pairs_drawn_often_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    codes_NL = rng.integers(0, 3, (40, 3))
    once = pool_of([(number, number + 1) for number in range(39)], rng.random(39))
    tenfold = PairPool(
        *(np.repeat(column, 10) for column in (once.left_M, once.right_M, once.cosine_M, once.bin_M, once.distinct_M)), np.arange(390)
    )
    narrow, wide = (similarity_depth(pool, codes_NL, np.random.default_rng(0)) for pool in (tenfold, once))
    assert narrow.spearman == pytest.approx(wide.spearman)
    assert (narrow.spearman_low, narrow.spearman_high) == pytest.approx((wide.spearman_low, wide.spearman_high))


@pytest.mark.parametrize(
    ("codes_NL", "cosines", "reason"),
    [
        (np.zeros((4, 2), dtype=int), [0.1, 0.5, 0.9], "every pair shares the same depth, 2"),
        (np.array([[0], [0], [1], [1]]), [0.5, 0.5, 0.5], "every pair has the same cosine"),
        (np.array([[0], [0], [1], [1]]), [0.5, 0.6], "only 2 pairs"),
    ],
)
def test_an_undefined_coefficient_says_why(codes_NL, cosines, reason):
    result = similarity_depth(pool_of([(0, 1), (1, 2), (2, 3)][: len(cosines)], cosines), codes_NL, np.random.default_rng(0))
    assert (result.spearman, result.spearman_low, result.spearman_high) == (None, None, None)
    assert result.undefined == dict.fromkeys(("spearman", "spearman_low", "spearman_high"), reason)
