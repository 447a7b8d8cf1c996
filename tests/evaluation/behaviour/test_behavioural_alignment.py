"""Lift is 1 for codes that know nothing of a relation, however popular their products, and far above 1 for those that do."""

import numpy as np
import pytest

from shelfcode.evaluation.behaviour.behavioural_alignment import RelationLifts, lift_ratio, relation_lifts
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs

PRODUCTS, THEMES = 600, 20


def make_pairs(left, right, group, ordered=True) -> RelationPairs:
    left, right, group = (np.asarray(values, dtype=np.int64) for values in (left, right, group))
    differ = left != right
    group = np.unique(group[differ], return_inverse=True)[1]
    return RelationPairs("swap", ordered, left[differ], right[differ], group, int(differ.sum()), 3, 5)


def theme_baskets(baskets: int, kept: float, rng: np.random.Generator) -> RelationPairs:
    """Baskets of four: each product from the basket's theme with probability `kept`, else from anywhere. Product n has theme n % THEMES."""
    theme_B1 = rng.integers(0, THEMES, (baskets, 1))
    inside_B4 = theme_B1 + THEMES * rng.integers(0, PRODUCTS // THEMES, (baskets, 4))
    basket_B4 = np.where(rng.random((baskets, 4)) < kept, inside_B4, rng.integers(0, PRODUCTS, (baskets, 4)))
    one, other = np.triu_indices(4, 1)
    return make_pairs(basket_B4[:, one].ravel(), basket_B4[:, other].ravel(), np.repeat(np.arange(baskets), 6), ordered=False)


def codes_of(*columns) -> np.ndarray:
    return np.stack(columns, axis=1).astype(np.uint16)


THEME = np.arange(PRODUCTS) % THEMES


def test_figures_of_a_case_counted_by_hand():
    codes_NL = codes_of([0, 0, 1, 1], [0, 1, 0, 0])
    found = relation_lifts(codes_NL, make_pairs([0, 2, 0], [1, 3, 2], [0, 1, 2]))
    first, second = found.depths
    assert (first.depth, first.share, first.chance, first.lift) == (1, pytest.approx(2 / 3), pytest.approx(1 / 5), pytest.approx(10 / 3))
    assert first.undefined == dict.fromkeys(("lift_low", "lift_high"), "fewer than 10 groups")
    assert (second.share, second.chance, second.lift, second.lift_low) == (pytest.approx(1 / 3), 0, None, None)
    assert set(second.undefined) == {"lift", "lift_low", "lift_high"}
    assert second.undefined["lift"] == "chance is 0"
    assert (found.relation, found.ordered, found.pairs, found.groups) == ("swap", True, 3, 3)
    assert (found.unknown_items, found.unknown_rows) == (3, 5)


def test_codes_that_know_nothing_have_lift_1():
    rng = np.random.default_rng(0)
    pairs = theme_baskets(2000, 0.8, rng)
    (depth,) = relation_lifts(codes_of(rng.integers(0, 12, PRODUCTS)), pairs).depths
    assert depth.lift_low < 1 < depth.lift_high
    assert depth.lift_high - depth.lift_low < 0.2


def test_codes_that_know_the_relation_have_a_lift_far_above_1():
    rng = np.random.default_rng(0)
    first, second = relation_lifts(codes_of(THEME // 4, THEME % 4), theme_baskets(2000, 0.8, rng)).depths
    # Two products of a basket are of one theme in 0.8 ** 2 of the pairs and 1 in 20 of the rest, but never the same one of its 30.
    same = 0.64 * 29 / 30 + 0.36 * 29 / 600
    share, chance = same / (same + 0.36 * 570 / 600), 29 / 599
    assert second.share == pytest.approx(share, abs=0.02)
    assert second.lift_low < share / chance < second.lift_high
    assert second.lift_low > 10
    assert first.lift_low > 3


def test_popularity_alone_is_no_alignment():
    """Both ends drawn independently, popular products and a popular prefix far more often: pairs share prefixes, by chance."""
    rng = np.random.default_rng(1)
    weight_N = 1 / (np.arange(PRODUCTS) + 20)
    left, right = rng.choice(PRODUCTS, (2, 40_000), p=weight_N / weight_N.sum())
    codes_NL = codes_of(np.arange(PRODUCTS) * 12 // PRODUCTS, rng.integers(0, 3, PRODUCTS))
    for ordered in (True, False):
        pairs = make_pairs(left, right, left if ordered else np.arange(40_000), ordered)
        depths = relation_lifts(codes_NL, pairs, resamples=100).depths
        assert depths[0].share > 2 / 12
        for depth in depths:
            assert depth.lift == pytest.approx(1, abs=0.05)
            assert depth.lift_low < 1 < depth.lift_high


def test_a_group_whose_pairs_go_together_is_one_witness():
    rng = np.random.default_rng(2)
    left, right = rng.integers(0, PRODUCTS, (2, 300))
    left, right = np.repeat(left, 16), np.repeat(right, 16)
    codes_NL = codes_of(rng.integers(0, 6, PRODUCTS))

    def width(group) -> float:
        (depth,) = relation_lifts(codes_NL, make_pairs(left, right, group)).depths
        return depth.lift_high - depth.lift_low

    assert width(np.arange(4800) // 16) > 2.5 * width(np.arange(4800))


def test_few_pairs_of_long_prefixes_are_not_taken_for_chance():
    """100 groups of twins, each pair with a prefix of its own: strangers never meet, so that chance is 0 and not 1 in 100."""
    pairs = make_pairs(np.arange(100), np.arange(100) + 100, np.arange(100))
    codes_NL = codes_of(np.zeros(200), np.arange(200) % 100)
    _, second = relation_lifts(codes_NL, pairs).depths
    assert (second.share, second.chance, second.lift) == (1, 0, None)


def test_no_pair_together_gives_no_interval():
    codes_NL = codes_of(np.arange(PRODUCTS) % 2)
    pairs = make_pairs(np.arange(0, 200, 2), np.arange(201, 401, 2), np.arange(100))
    mixed = make_pairs([*pairs.left_P, 1], [*pairs.right_P, 3], [*pairs.group_P, 100])
    assert relation_lifts(codes_NL, mixed).depths[0].lift_low is not None
    (depth,) = relation_lifts(codes_of(np.arange(PRODUCTS) % 2, np.zeros(PRODUCTS)), mixed).depths[:1]
    assert depth.share == pytest.approx(1 / 101)
    swapped = make_pairs([*pairs.left_P, *pairs.right_P], [*pairs.right_P, *pairs.left_P], [*pairs.group_P, *(pairs.group_P + 100)])
    (depth,) = relation_lifts(codes_NL, swapped).depths
    assert (depth.share, depth.lift, depth.lift_low) == (0, 0, None)
    assert depth.undefined == dict.fromkeys(("lift_low", "lift_high"), "no pair shares such a prefix")


def test_without_pairs_every_figure_says_so():
    found = relation_lifts(codes_of([0, 1], [0, 1]), make_pairs([], [], []))
    assert (found.pairs, found.groups, len(found.depths)) == (0, 0, 2)
    for depth in found.depths:
        assert depth.undefined == dict.fromkeys(("share", "chance", "lift", "lift_low", "lift_high"), "there are no pairs")
    assert RelationLifts.model_validate_json(found.model_dump_json()) == found


def test_the_same_seed_gives_the_same_figures():
    rng = np.random.default_rng(0)
    pairs, codes_NL = theme_baskets(200, 0.5, rng), codes_of(rng.integers(0, 12, PRODUCTS))
    assert relation_lifts(codes_NL, pairs, seed=1) == relation_lifts(codes_NL, pairs, seed=1)
    assert relation_lifts(codes_NL, pairs, seed=1) != relation_lifts(codes_NL, pairs, seed=2)


def test_the_ratio_favours_codes_that_go_by_baskets():
    rng = np.random.default_rng(0)
    pairs = theme_baskets(1000, 0.6, rng)
    by_theme, by_chance = codes_of(THEME // 4, THEME), codes_of(rng.integers(0, 5, PRODUCTS), rng.integers(0, 20, PRODUCTS))
    found = lift_ratio(by_theme, by_chance, pairs)
    for depth, a, b in zip(found.depths, *(relation_lifts(codes, pairs).depths for codes in (by_theme, by_chance)), strict=True):
        assert (depth.lift_a, depth.lift_b) == (a.lift, b.lift)
        assert depth.ratio == pytest.approx(a.lift / b.lift)
        assert 1 < depth.ratio_low < depth.ratio < depth.ratio_high
    turned = lift_ratio(by_chance, by_theme, pairs)
    assert turned.depths[0].ratio == pytest.approx(1 / found.depths[0].ratio)
    assert turned.depths[0].ratio_high < 1
    assert (found.pairs, found.groups) == (len(pairs.left_P), 1000)


def test_one_resample_serves_both_sides():
    """Codes that differ in few products: what moves one lift moves the other, and the ratio hardly moves."""
    rng = np.random.default_rng(0)
    pairs, codes_NL = theme_baskets(300, 0.5, rng), codes_of(THEME // 4)
    other_NL = codes_NL.copy()
    other_NL[:6] = 4 - other_NL[:6]
    (same,), (near,) = lift_ratio(codes_NL, codes_NL, pairs).depths, lift_ratio(codes_NL, other_NL, pairs).depths
    (alone,) = relation_lifts(codes_NL, pairs).depths
    assert (same.ratio, same.ratio_low, same.ratio_high) == (1, 1, 1)
    assert 0 < near.ratio_high - near.ratio_low < 0.5 * (alone.lift_high - alone.lift_low) / alone.lift


def test_a_ratio_has_the_depths_that_both_have_and_wants_the_same_products():
    rng = np.random.default_rng(0)
    pairs, deep_NL = theme_baskets(100, 0.5, rng), codes_of(THEME // 4, THEME % 4, rng.integers(0, 9, PRODUCTS))
    assert [depth.depth for depth in lift_ratio(deep_NL, deep_NL[:, :2], pairs).depths] == [1, 2]
    with pytest.raises(ValueError, match="600 and 599 codes"):
        lift_ratio(deep_NL, deep_NL[1:], pairs)


def test_a_ratio_that_cannot_be_had_says_why():
    rng = np.random.default_rng(0)
    pairs, alone_NL = theme_baskets(100, 0.5, rng), codes_of(np.arange(PRODUCTS))
    (depth,) = lift_ratio(codes_of(THEME), alone_NL, pairs).depths
    assert (depth.lift_b, depth.ratio, depth.ratio_low) == (None, None, None)
    assert depth.undefined == {"lift_b": "chance is 0", **dict.fromkeys(("ratio", "ratio_low", "ratio_high"), "a lift is undefined")}
    (empty,) = lift_ratio(codes_of(THEME), codes_of(THEME), make_pairs([], [], [])).depths
    assert empty.undefined["ratio"] == "there are no pairs"
    left, right = np.arange(0, 100, 2), np.arange(1, 101, 2)
    never = make_pairs([*left, *right], [*right, *left], np.arange(100))
    (depth,) = lift_ratio(codes_of(np.zeros(PRODUCTS)), codes_of(np.arange(PRODUCTS) % 2), never).depths
    assert (depth.lift_b, depth.ratio) == (0, None)
    assert depth.undefined["ratio"] == "the second lift is 0"
