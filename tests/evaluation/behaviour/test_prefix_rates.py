"""Shares and chances against a count by hand and by brute force, for the pairs as they are and for resamples of their groups."""

import itertools

import numpy as np
import pytest

from shelfcode.evaluation.behaviour.prefix_rates import prefix_rates
from shelfcode.evaluation.behaviour.relation_pairs import RelationPairs


def make_pairs(left, right, group, ordered=True) -> RelationPairs:
    arrays = [np.asarray(values, dtype=np.int64) for values in (left, right, group)]
    return RelationPairs("swap", ordered, *arrays, len(arrays[0]), 0, 0)


def by_brute_force(codes_NL, pairs, depth, copies) -> tuple[float, float]:
    """Share and chance, every group as often as `copies` says, from all pairs of ends."""
    rows = [(int(left), int(right), int(group)) for left, right, group in zip(pairs.left_P, pairs.right_P, pairs.group_P, strict=True)]
    rows = [row for row in rows for _ in range(copies[row[2]])]

    def same(one, other):
        return (codes_NL[one, :depth] == codes_NL[other, :depth]).all()

    left_ends, right_ends = [(row[0], row[2]) for row in rows], [(row[1], row[2]) for row in rows]
    if not pairs.ordered:
        left_ends = right_ends = left_ends + right_ends
    strangers = [
        same(one, other) for (one, g), (other, h) in itertools.product(left_ends, right_ends) if g != h and one != other
    ]  # fmt: skip
    return np.mean([same(left, right) for left, right, _ in rows]), np.mean(strangers)


def test_a_case_counted_by_hand():
    codes_NL = np.array([[0, 0], [0, 1], [1, 0], [1, 0]])
    (rates,) = prefix_rates(make_pairs([0, 2, 0], [1, 3, 2], [0, 1, 2]), [codes_NL], np.random.default_rng(0), resamples=0)
    assert rates.share_SL.tolist() == [pytest.approx([2 / 3, 1 / 3])]
    # Strangers: 0-3, 0-2, 2-1, 0-1, 0-3; only 0-1 begin alike, and none are alike throughout.
    assert rates.chance_SL.tolist() == [pytest.approx([1 / 5, 0])]
    assert rates.lift_SL.tolist() == [pytest.approx([10 / 3, np.inf])]


def test_where_pairs_have_no_order_both_ends_are_pooled():
    codes_NL = np.array([[0], [0], [0], [1]])
    (rates,) = prefix_rates(make_pairs([0, 2], [1, 3], [0, 1], ordered=False), [codes_NL], np.random.default_rng(0), resamples=0)
    # One pair of two shares; of 0 or 1 with 2 or 3, those with 2.
    assert (rates.share_SL[0, 0], rates.chance_SL[0, 0]) == (0.5, 0.5)


@pytest.mark.parametrize("ordered", [True, False])
def test_chance_is_exact_whatever_the_groups(ordered):
    rng = np.random.default_rng(3)
    codes_NL = rng.integers(0, 3, (12, 3))
    left, right = rng.integers(0, 12, 40), rng.integers(0, 12, 40)
    differ = left != right
    pairs = make_pairs(left[differ], right[differ], np.unique(rng.integers(0, 9, 40)[differ], return_inverse=True)[1], ordered)
    groups = int(pairs.group_P.max()) + 1
    (rates,) = prefix_rates(pairs, [codes_NL], np.random.default_rng(5), resamples=4)
    drawn = np.random.default_rng(5)
    samples = [[1] * groups, *([np.bincount(drawn.integers(0, groups, groups), minlength=groups).tolist() for _ in range(4)])]
    for sample, copies in enumerate(samples):
        for depth in (1, 2, 3):
            share, chance = by_brute_force(codes_NL, pairs, depth, copies)
            assert rates.share_SL[sample, depth - 1] == pytest.approx(share)
            assert rates.chance_SL[sample, depth - 1] == pytest.approx(chance)


def test_one_resample_serves_all_codes():
    rng = np.random.default_rng(0)
    codes_NL = rng.integers(0, 4, (50, 2))
    pairs = make_pairs(rng.integers(0, 25, 300), rng.integers(25, 50, 300), np.arange(300) // 6)
    one, same, relabelled = prefix_rates(pairs, [codes_NL, codes_NL, 3 - codes_NL], np.random.default_rng(1), resamples=20)
    assert one.share_SL.std() > 0
    for other in (same, relabelled):
        np.testing.assert_array_equal(one.share_SL, other.share_SL)
        np.testing.assert_allclose(one.chance_SL, other.chance_SL)


def test_many_samples_come_in_chunks_and_are_the_same():
    rng = np.random.default_rng(0)
    codes_NL = rng.integers(0, 4, (50, 2))
    pairs = make_pairs(rng.integers(0, 25, 300), rng.integers(25, 50, 300), np.arange(300) // 6)
    (whole,) = prefix_rates(pairs, [codes_NL], np.random.default_rng(1), resamples=20)
    (chunked,) = prefix_rates(pairs, [codes_NL], np.random.default_rng(1), resamples=20, cells_per_chunk=120)
    assert chunked.share_SL.shape == (21, 2)
    np.testing.assert_allclose(chunked.lift_SL, whole.lift_SL)


def test_ends_of_one_group_alone_leave_chance_undefined():
    (rates,) = prefix_rates(make_pairs([0, 1], [2, 3], [0, 0]), [np.zeros((4, 1), int)], np.random.default_rng(0), resamples=0)
    assert rates.share_SL[0, 0] == 1
    assert np.isnan(rates.chance_SL[0, 0])
