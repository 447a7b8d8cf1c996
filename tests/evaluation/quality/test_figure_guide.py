import pytest

from shelfcode.evaluation.quality.evaluate import headline
from shelfcode.evaluation.quality.figure_guide import FIRST_FIGURES, guide_of, judged_figures


def test_every_headline_figure_has_a_guide(evaluation):
    figures = headline(evaluation)
    labels = [guide_of(figure, 3).label for figure in figures]
    assert len(set(labels)) == len(labels) == 13


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        ("similarity_depth_spearman", 0.7, "good"),
        ("similarity_depth_spearman", 0.6, "fair"),
        ("similarity_depth_spearman", 0.2, "poor"),
        ("l1_largest_over_even", 2.0, "good"),
        ("l1_largest_over_even", 5.0, "fair"),
        ("l1_largest_over_even", 30.0, "poor"),
        ("share_at_l1_cosine_90", 0.8, "poor"),
        ("unlike_collision_share", 0.9, None),
        ("share_at_l2_cosine_90", 0.1, None),
        ("share_at_l4_cosine_90", 0.1, None),
        ("purity_l2_leaf", 0.9, None),
        ("spearman_low", 0.9, None),
    ],
)
def test_verdicts(figure, value, verdict):
    assert guide_of(figure, 4).verdict(value) == verdict


def test_an_unknown_figure_has_no_guide():
    with pytest.raises(KeyError, match="beauty"):
        guide_of("beauty", 4)


def test_a_value_is_shown_as_a_reader_wants_it():
    shown = {"distinct_share": 0.8931, "unlike_collision_share": 0.0312, "l1_largest_over_even": 2.352, "ami_l1_top": 0.35569}
    assert [guide_of(figure, 4).text(value) for figure, value in shown.items()] == ["89.3%", "3.1%", "2.4x", "0.356"]


def test_the_first_figures_all_have_a_verdict(evaluation):
    judged = judged_figures(headline(evaluation))
    assert [each.figure for each in judged] == list(FIRST_FIGURES)
    assert all(each.verdict for each in judged)
    assert [(each.name, each.text, each.verdict) for each in judged_figures({"distinct_share": 0.6, "codewords_used_share": 0.1})] == [
        ("Similarity-depth", "not defined", None),
        ("Near-twins together at L1", "not defined", None),
        ("Codewords used", "10.0%", "poor"),
        ("Distinct IDs", "60.0%", "fair"),
    ]
