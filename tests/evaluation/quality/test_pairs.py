"""Neighbours against brute force, and what the pool and its stratified sample promise."""

import numpy as np
import pytest

from shelfcode.evaluation.quality.pairs import BINS, draw_pairs


def unit_rows(rng, count, dimensions=16):
    x_ND = rng.standard_normal((count, dimensions)).astype(np.float32)
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def test_the_pool_holds_what_it_says(clustered):
    pool = draw_pairs(clustered.x_ND, np.random.default_rng(0), anchors=50, neighbours=10, random_pairs=5000, pairs_per_bin=100)
    assert (pool.left_M != pool.right_M).all()
    assert 50 * 10 + 4900 < len(pool.left_M) <= 50 * 10 + 5000
    assert len(np.unique(pool.left_M[:500])) == 50
    cosine_M = (clustered.x_ND[pool.left_M] * clustered.x_ND[pool.right_M]).sum(axis=1)
    np.testing.assert_allclose(pool.cosine_M, cosine_M, atol=1e-5)
    low_M = pool.bin_M / BINS
    inside_M = (pool.cosine_M >= low_M - 1e-6) & (pool.cosine_M <= low_M + 1 / BINS + 1e-6)
    assert (inside_M | ((pool.cosine_M < 0) & (pool.bin_M == 0))).all()


def test_the_neighbours_of_an_anchor_with_many_copies_are_other_vectors(clustered):
    """Copies have one ID under any model: pairs of them would only say that they do."""
    x_ND = np.concatenate([clustered.x_ND[:60], np.repeat(clustered.x_ND[:1], 200, axis=0)])
    pool = draw_pairs(x_ND, np.random.default_rng(0), neighbours=10, random_pairs=0)
    assert len(pool.left_M) == len(x_ND) * 10
    assert pool.cosine_M.max() < 0.9999
    alone = draw_pairs(clustered.x_ND[:60], np.random.default_rng(0), neighbours=10, random_pairs=0)
    np.testing.assert_array_equal(pool.right_M[: len(alone.right_M)], alone.right_M)


def test_the_stratified_sample_takes_the_same_number_a_bin_where_there_are_enough(clustered):
    pool = draw_pairs(clustered.x_ND, np.random.default_rng(0), anchors=200, neighbours=20, random_pairs=20_000, pairs_per_bin=150)
    in_pool, in_sample = (np.bincount(part, minlength=BINS) for part in (pool.bin_M, pool.bin_M[pool.stratified_S]))
    np.testing.assert_array_equal(in_sample, np.minimum(in_pool, 150))
    assert (in_sample == 150).sum() > 10
    assert len(np.unique(pool.stratified_S)) == len(pool.stratified_S)


def test_distinct_numbers_ignore_the_order_of_the_two(clustered):
    pool = draw_pairs(clustered.x_ND[:30], np.random.default_rng(0))
    unordered = {number: frozenset(pair) for number, *pair in zip(pool.distinct_M, pool.left_M, pool.right_M, strict=True)}
    assert len(set(unordered.values())) == len(unordered) == 30 * 29 // 2
    assert all(unordered[n] == {a, b} for n, a, b in zip(pool.distinct_M[:900], pool.left_M[:900], pool.right_M[:900], strict=True))


def test_same_seed_same_pairs_other_seed_others(clustered):
    one, same, other = (draw_pairs(clustered.x_ND, np.random.default_rng(seed), anchors=100) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.left_M, same.left_M)
    np.testing.assert_array_equal(one.stratified_S, same.stratified_S)
    assert not np.array_equal(one.left_M[:1000], other.left_M[:1000])


def test_two_products_make_one_distinct_pair():
    pool = draw_pairs(np.eye(2, dtype=np.float32), np.random.default_rng(0))
    assert set(pool.distinct_M.tolist()) == {0}


@pytest.mark.parametrize(
    ("x_ND", "message"),
    [
        (np.ones((1, 4), dtype=np.float32) / 2, "two products or more"),
        (np.ones((5, 4), dtype=np.float32), "unit norm; 5 of 5"),
        (np.full((5, 4), np.nan, dtype=np.float32), "unit norm"),
    ],
)
def test_unfit_embeddings_are_refused(x_ND, message):
    with pytest.raises(ValueError, match=message):
        draw_pairs(x_ND, np.random.default_rng(0))


def test_a_row_that_is_not_finite_is_found_beyond_the_anchors():
    x_ND = unit_rows(np.random.default_rng(0), 400)
    x_ND[7] = np.nan
    rng = np.random.default_rng(0)
    assert 7 not in np.random.default_rng(0).choice(400, 3, replace=False)
    with pytest.raises(ValueError, match="not finite"):
        draw_pairs(x_ND, rng, anchors=3, neighbours=3)
