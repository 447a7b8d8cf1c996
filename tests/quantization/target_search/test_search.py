"""Targets: what they are made of, what smoothing, moves, engagement and a parent do to them, and that a sample is a catalog."""

import copy
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import fit, start
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.engagement import Engagement, engagement
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets, unpack_targets

SIZES = (8, 16, 32)


def recipe_with(recipe: Recipe, rounds: list[int] | None = None, sweeps: int | None = None, **changes) -> Recipe:
    """The recipe with other rounds of smoothing, sweeps of moves, and other fields of `quantizer` or `training`."""
    parts = {name: getattr(recipe, name).model_dump() for name in ("quantizer", "training")}
    if rounds is not None:
        parts["quantizer"]["neighbourhood"]["rounds"] = rounds
    if sweeps is not None:
        parts["quantizer"]["moves"]["sweeps"] = sweeps
    for field, value in changes.items():
        parts["quantizer" if field in parts["quantizer"] else "training"][field] = value
    return Recipe.model_validate({"name": recipe.name, **parts})


def targets_of(recipe: Recipe, x_NE: NDArray[np.float32], taxonomy: Taxonomy) -> Targets:
    return find_targets(recipe, x_NE, taxonomy, torch.device("cpu"))


def assert_equal(one: Targets, other: Targets, besides: tuple[str, ...] = ()) -> None:
    assert one.group_K is other.group_K is None
    for name in {field.name for field in fields(Targets)} - {"group_K", *besides}:
        for ours, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def near_duplicates(families: int = 300, members: int = 5) -> tuple[NDArray[np.float32], Taxonomy]:
    """Families of near-duplicates spread evenly over a sphere, so that borders must run somewhere among them; no paths."""
    rng = np.random.default_rng(0)
    x_NE = np.repeat(rng.standard_normal((families, 6)), members, axis=0) + 0.15 * rng.standard_normal((families * members, 6))
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    return x_NE.astype(np.float32), taxonomy_from_paths([None] * len(x_NE))


def families_together(code_N: NDArray[np.uint16], members: int = 5) -> float:
    """Share of families all of whose members have one code."""
    code_FM = code_N.reshape(-1, members)
    return float((code_FM == code_FM[:, :1]).all(axis=1).mean())


