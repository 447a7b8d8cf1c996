import numpy as np
import pytest

from shelfcode.evaluation.quality.codebook_health import codebook_health, gini


def test_figures_worked_out_by_hand():
    codes_NL = np.array([[0, 0], [0, 1], [0, 2], [2, 3]], dtype=np.uint16)
    first, second = codebook_health(codes_NL, (4, 4)).levels
    assert (first.level, first.codebook_size, first.codewords_used, first.used_share) == (1, 4, 2, 0.5)
    assert (first.largest_share, first.largest_over_even) == (0.75, 3.0)
    assert first.perplexity == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))
    assert (second.codewords_used, second.perplexity, second.largest_over_even) == (4, pytest.approx(4), 1.0)


def test_collapsed_codes_show_on_every_figure():
    health = codebook_health(np.full((50, 2), 7, dtype=np.uint16), (16, 8))
    for level, size in zip(health.levels, (16, 8), strict=True):
        assert (level.codewords_used, level.perplexity, level.largest_share, level.largest_over_even) == (1, 1.0, 1.0, size)
    assert health.first_level.gini == pytest.approx(15 / 16)
    assert health.first_level.top_shares[:2] == (1.0, 0.0)


def test_gini_is_the_mean_difference_over_twice_the_mean():
    count_K = np.random.default_rng(0).integers(0, 100, 37)
    expected = np.abs(count_K[:, None] - count_K[None, :]).mean() / (2 * count_K.mean())
    assert gini(count_K) == pytest.approx(expected)
    assert gini(np.array([5, 5, 5])) == 0


def test_top_shares_fall_and_stop_at_the_codebook():
    shares = codebook_health(np.array([[0], [1], [1], [2]]), (3,)).first_level.top_shares
    assert shares == (0.5, 0.25, 0.25)
