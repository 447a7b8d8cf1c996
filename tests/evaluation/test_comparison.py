import numpy as np
import pytest

from shelfcode.evaluation.comparison import compare, comparison_html
from shelfcode.evaluation.evaluate import evaluate, headline

NAMES = ("precision@v0001", "discovery@v0002")


@pytest.fixture(scope="module")
def good(clustered):
    return evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy)


@pytest.fixture(scope="module")
def bad(clustered):
    shuffled = np.random.default_rng(0).permutation(clustered.codes_NL)
    shuffled[:1000, 0] = 0
    return evaluate(clustered.x_ND, shuffled, clustered.sizes, clustered.taxonomy)


def test_the_better_one_is_named_whichever_way_round(good, bad):
    rows = {row.figure: row for row in compare(good, bad, NAMES)}
    swapped = {row.figure: row for row in compare(bad, good, NAMES)}
    assert list(rows) == list(headline(good))
    for figure in ("similarity_depth_spearman", "share_at_l1_cosine_90", "ami_l1_top", "l1_largest_over_even"):
        assert rows[figure].better == NAMES[0]
        assert swapped[figure].better == NAMES[1]
        assert rows[figure].difference == pytest.approx(headline(bad)[figure] - headline(good)[figure])
    assert rows["l1_largest_over_even"].difference > 0
    assert rows["spearman_low"].better is None


def test_equal_and_overlapping_figures_have_no_winner(clustered, good):
    other_seed = evaluate(clustered.x_ND, clustered.codes_NL, clustered.sizes, clustered.taxonomy, seed=1)
    rows = {row.figure: row for row in compare(good, other_seed, NAMES)}
    assert rows["similarity_depth_spearman"].difference != 0
    assert rows["similarity_depth_spearman"].better is None
    assert rows["distinct_share"].better is None


def test_a_figure_that_one_lacks_has_no_difference(clustered, good):
    shallow = evaluate(clustered.x_ND, clustered.codes_NL[:, :1], clustered.sizes[:1], None)
    for rows in (compare(good, shallow, NAMES), compare(shallow, good, NAMES)):
        assert [row.figure for row in rows] == list(headline(good))
        third = next(row for row in rows if row.figure == "share_at_l3_cosine_90")
        assert (third.a is None) != (third.b is None)
        assert (third.difference, third.better) == (None, None)


def test_the_page_has_both_curves_and_escapes_names(good, bad):
    html = comparison_html(good, bad, ("<b>a</b>", "b & c"), title="<script>alert(1)</script>")
    assert len(html) < 60_000
    assert html.count("<polyline") == 2
    assert html.count("<circle") == sum(part.pairs > 0 for each in (good, bad) for part in each.similarity_depth.bins)
    assert "<script" not in html
    assert "<b>a" not in html
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "src=" not in html


def test_an_undefined_figure_shows_as_such(clustered, good):
    collapsed = evaluate(clustered.x_ND, np.zeros_like(clustered.codes_NL), clustered.sizes, None)
    assert "not defined" in comparison_html(good, collapsed, NAMES)