def test_they_have_the_shapes_and_types_of_their_docstring(planted, targets):
    assert (targets.codes_ML.dtype, targets.spread_L.dtype) == (np.uint16, np.float32)
    assert targets.codes_ML.shape == (len(planted.x_NE), 3)
    assert [codewords_KD.shape for codewords_KD in targets.codewords] == [(size, 16) for size in SIZES]
    assert [len(np.unique(targets.codes_ML[:, level])) for level in range(3)] == list(SIZES)
    np.testing.assert_allclose(targets.mean_E, planted.x_NE.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(targets.basis_DE @ targets.basis_DE.T, np.eye(16), atol=1e-4)


def test_packing_loses_nothing(targets):
    assert_equal(unpack_targets(targets.pack()), targets)
    assert [codewords_KD.dtype for codewords_KD in unpack_targets(targets.pack()).codewords] == [np.float32] * 3


def test_levels_are_packed_in_their_order(targets):
    many = replace(targets, codewords=targets.codewords[::-1] * 4, spread_L=np.arange(12, dtype=np.float32))
    assert_equal(unpack_targets(many.pack()), many)


def test_the_projection_keeps_what_varies_most(recipe):
    x_NE = np.random.default_rng(0).standard_normal((500, 10)).astype(np.float32) * np.float32([0.1, 5, 0.1, 0.1, 3, *[0.1] * 5])
    found = targets_of(recipe_with(recipe, [0, 0], latent_size=2), x_NE, taxonomy_from_paths([None] * 500))
    assert np.square(found.basis_DE[:, [1, 4]]).sum() > 1.99


def test_without_smoothing_and_moves_codes_are_those_of_the_untrained_model(planted, recipe):
    plain = recipe_with(recipe, [0, 0], sweeps=0)
    found = targets_of(plain, planted.x_NE, planted.taxonomy)
    codes_NL = start(plain, found, Worker()).model.encode(torch.from_numpy(planted.x_NE)).numpy()
    assert (codes_NL == found.codes_ML).all(axis=1).mean() > 0.999
    assert (np.diff(found.spread_L) < 0).all()


def test_the_last_level_sees_the_product_itself_and_its_spread_is_what_stays_unsaid(planted, recipe):
    targets = targets_of(recipe_with(recipe, sweeps=0), planted.x_NE, planted.taxonomy)
    left_ND = (planted.x_NE - targets.mean_E) @ targets.basis_DE.T
    for level in (0, 1):
        left_ND = left_ND - targets.codewords[level][targets.codes_ML[:, level]]
    distance_NK = np.square(left_ND[:, None] - targets.codewords[2]).sum(axis=2)
    assert (distance_NK.argmin(axis=1) == targets.codes_ML[:, 2]).mean() > 0.999
    assert float(targets.spread_L[2]) == pytest.approx(distance_NK.min(axis=1).mean(), rel=1e-4)


def test_codewords_are_the_means_of_what_is_left_over_of_the_products_they_hold(planted, targets):
    left_ND = (planted.x_NE - targets.mean_E) @ targets.basis_DE.T
    for codewords_KD, code_N in zip(targets.codewords[:-1], targets.codes_ML.T, strict=False):
        left_ND = left_ND - codewords_KD[code_N]
    last_N = targets.codes_ML[:, -1]
    for code in np.unique(last_N):
        np.testing.assert_allclose(targets.codewords[-1][code], left_ND[last_N == code].mean(axis=0), atol=1e-4)


def test_moves_part_unlike_products_and_keep_similar_ones_together(planted, recipe):
    still, moved = (targets_of(recipe_with(recipe, sweeps=sweeps), planted.x_NE, planted.taxonomy).codes_ML[:, 0] for sweeps in (0, 50))
    cosine_NN = planted.x_NE @ planted.x_NE.T
    unlike, similar = cosine_NN < 0.5, cosine_NN > 0.8
    together_still, together_moved = (code_N[:, None] == code_N for code_N in (still, moved))
    assert together_moved[unlike].mean() < 0.9 * together_still[unlike].mean()
    assert together_moved[similar].mean() > 0.999


def test_copies_share_a_code_whatever_leaf_each_is_in(planted, recipe):
    x_NE = np.concatenate([planted.x_NE, planted.x_NE[:50]])
    leaf_N = np.concatenate([planted.taxonomy.leaf_of_N, planted.taxonomy.leaf_of_N[50:100]])
    found = targets_of(recipe, x_NE, replace(planted.taxonomy, leaf_of_N=leaf_N))
    np.testing.assert_array_equal(found.codes_ML[:50], found.codes_ML[1600:])


def test_smoothing_keeps_near_duplicates_together(recipe):
    x_NE, taxonomy = near_duplicates()
    plain, smoothed = (targets_of(recipe_with(recipe, rounds, sweeps=0), x_NE, taxonomy) for rounds in ([0, 0], [30, 6]))
    assert families_together(smoothed.codes_ML[:, 0]) > families_together(plain.codes_ML[:, 0]) + 0.1
    assert families_together(smoothed.codes_ML[:, 0]) > 0.85


def test_smoothing_follows_the_taxonomy(recipe):
    """Members of odd and even places lie in departments of their own: what is alike but far in the tree comes apart."""
    x_NE, pathless = near_duplicates()
    tree = taxonomy_from_paths([[f"d{n % 2}"] for n in range(len(x_NE))])
    recipe = recipe_with(recipe, [30, 6], sweeps=0)
    known, unknown = (targets_of(recipe, x_NE, taxonomy).codes_ML[:, 0] for taxonomy in (tree, pathless))
    assert families_together(known) < families_together(unknown)


def test_products_outside_the_sample_are_coded_by_the_model(planted, recipe):
    sampled_M = np.sort(np.random.default_rng(0).choice(len(planted.x_NE), 500, replace=False))
    found = targets_of(recipe, planted.x_NE[sampled_M], planted.taxonomy.of(sampled_M))
    codes_NL = start(recipe, found, Worker()).model.encode(torch.from_numpy(planted.x_NE)).numpy()
    assert (codes_NL.max(axis=0) < SIZES).all()
    left_out = np.setdiff1d(np.arange(len(planted.x_NE)), sampled_M)
    usual = {leaf: np.bincount(found.codes_ML[planted.leaf_N[sampled_M] == leaf, 0]).argmax() for leaf in range(36)}
    assert np.mean([codes_NL[n, 0] == usual[planted.leaf_N[n]] for n in left_out]) > 0.9


def test_the_same_seed_gives_the_same_targets_and_another_seed_others(planted, recipe, targets):
    same, other = (targets_of(recipe_with(recipe, seed=seed), planted.x_NE, planted.taxonomy) for seed in (recipe.training.seed, 99))
    assert_equal(same, targets)
    assert not np.array_equal(other.codes_ML, targets.codes_ML)


def test_embeddings_may_stay_on_disk(tmp_path, planted, recipe, targets):
    np.save(tmp_path / "x.npy", planted.x_NE)
    assert_equal(targets_of(recipe, np.load(tmp_path / "x.npy", mmap_mode="r"), planted.taxonomy), targets)


def test_k_means_sees_a_sample_of_a_large_catalog_and_all_get_codes(planted, recipe):
    found = targets_of(recipe_with(recipe, kmeans_sample=40), planted.x_NE, planted.taxonomy)
    assert found.codes_ML.shape == (len(planted.x_NE), 3)
    assert len(np.unique(found.codes_ML[:, 0])) == 8


def test_a_latent_space_larger_than_the_embedding_works(planted, recipe, targets):
    recipe = recipe_with(recipe, latent_size=40)
    found = targets_of(recipe, planted.x_NE, planted.taxonomy)
    assert found.basis_DE.shape == (40, 32)
    model = start(recipe, found, Worker()).model
    x_NE = torch.from_numpy(planted.x_NE)
    torch.testing.assert_close(model.expansion(model.projection(x_NE)), x_NE, atol=1e-5, rtol=0)
    assert len(model.encode(x_NE).unique(dim=0)) > 40


def test_a_catalog_of_copies_has_finite_targets(recipe):
    x_NE = np.tile(np.float32([1, 0, 0, 0]), (64, 1))
    found = targets_of(recipe, x_NE, taxonomy_from_paths([["a", "b"], ["c", "d"]] * 32))
    assert all(np.isfinite(array).all() for array in (found.mean_E, found.basis_DE, found.spread_L, *found.codewords))
    assert len(np.unique(found.codes_ML, axis=0)) == 1


def baskets_of_departments(leaf_N: NDArray[np.int64], products_M: NDArray[np.int64], baskets: int = 1500) -> Engagement:
    """Baskets of four products: half of them from the first and the third department, half from the second and the fourth."""
    rng, department_M = np.random.default_rng(0), leaf_N[products_M] // 9
    sides = [products_M[department_M % 2 == side] for side in (0, 1)]
    members_B4 = np.stack([rng.choice(sides[basket % 2], 4, replace=False) for basket in range(baskets)])
    return engagement([(np.repeat(np.arange(baskets), 4), members_B4.ravel())])


def test_engagement_gathers_unlike_departments_and_products_without_history_follow_their_kind(planted, recipe):
    recipe = recipe_with(recipe, codebook_sizes=[2, 16, 32], engagement={"kinds": 60})
    known_N = np.random.default_rng(1).random(len(planted.x_NE)) < 0.7
    engaged = baskets_of_departments(planted.leaf_N, np.flatnonzero(known_N))
    found = find_targets(recipe, planted.x_NE, planted.taxonomy, torch.device("cpu"), engaged=engaged)
    plain = targets_of(recipe, planted.x_NE, planted.taxonomy)
    side_N = planted.leaf_N // 9 % 2

    def agreement(targets: Targets, of_N: NDArray[np.bool_]) -> float:
        alike = float((targets.codes_ML[of_N, 0] == side_N[of_N]).mean())
        return max(alike, 1 - alike)

    assert agreement(found, known_N) > 0.9
    assert agreement(found, ~known_N) > 0.9
    assert agreement(plain, known_N) < 0.8
    assert found.codes_ML.shape == plain.codes_ML.shape


def test_without_pairs_or_with_no_weight_engagement_changes_nothing(planted, recipe, targets):
    some = baskets_of_departments(planted.leaf_N, np.arange(1600), baskets=50)
    for engaged, weight in ((engagement([]), 1.0), (some, 0.0)):
        found = find_targets(
            recipe_with(recipe, engagement={"weight": weight}), planted.x_NE, planted.taxonomy, torch.device("cpu"), engaged=engaged
        )
        assert_equal(found, targets)


def test_of_a_parent_engagement_moves_products_one_by_one(planted, recipe, targets, parent):
    """So most of an unchanged catalog keeps its first codeword even where it is now known what is bought together."""
    engaged = baskets_of_departments(planted.leaf_N, np.arange(1600))
    heir = recipe_with(heir_of(recipe, "warm"), engagement={"weight": 0.2}).model_copy(update={"stability": "warm"})
    found = find_targets(heir, planted.x_NE, planted.taxonomy, torch.device("cpu"), parent, engaged=engaged)
    assert (found.codes_ML[:, 0] == targets.codes_ML[:, 0]).mean() > 0.8


def heir_of(recipe: Recipe, stability: str) -> Recipe:
    """The recipe as one that starts from a parent, and with another seed."""
    return recipe_with(recipe, seed=77).model_copy(update={"stability": stability})


@pytest.fixture(scope="module")
def parent(planted, targets) -> RQVAE:
    """Trained: it gives most products their target codes."""
    fields = {"name": "small", "quantizer": {"codebook_sizes": SIZES, "hidden_sizes": [64], "latent_size": 16}}
    recipe = Recipe.model_validate({**fields, "training": {"steps": 200, "batch_size": 256, "cpus_per_worker": 1, "warmup_steps": 10}})
    state = start(recipe, targets, Worker())
    list(fit(recipe, planted.x_NE, planted.taxonomy, targets, state, Worker()))
    return state.model


def followed(planted, recipe: Recipe, parent: RQVAE, stability: str, rows: slice = slice(None)) -> Targets:
    taxonomy = planted.taxonomy.of(np.arange(len(planted.x_NE))[rows])
    return find_targets(heir_of(recipe, stability), planted.x_NE[rows], taxonomy, torch.device("cpu"), parent)


@pytest.mark.parametrize("rows", [slice(None), slice(0, 1200)], ids=["the same catalog", "three in four of its products"])
def test_with_a_parent_the_projection_is_its_own_and_codewords_follow_by_a_step(planted, recipe, targets, parent, rows):
    found = followed(planted, recipe, parent, "warm", rows)
    np.testing.assert_array_equal(found.basis_DE, targets.basis_DE)
    np.testing.assert_array_equal(found.mean_E, targets.mean_E)
    afresh = targets_of(recipe_with(recipe, seed=77), planted.x_NE[rows], planted.taxonomy.of(np.arange(1600)[rows]))
    for level in range(3):
        spread = np.linalg.norm(targets.codewords[level] - targets.codewords[level].mean(axis=0), axis=1).mean()
        moved, other = (np.linalg.norm(each.codewords[level] - targets.codewords[level], axis=1).mean() for each in (found, afresh))
        assert moved < 0.35 * spread
        assert moved < 0.5 * other


def test_products_of_an_unchanged_catalog_mostly_keep_the_codes_of_their_parent(planted, recipe, targets, parent):
    found = followed(planted, recipe, parent, "warm")
    kept_L = (found.codes_ML == targets.codes_ML).mean(axis=0)
    assert kept_L[0] > 0.97
    assert (found.codes_ML == targets.codes_ML).all(axis=1).mean() > 0.75
    afresh = targets_of(recipe_with(recipe, seed=77), planted.x_NE, planted.taxonomy)
    assert (afresh.codes_ML == targets.codes_ML).all(axis=1).mean() < 0.2


def test_frozen_levels_have_the_codewords_and_the_codes_of_the_parent(planted, recipe, targets, parent):
    parent = copy.deepcopy(parent)
    torch.nn.init.normal_(parent.encoder[-1].weight, std=0.05, generator=torch.Generator().manual_seed(0))
    found = followed(planted, recipe, parent, "frozen_coarse", slice(0, 1200))
    codes_ML = parent.encode(torch.from_numpy(planted.x_NE[:1200])).numpy()
    assert (codes_ML[:, 0] != targets.codes_ML[:1200, 0]).any(), "codes that no smoothing of targets could give"
    np.testing.assert_array_equal(found.codes_ML[:, :2], codes_ML[:, :2])
    for level in (0, 1):
        np.testing.assert_array_equal(found.codewords[level], targets.codewords[level])
    assert not np.array_equal(found.codewords[2], targets.codewords[2])


def test_a_parent_is_not_moved_by_what_its_heir_starts_from(planted, recipe, targets, parent):
    followed(planted, recipe, parent, "warm")
    for level, codewords_KD in enumerate(targets.codewords):
        np.testing.assert_array_equal(parent.codebooks.codewords(level), codewords_KD)
