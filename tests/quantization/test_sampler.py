"""Batches: what they hold, that a step alone decides them, and that no product is seen far more often than another; and the streams of
random numbers, which have nothing in common."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import SAME_LEAF, UNRELATED, Taxonomy, build_taxonomy, taxonomy_from_paths
from shelfcode.quantization.sampler import (
    SAMPLE,
    SETUP,
    HierarchicalSampler,
    UniformSampler,
    build_sampler,
    numpy_stream,
    sample_keys,
    torch_stream,
)

BATCH = 64


def grocery(products: int = 1200, pathless: float = 0.1, seed: int = 0) -> Taxonomy:
    """Five departments of two to four aisles of two to four shelves, of unequal numbers of products, in no order."""
    rng = np.random.default_rng(seed)
    shelves = [
        [f"department {a}", f"aisle {a} {b}", f"shelf {a} {b} {c}"]
        for a in range(5) for b in range(rng.integers(2, 5)) for c in range(rng.integers(2, 5))
    ]  # fmt: skip
    share = rng.random(len(shelves)) + 0.3
    chosen_N = rng.choice(len(shelves), products, p=share / share.sum())
    return taxonomy_from_paths([None if rng.random() < pathless else shelves[shelf] for shelf in chosen_N])


def sampler_of(taxonomy: Taxonomy, seed: int = 0, batch_size: int = BATCH, parent_share: float = 0.5, products_per_slot: int = 4):
    return build_sampler(taxonomy, seed, batch_size, parent_share, products_per_slot)


def seen(taxonomy: Taxonomy, steps: int, **settings) -> np.ndarray:
    """How often each product was drawn, over how often an even draw would have."""
    sampler = sampler_of(taxonomy, **settings)
    drawn = np.concatenate([sampler.batch(step) for step in range(steps)])
    return np.bincount(drawn, minlength=len(taxonomy.leaf_of_N)) / (len(drawn) / len(taxonomy.leaf_of_N))


def test_a_step_and_the_seed_decide_a_batch_and_nothing_else_does():
    taxonomy = grocery()
    forwards, again, other = sampler_of(taxonomy), sampler_of(taxonomy), sampler_of(taxonomy, seed=1)
    batches = [forwards.batch(step) for step in range(8)]
    for step in (7, 0, 3, 3):
        np.testing.assert_array_equal(again.batch(step), batches[step])
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], other.batch(0))


def test_steps_share_no_random_numbers():
    """Batches of neighbouring steps would otherwise repeat each other's draws, shifted."""
    taxonomy = taxonomy_from_paths([["a", str(n % 2)] for n in range(10**5)])
    sampler = sampler_of(taxonomy, batch_size=1000)
    drawn = np.concatenate([sampler.batch(step) for step in range(10)])
    assert len(np.unique(drawn)) > 0.94 * len(drawn)


