import pytest

from shelfcode.evaluation.quality.evaluate import headline
from shelfcode.evaluation.quality.figure_guide import guide_of


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