def test_half_of_a_batch_hangs_below_one_parent_and_the_rest_is_unrelated():
    taxonomy = grocery(pathless=0)
    sampler, parents = sampler_of(taxonomy), set()
    for step in range(50):
        leaf_B = taxonomy.leaf_of_N[sampler.batch(step)]
        parent_B = taxonomy.parent_P[leaf_B]
        assert len(set(parent_B[: BATCH // 2])) == 1
        assert (taxonomy.relation(leaf_B[0], leaf_B[BATCH // 2 :]) == UNRELATED).all()
        parents.add(int(parent_B[0]))
    assert parents == set(taxonomy.parent_P.tolist())


@pytest.mark.parametrize("parent_share", [0.0, 0.25, 1.0])
def test_the_share_below_the_parent_is_the_recipes(parent_share):
    taxonomy = grocery(pathless=0)
    sampler = sampler_of(taxonomy, parent_share=parent_share)
    for step in range(10):
        batch_B = sampler.batch(step)
        assert len(batch_B) == BATCH
        inside = round(BATCH * parent_share)
        assert len(set(taxonomy.parent_P[taxonomy.leaf_of_N[batch_B[:inside]]])) == min(inside, 1)


@pytest.mark.parametrize(("products_per_slot", "batch_size"), [(1, 64), (4, 64), (5, 62), (200, 64)])
def test_the_products_of_a_slot_share_a_leaf(products_per_slot, batch_size):
    taxonomy = grocery(pathless=0)
    sampler = sampler_of(taxonomy, batch_size=batch_size, products_per_slot=products_per_slot)
    half = batch_size // 2
    for step in range(20):
        leaf_B = taxonomy.leaf_of_N[sampler.batch(step)]
        assert len(leaf_B) == batch_size
        for part in (leaf_B[:half], leaf_B[half:]):
            assert all(len(set(part[start : start + products_per_slot])) == 1 for start in range(0, len(part), products_per_slot))
    assert products_per_slot > 1 or len(set(leaf_B[:half])) > 1


def test_a_slot_holds_different_products_of_its_leaf():
    taxonomy = grocery(pathless=0)
    assert len(set(sampler_of(taxonomy, products_per_slot=32).batch(0)[:32])) > 10


@pytest.mark.parametrize("pathless", [0.05, 0.3, 0.8])
def test_products_without_a_path_are_seen_as_often_as_others(pathless):
    taxonomy = grocery(pathless=pathless)
    count_N = seen(taxonomy, steps=1500)
    assert 0.9 < count_N[taxonomy.leaf_of_N == -1].mean() < 1.25
    assert 0.8 < count_N[taxonomy.leaf_of_N != -1].mean() < 1.1


def test_every_product_is_seen_about_equally_often():
    """Not exactly: a department that is larger than others is left out of the unrelated half more often."""
    count_N = seen(grocery(products=400), steps=4000, products_per_slot=2)
    assert 0.7 < count_N.min() <= count_N.max() < 1.4
    assert count_N.std() < 0.15


def test_products_of_one_shelf_are_seen_equally_often():
    taxonomy = grocery(products=400, pathless=0)
    steps = 4000
    count_N = seen(taxonomy, steps) * (steps * BATCH / 400)
    for leaf in range(len(taxonomy.paths)):
        own = count_N[taxonomy.leaf_of_N == leaf]
        assert ((own - own.mean()) ** 2 / own.mean()).sum() < 3 * len(own) + 15


@pytest.mark.parametrize(
    "others", [[["b", "x"]] * 4, [None] * 4, [["b", "x"], None]], ids=["a tiny second department", "no path", "one of each"]
)
def test_a_few_outsiders_do_not_fill_half_of_every_batch(others):
    taxonomy = taxonomy_from_paths([["a", f"{n % 9}"] for n in range(2000)] + others)
    count_N = seen(taxonomy, steps=3000)
    assert 0.2 < count_N[2000:].mean() < 4
    assert count_N[:2000].mean() == pytest.approx(1, abs=0.02)


def test_a_catalog_below_one_top_name_is_drawn_whole():
    taxonomy = taxonomy_from_paths([["a", f"{n % 4}", f"{n % 20}"] for n in range(400)])
    sampler = sampler_of(taxonomy)
    rest = np.concatenate([sampler.batch(step)[BATCH // 2 :] for step in range(300)])
    assert len(set(rest)) == 400


def test_paths_of_uneven_depth_all_get_their_turn():
    """A leaf at the top, one above other leaves, and deep ones: each counts under its own parent, the first under itself."""
    paths = [["a"], ["b"], ["b", "c"], ["b", "c", "d"], ["b", "c", "e"], ["f", "g", "h", "i"]]
    taxonomy = taxonomy_from_paths([paths[n % 6] for n in range(600)])
    sampler, below = sampler_of(taxonomy), set()
    for step in range(200):
        leaf_B = taxonomy.leaf_of_N[sampler.batch(step)]
        top_B = taxonomy.ancestors_PD[leaf_B, 0]
        below.add(frozenset(taxonomy.paths[leaf] for leaf in leaf_B[: BATCH // 2]))
        assert not set(top_B[: BATCH // 2]) & set(top_B[BATCH // 2 : BATCH // 2 + 4])
    a, b, c, d, e, i = (tuple(path) for path in paths)
    assert below == {frozenset({a}), frozenset({b, c}), frozenset({d, e}), frozenset({i})}
    assert seen(taxonomy, 2000).min() > 0.5


@pytest.mark.parametrize(
    "paths", [[["a", "b"]] * 50, [["a"]] * 49 + [None], [None] * 50], ids=["one leaf", "one leaf and no path", "no paths"]
)
def test_a_taxonomy_that_tells_nothing_apart_gives_uniform_batches(paths):
    sampler = sampler_of(taxonomy_from_paths(paths))
    assert isinstance(sampler, UniformSampler)
    np.testing.assert_array_equal(sampler.batch(5), sampler.batch(5))
    assert not np.array_equal(sampler.batch(5), sampler.batch(6))
    assert set(np.concatenate([sampler.batch(step) for step in range(40)])) == set(range(50))


def test_leaves_without_products_are_never_drawn():
    taxonomy = build_taxonomy(np.array([2, 2, 4, 4], dtype=np.int32), [["x"], ["a", "y"], ["a", "b"], ["c"], ["c", "d"]])
    sampler = sampler_of(taxonomy)
    assert isinstance(sampler, HierarchicalSampler)
    leaf_B = taxonomy.leaf_of_N[sampler.batch(0)]
    assert (taxonomy.relation(leaf_B[0], leaf_B[:32]) == SAME_LEAF).all()


def bytes_of(products: int) -> tuple[int, int]:
    """What a sampler of so many products on 2,000 shelves holds, and what building it takes at the height."""
    paths = [(f"d{leaf // 100}", f"a{leaf // 20}", f"s{leaf}") for leaf in range(2000)]
    taxonomy = build_taxonomy(np.random.default_rng(0).integers(-1, 2000, products, dtype=np.int32), paths)
    tracemalloc.start()
    try:
        sampler = sampler_of(taxonomy)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(set(sampler.batch(0).tolist())) > BATCH // 2
    return held, peak


def test_a_product_more_takes_four_bytes_of_memory_and_a_few_more_while_building():
    """So ten million products fit beside the model, in 40 MB."""
    (small, small_peak), (large, large_peak) = bytes_of(200_000), bytes_of(1_000_000)
    assert (large - small) / 800_000 == pytest.approx(4, abs=0.1)
    assert (large_peak - small_peak) / 800_000 < 25


SEEDS_AND_PURPOSES = [(0, SETUP), (0, SAMPLE), (1, SETUP), (1, SAMPLE), (2, SETUP), (1, SETUP, 1), (1, SETUP, 2)]


def test_the_same_seed_and_purpose_give_the_same_stream():
    for numbers in SEEDS_AND_PURPOSES:
        np.testing.assert_array_equal(numpy_stream(*numbers).random(50), numpy_stream(*numbers).random(50))
        assert torch.equal(torch.rand(50, generator=torch_stream(*numbers)), torch.rand(50, generator=torch_stream(*numbers)))


def test_another_seed_or_purpose_gives_another_stream():
    """Also where seed and purpose only change places."""
    drawn = [
        (numpy_stream(*numbers).integers(0, 2**62, 200), torch.randint(2**62, (200,), generator=torch_stream(*numbers)).numpy())
        for numbers in SEEDS_AND_PURPOSES
    ]
    for one, other in combinations(drawn, 2):
        assert all(not np.intersect1d(*pair).size for pair in zip(one, other, strict=True))


def test_a_stream_leaves_torchs_own_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torch.rand(3, generator=torch_stream(0, SETUP))
    assert torch.equal(torch.rand(3), expected)


def keys_of(names: int, seed: int = 0) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**63, names).astype(np.uint64)


def test_a_catalog_that_is_no_larger_than_a_sample_is_taken_as_it_is():
    assert sample_keys(keys_of(50), 50, seed=1).tolist() == list(range(50))


def test_a_sample_of_keys_follows_them_and_not_their_order():
    keys_N = keys_of(2000)
    shuffled = np.random.default_rng(1).permutation(2000)
    sample, again = sample_keys(keys_N, 300, seed=1), sample_keys(keys_N[shuffled], 300, seed=1)
    assert len(sample) == 300
    assert (np.diff(sample) > 0).all()
    assert set(keys_N[sample]) == set(keys_N[shuffled][again])
    assert set(sample) != set(sample_keys(keys_N, 300, seed=2))
    assert 100 < (sample < 1000).sum() < 200, "as many from one half as from the other"


def test_a_catalog_that_has_grown_keeps_most_of_its_sample():
    keys_N = keys_of(2200)
    before, after = (set(keys_N[sample_keys(keys_N[:products], 300, seed=1)]) for products in (2000, 2200))
    assert len(before & after) > 240


def test_neighbouring_keys_and_seeds_give_samples_that_have_nothing_to_do_with_each_other():
    keys_N = np.arange(10_000, dtype=np.uint64)
    one, other = (sample_keys(keys_N, 1000, seed) for seed in (1, 2))
    assert 50 < len(np.intersect1d(one, other)) < 160
    assert 400 < (one < 5000).sum() < 600
