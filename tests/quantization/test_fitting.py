"""Fitting: that the encoder learns its targets, that a resumed run ends in the same codes, and that two workers do as well as one."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.fitting import Fit, StepReport, check_size, contrast_possible, fit, start
from shelfcode.quantization.losses import contrastive_loss, graded_pairs
from shelfcode.quantization.model_file import new_model
from shelfcode.quantization.objectives import NeighbourhoodObjective
from shelfcode.quantization.sampler import build_sampler
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets, unpack_targets
from shelfcode.recipe_file import validate_recipe

LOSSES = ("reconstruction", "quantization", "contrastive")


def changed(recipe: Recipe, **fields) -> Recipe:
    """The recipe with some fields of `quantizer` or `training` set anew."""
    parts = {name: getattr(recipe, name).model_dump() for name in ("quantizer", "training")}
    for field, value in fields.items():
        parts["quantizer" if field in parts["quantizer"] else "training"][field] = value
    return validate_recipe({"name": recipe.name, **parts}, "of a test")


def targets_of(recipe: Recipe, planted) -> Targets:
    return find_targets(recipe, planted.x_NE, planted.taxonomy, torch.device("cpu"))


def train(recipe: Recipe, planted, targets: Targets, taxonomy: Taxonomy | None = None) -> tuple[Fit, list[StepReport]]:
    state = start(recipe, targets, Worker())
    return state, list(fit(recipe, planted.x_NE, taxonomy or planted.taxonomy, targets, state, Worker()))


def codes_of(state: Fit, x_NE: NDArray[np.float32]) -> NDArray[np.int64]:
    return state.model.encode(torch.from_numpy(x_NE)).numpy()


def agreement(state: Fit, x_NE: NDArray[np.float32], targets: Targets) -> list[float]:
    """Share of products whose code is the target's, at each level."""
    return (codes_of(state, x_NE) == targets.codes_ML).mean(axis=0).tolist()


def reconstruction(recipe: Recipe, state: Fit, x_NE: NDArray[np.float32], targets: Targets) -> float:
    x_BE = torch.from_numpy(x_NE)
    with torch.no_grad():
        losses = NeighbourhoodObjective(recipe, state.model, targets)(x_BE, x_BE, torch.from_numpy(targets.codes_ML.astype(np.int64)))
    return losses.reconstruction.item()


def purity(codes_N: NDArray[np.int64], truth_N: NDArray[np.int64]) -> float:
    """Share of products whose code holds mostly products of the same kind."""
    kept = sum(Counter(truth_N[codes_N == code].tolist()).most_common(1)[0][1] for code in np.unique(codes_N))
    return kept / len(truth_N)


def same_weights(one: Fit, other: Fit) -> bool:
    theirs = other.model.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.model.state_dict().items())


@pytest.fixture(scope="module")
def trained(planted) -> tuple[Recipe, Targets, Fit, list[StepReport]]:
    """With more coarse codewords than the small recipe, so that their borders run through shelves."""
    fields = {
        "name": "small",
        "quantizer": {"codebook_sizes": [24, 16, 32], "hidden_sizes": [64], "latent_size": 16},
        "training": {"steps": 150, "warmup_steps": 20, "batch_size": 256, "cpus_per_worker": 1, "anchor_every": 2},
    }
    recipe = validate_recipe(fields, "of a test")
    targets = targets_of(recipe, planted)
    return recipe, targets, *train(recipe, planted, targets)


def test_the_encoder_learns_its_targets(planted, trained):
    recipe, targets, state, reports = trained
    before, after = (agreement(fitted, planted.x_NE, targets) for fitted in (start(recipe, targets, Worker()), state))
    assert after[0] > max(before[0], 0.98)
    assert after[1] > before[1] + 0.2
    assert reports[-1].quantization < 0.5 * reports[0].quantization
    assert [report.step for report in reports] == list(range(1, 151))
    assert np.isfinite([[report.reconstruction, report.quantization, report.contrastive] for report in reports]).all()


def test_the_decoder_learns_what_the_projection_leaves_out(planted, trained):
    recipe, targets, state, _ = trained
    before, after = (reconstruction(recipe, fitted, planted.x_NE, targets) for fitted in (start(recipe, targets, Worker()), state))
    assert after < 0.97 * before


def test_the_objective_by_name_learns_to_reconstruct_through_its_codes(planted, targets, recipe):
    _, reports = train(changed(recipe, objective="rqvae", steps=100), planted, targets)
    first, last = ([getattr(report, name) for report in reports] for name in ("reconstruction", "quantization"))
    assert np.mean(first[-10:]) < 0.96 * np.mean(first[:10])
    assert np.isfinite(last).all()


def test_products_that_training_never_saw_get_the_coarse_code_of_their_shelf(planted, trained):
    recipe, _, _, _ = trained
    some = replace(planted, x_NE=planted.x_NE[:1200], leaf_N=planted.leaf_N[:1200], taxonomy=planted.taxonomy.of(np.arange(1200)))
    targets = targets_of(recipe, some)
    state, _ = train(recipe, some, targets)
    usual = np.array([np.bincount(targets.codes_ML[some.leaf_N == leaf, 0]).argmax() for leaf in range(36)])
    assert (codes_of(state, planted.x_NE[1200:])[:, 0] == usual[planted.leaf_N[1200:]]).mean() > 0.95


def test_no_level_collapses(planted, trained):
    codes_NL = codes_of(trained[2], planted.x_NE)
    for level, size in enumerate((24, 16, 32)):
        assert len(np.unique(codes_NL[:, level])) > 0.9 * size


def test_prefixes_find_the_planted_tree(planted, trained):
    codes_NL = codes_of(trained[2], planted.x_NE)
    assert purity(codes_NL[:, 0], planted.leaf_N // 9) > 0.95
    assert purity(codes_NL[:, 0], planted.leaf_N // 3) > 0.9
    assert purity(codes_NL[:, 0] * 16 + codes_NL[:, 1], planted.leaf_N) > 0.75


def test_training_starts_where_the_targets_say_and_leaves_the_frozen_parts_there(trained):
    recipe, targets, state, _ = trained
    for model in (start(recipe, targets, Worker()).model, state.model):
        np.testing.assert_array_equal(model.projection.weight, targets.basis_DE)
        np.testing.assert_array_equal(model.expansion.bias, targets.mean_E)
        for level, codewords_KD in enumerate(targets.codewords):
            np.testing.assert_array_equal(model.codebooks.codewords(level), codewords_KD)
    x_BE = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    before, after = (fitted.model.latents(x_BE) for fitted in (start(recipe, targets, Worker()), state))
    assert not any(torch.allclose(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("stopped_after", [1, 17])
def test_a_resumed_run_ends_in_the_very_same_codes(planted, targets, recipe, stopped_after):
    recipe = changed(recipe, steps=40)
    whole, reports = train(recipe, planted, targets)
    first = start(recipe, targets, Worker())
    before = list(fit(recipe, planted.x_NE, planted.taxonomy, targets, first, Worker(), stop_at=stopped_after))
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    torch.rand(100)  # what a new process has drawn by then is another matter
    read_again = unpack_targets(targets.pack())
    second = start(recipe, read_again, Worker())
    second.load(torch.load(file, map_location="cpu", weights_only=True))
    assert second.step == stopped_after
    after = list(fit(recipe, planted.x_NE, planted.taxonomy, read_again, second, Worker()))
    assert before + after == reports
    assert same_weights(second, whole)
    np.testing.assert_array_equal(codes_of(second, planted.x_NE), codes_of(whole, planted.x_NE))


def test_a_run_that_is_complete_trains_no_further(planted, targets, recipe):
    state, _ = train(changed(recipe, steps=5), planted, targets)
    assert list(fit(changed(recipe, steps=5), planted.x_NE, planted.taxonomy, targets, state, Worker())) == []


def test_a_run_told_to_stop_at_once_does_no_step(planted, targets, recipe):
    state = start(recipe, targets, Worker())
    assert list(fit(recipe, planted.x_NE, planted.taxonomy, targets, state, Worker(), stop_at=0)) == []


def test_the_seed_decides_weights_and_batches(planted, targets, recipe):
    one, same, other = (train(changed(recipe, steps=5, seed=seed), planted, targets)[0] for seed in (1, 1, 2))
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_embeddings_may_stay_on_disk(tmp_path, planted, targets, recipe):
    np.save(tmp_path / "x.npy", planted.x_NE)
    recipe, mapped = changed(recipe, steps=3), np.load(tmp_path / "x.npy", mmap_mode="r")
    reports = list(fit(recipe, mapped, planted.taxonomy, targets, start(recipe, targets, Worker()), Worker()))
    assert reports == train(recipe, planted, targets)[1]


def test_bfloat16_trains_as_float32_does_but_for_rounding(planted, trained):
    recipe, targets, state, _ = trained
    rough, reports = train(changed(recipe, precision="bfloat16"), planted, targets)
    assert not same_weights(rough, state)
    assert np.isfinite([[report.reconstruction, report.quantization, report.contrastive] for report in reports]).all()
    assert agreement(rough, planted.x_NE, targets)[0] > agreement(state, planted.x_NE, targets)[0] - 0.02
    assert next(rough.model.parameters()).dtype == torch.float32


def test_a_catalog_of_copies_trains_without_nan(recipe):
    x_NE = np.tile(np.float32([1, 0, 0, 0]), (64, 1))
    recipe, taxonomy = changed(recipe, steps=20), taxonomy_from_paths([["a", "b"], ["c", "d"]] * 32)
    targets = find_targets(recipe, x_NE, taxonomy, torch.device("cpu"))
    state = start(recipe, targets, Worker())
    reports = list(fit(recipe, x_NE, taxonomy, targets, state, Worker()))
    assert np.isfinite([[report.quantization, report.contrastive] for report in reports]).all()
    assert all(tensor.isfinite().all() for tensor in state.model.state_dict().values())
    assert reconstruction(recipe, state, x_NE, targets) < 0.1


def test_a_codebook_larger_than_the_catalog_is_refused_with_sizes_that_fit(recipe):
    check_size(recipe, 32)
    with pytest.raises(ShelfcodeError, match=r"codebook of 32 codewords for a catalog of 31 products.*codebook_sizes=\[7, 7, 7\]"):
        check_size(recipe, 31)


@pytest.mark.parametrize("products", [0, 1])
def test_a_catalog_too_small_for_any_codebook_is_refused_with_the_least_number_of_products(recipe, products):
    """Advice on sizes would be refused again: a codebook has two codewords at the least."""
    with pytest.raises(ShelfcodeError, match=f"usable products in the catalog: {products}; .* on 2 at the least") as raised:
        check_size(changed(recipe, codebook_sizes=[2, 2]), products)
    assert "codebook_sizes" not in str(raised.value)


@pytest.mark.parametrize("products", [2, 3, 9])
def test_the_sizes_advised_for_a_small_catalog_are_taken(recipe, products):
    with pytest.raises(ShelfcodeError) as raised:
        check_size(recipe, products)
    check_size(changed(recipe, codebook_sizes=json.loads(str(raised.value).rpartition("=")[2])), products)


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_two_products_or_a_few_texts_are_enough_to_train_on(recipe, distinct):
    recipe = changed(recipe, codebook_sizes=[2, 2], steps=3)
    x_NE = np.eye(4, dtype=np.float32)[np.arange(max(2, 20 * (distinct - 1))) % distinct]
    for paths in ([None] * len(x_NE), [["a"]] * len(x_NE), [[str(row)] for row in range(len(x_NE))]):
        targets = find_targets(recipe, x_NE, taxonomy_from_paths(paths), torch.device("cpu"))
        state = start(recipe, targets, Worker())
        reports = list(fit(recipe, x_NE, taxonomy_from_paths(paths), targets, state, Worker()))
        assert np.isfinite([[report.reconstruction, report.quantization, report.contrastive] for report in reports]).all()
        assert len(np.unique(codes_of(state, x_NE), axis=0)) == min(distinct, len(x_NE))


@pytest.mark.parametrize(
    ("paths", "possible"),
    [([["a"], ["a"]], False), ([["a"], None], False), ([None, None], False), ([["a"], ["b"]], True), ([["a", "b"], ["a", "c"]], True)],
)
def test_contrast_needs_two_leaves_with_products(paths, possible):
    assert contrast_possible(taxonomy_from_paths(paths)) is possible


@pytest.mark.parametrize("paths", [["a", "b"], None], ids=["one leaf", "no paths"])
def test_a_catalog_without_a_taxonomy_trains_without_contrast(planted, targets, recipe, paths):
    _, reports = train(changed(recipe, steps=3), planted, targets, taxonomy_from_paths([paths] * len(planted.x_NE)))
    assert [report.contrastive for report in reports] == [0, 0, 0]
    assert all(report.reconstruction > 0 for report in reports)


def test_lambda_zero_is_training_without_the_term(planted, targets, recipe):
    """Against a lambda too small to matter, on the same batches; and one that matters does."""
    off, tiny, on = (changed(recipe, steps=10, contrastive_weight=weight) for weight in (0, 1e-30, 1))
    (state_off, reports), (state_tiny, _), (state_on, _) = (train(recipe, planted, targets) for recipe in (off, tiny, on))
    assert {report.contrastive for report in reports} == {0}
    weights_off, weights_tiny, weights_on = (dict(state.model.named_parameters()) for state in (state_off, state_tiny, state_on))
    assert all(torch.allclose(weight, weights_tiny[name], atol=1e-6) for name, weight in weights_off.items())
    assert not all(torch.allclose(weight, weights_on[name], atol=1e-4) for name, weight in weights_off.items())


@pytest.mark.parametrize("anchor_every", [1, 5, 128])
def test_contrast_is_that_of_every_nth_product_at_all_levels_but_the_last(planted, targets, recipe, anchor_every):
    contrastive = {"level_weights": [1, 0.5, 4], "same_leaf": 0.9, "sibling_leaf": 0.2, "temperature": 0.3}
    recipe = changed(
        recipe, contrastive=contrastive, anchor_every=anchor_every, contrastive_weight=0.01, batches="hierarchical", input_noise=0
    )
    state, training, tree = start(recipe, targets, Worker()), recipe.training, planted.taxonomy
    torch.nn.init.normal_(state.model.encoder[-1].weight)  # from the first step on, levels differ
    batch_B = build_sampler(tree, training.seed, 128, training.parent_share, training.products_per_slot).batch(0)
    leaf_B, anchors_A = tree.leaf_of_N[batch_B], torch.arange(0, 128, anchor_every)
    places = map(torch.from_numpy, (leaf_B, tree.parent_P[leaf_B], tree.ancestors_PD[leaf_B, 0]))
    z_LBD = torch.stack(state.model.latents(torch.from_numpy(planted.x_NE[batch_B]))[:-1]).detach()
    expected = contrastive_loss(z_LBD, anchors_A, *graded_pairs(*places, anchors_A, 0.9, 0.2), 0.3, [1, 0.5])
    (report,) = fit(recipe, planted.x_NE, tree, targets, state, Worker(), stop_at=1)
    assert report.contrastive == pytest.approx(expected.item(), rel=1e-4)


def test_contrast_makes_products_of_a_leaf_share_coarse_codewords(planted, recipe):
    """The tree here is not that of the embeddings nor of the start: only supervision can know it, where commitment leaves it room."""
    crosswise = taxonomy_from_paths([[f"d{n % 2}", f"s{n % 4}"] for n in range(len(planted.x_NE))])
    rng = np.random.default_rng(0)
    x_NE = planted.x_NE + 0.12 * rng.standard_normal((4, 32)).astype(np.float32)[crosswise.leaf_of_N]
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    recipe = changed(recipe, objective="rqvae", commitment_weight=0.01)
    targets = find_targets(recipe, x_NE, taxonomy_from_paths([None] * len(x_NE)), torch.device("cpu"))
    shared, contrastive = [], []
    for weight in (1e-30, 1.0):
        pulled = changed(recipe, contrastive_weight=weight)
        state = start(pulled, targets, Worker())
        contrastive.append(np.mean([report.contrastive for report in fit(pulled, x_NE, crosswise, targets, state, Worker())][-10:]))
        shared.append(purity(codes_of(state, x_NE)[:, 0], np.arange(len(x_NE)) % 2))
    assert contrastive[1] < contrastive[0] - 0.1
    assert shared[1] > shared[0] + 0.03


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 128, "workers": 3}, "batch_size 128 has no equal shares for 3 workers; 126 and 129 have"),
        ({"kmeans_sample": 31}, "kmeans_sample 31 is less than the largest codebook, 32"),
        ({"contrastive": {"level_weights": [0, 0, 1]}}, "level_weights are all zero"),
        ({"contrastive": {"level_weights": [1, -1, 1]}}, "level_weights.1"),
    ],
)
def test_settings_that_would_fail_in_the_middle_of_training_are_refused_at_once(recipe, fields, message):
    with pytest.raises(ShelfcodeError, match=message):
        changed(recipe, **fields)


def with_stability(recipe: Recipe, stability: str, **fields) -> Recipe:
    return changed(recipe, **fields).model_copy(update={"stability": stability})


@pytest.fixture(scope="module")
def followed(planted, trained) -> dict[str, tuple[Recipe, Targets, Fit]]:
    """The trained model's heirs on the same catalog, under each stability that has them."""
    recipe, _, parent, _ = trained
    found = {}
    for stability in ("warm", "frozen_coarse"):
        heir = with_stability(recipe, stability, steps=40, learning_rate=3e-3, weight_decay=0.1, seed=8)
        targets = find_targets(heir, planted.x_NE, planted.taxonomy, torch.device("cpu"), parent.model)
        state = start(heir, targets, Worker(), parent.model)
        list(fit(heir, planted.x_NE, planted.taxonomy, targets, state, Worker()))
        found[stability] = (heir, targets, state)
    return found


def test_frozen_levels_give_every_product_the_code_that_the_parent_gives_it(planted, trained, followed):
    """Products that neither has seen, too; and the levels below went on learning."""
    parent, heir = trained[2], followed["frozen_coarse"][2]
    strange_NE = np.random.default_rng(5).standard_normal((2000, 32)).astype(np.float32)
    for x_NE in (planted.x_NE, strange_NE / np.linalg.norm(strange_NE, axis=1, keepdims=True)):
        old_NL, new_NL = codes_of(parent, x_NE), codes_of(heir, x_NE)
        np.testing.assert_array_equal(new_NL[:, :2], old_NL[:, :2])
        assert (new_NL[:, 2] != old_NL[:, 2]).mean() > 0.001


def test_weights_that_decide_over_frozen_levels_stay_what_they_are_to_the_bit(followed, trained):
    """Weight decay moves a weight whose gradient is zero."""
    recipe, _, heir = followed["frozen_coarse"]
    frozen = 2 * recipe.quantizer.latent_size
    old, new = trained[2].model.state_dict(), heir.model.state_dict()
    last = len(heir.model.encoder) - 1
    for name in (f"encoder.{last}.weight", f"encoder.{last}.bias"):
        assert torch.equal(new[name][:frozen], old[name][:frozen]), name
    for name in ("projection.weight", "projection.bias", "codebooks.codewords_0", "codebooks.codewords_1", "encoder.0.weight"):
        assert torch.equal(new[name], old[name]), name
    assert not torch.equal(new["decoder.0.weight"], old["decoder.0.weight"])


def test_frozen_weights_are_frozen_in_a_resumed_run_too(planted, trained, followed):
    recipe, targets, whole = followed["frozen_coarse"]
    first = start(recipe, targets, Worker(), trained[2].model)
    list(fit(recipe, planted.x_NE, planted.taxonomy, targets, first, Worker(), stop_at=17))
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = start(recipe, targets, Worker(), trained[2].model)
    second.load(torch.load(file, map_location="cpu", weights_only=True))
    list(fit(recipe, planted.x_NE, planted.taxonomy, targets, second, Worker()))
    assert same_weights(second, whole)


def test_a_level_between_the_frozen_ones_and_the_last_goes_on_learning(planted):
    recipe = validate_recipe(
        {
            "name": "small",
            "quantizer": {"codebook_sizes": [8, 12, 16, 24], "hidden_sizes": [32], "latent_size": 8, "kmeans_iterations": 5},
            "training": {"steps": 20, "batch_size": 128, "cpus_per_worker": 1, "learning_rate": 3e-3, "weight_decay": 0.1},
            "stability": "frozen_coarse",
        },
        "of a test",
    )
    first = targets_of(recipe, planted)
    parent, _ = train(recipe, planted, first)
    moved = replace(planted, x_NE=planted.x_NE[:1200], taxonomy=planted.taxonomy.of(np.arange(1200)))
    targets = find_targets(recipe, moved.x_NE, moved.taxonomy, torch.device("cpu"), parent.model)
    heir = start(recipe, targets, Worker(), parent.model)
    list(fit(recipe, moved.x_NE, moved.taxonomy, targets, heir, Worker()))
    old_NL, new_NL = codes_of(parent, planted.x_NE), codes_of(heir, planted.x_NE)
    np.testing.assert_array_equal(new_NL[:, :2], old_NL[:, :2])
    assert (new_NL[:, 2:] != old_NL[:, 2:]).any(axis=0).all()
    rows = heir.model.encoder[-1].weight
    assert not torch.equal(rows[16:], parent.model.encoder[-1].weight[16:])


def test_a_warm_start_trains_on_from_the_parents_weights(planted, trained, followed):
    recipe, targets, heir = followed["warm"]
    parent = trained[2]
    begun = start(recipe, targets, Worker(), parent.model)
    for name, tensor in begun.model.state_dict().items():
        if not name.startswith("codebooks"):
            torch.testing.assert_close(tensor, parent.model.state_dict()[name], atol=1e-6, rtol=0, msg=name)
    assert not any(
        torch.equal(weights, begun.model.get_parameter(name)) for name, weights in heir.model.encoder.named_parameters("encoder")
    )
    afresh = start(recipe, targets, Worker())
    assert agreement(begun, planted.x_NE, targets)[1] > agreement(afresh, planted.x_NE, targets)[1]
    assert (codes_of(heir, planted.x_NE)[:, 0] == codes_of(parent, planted.x_NE)[:, 0]).mean() > 0.9


def test_a_model_that_is_started_from_stays_what_it_was(planted, trained):
    recipe, _, parent, _ = trained
    before = {name: tensor.clone() for name, tensor in parent.model.state_dict().items()}
    heir = with_stability(recipe, "warm", steps=3)
    targets = find_targets(heir, planted.x_NE, planted.taxonomy, torch.device("cpu"), parent.model)
    list(fit(heir, planted.x_NE, planted.taxonomy, targets, start(heir, targets, Worker(), parent.model), Worker()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in parent.model.state_dict().items())


def test_without_a_parent_every_weight_is_trained(planted, targets, recipe):
    """Whatever the recipe's stability: there is nothing to freeze."""
    state = start(with_stability(recipe, "frozen_coarse", steps=3), targets, Worker())
    before = {name: weights.clone() for name, weights in state.model.named_parameters() if weights.requires_grad}
    assert set(before) == {name for name, _ in state.model.named_parameters() if name.startswith(("encoder", "decoder"))}
    list(fit(changed(recipe, steps=3), planted.x_NE, planted.taxonomy, targets, state, Worker()))
    assert not any(torch.equal(state.model.get_parameter(name), weights) for name, weights in before.items())


def train_half_of_every_batch(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    targets = unpack_targets((folder / "targets.npz").read_bytes())
    with np.load(folder / "planted.npz") as arrays:
        x_NE = arrays["x_NE"]
        taxonomy = Taxonomy(arrays["leaf_of_N"], (), arrays["ancestors_PD"], arrays["parent_P"])
    worker = Worker(rank, 2)
    state = start(recipe, targets, worker)
    reports = list(fit(recipe, x_NE, taxonomy, targets, state, worker))
    losses = {name: torch.tensor([getattr(report, name) for report in reports]) for name in LOSSES}
    return {**state.model.state_dict(), **losses, "codes": state.model.encode(torch.from_numpy(x_NE))}


@pytest.mark.live
@pytest.mark.parametrize("objective", ["neighbourhood", "rqvae"])
def test_two_workers_train_the_model_of_one(in_two_workers, tmp_path, planted, targets, recipe, objective):
    """Codewords that follow the products of a batch follow those of both workers."""
    recipe = changed(recipe, objective=objective, steps=40, workers=2, contrastive_weight=0.5, batches="hierarchical")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    (tmp_path / "targets.npz").write_bytes(targets.pack())
    tree = planted.taxonomy
    arrays = {"leaf_of_N": tree.leaf_of_N, "ancestors_PD": tree.ancestors_PD, "parent_P": tree.parent_P}
    np.savez(tmp_path / "planted.npz", x_NE=planted.x_NE, **arrays)
    first, second = in_two_workers(train_half_of_every_batch)
    alone, reports = train(recipe, planted, targets)
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, atol=2e-3, rtol=0, msg=name)
    # The contrastive term is that of the whole batch on each; the others are means over a worker's own half.
    assert torch.equal(first["contrastive"], second["contrastive"])
    for name in LOSSES:
        expected_S = torch.tensor([getattr(report, name) for report in reports])
        torch.testing.assert_close((first[name] + second[name]) / 2, expected_S, atol=1e-3, rtol=1e-2)
    assert (first["codes"].numpy() == codes_of(alone, planted.x_NE)).all(axis=1).mean() > 0.995


def train_frozen_levels(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    parent = new_model(recipe, 32)
    parent.load_state_dict(torch.load(folder / "parent.pt", weights_only=True))
    with np.load(folder / "planted.npz") as arrays:
        x_NE = arrays["x_NE"]
        taxonomy = Taxonomy(arrays["leaf_of_N"], (), arrays["ancestors_PD"], arrays["parent_P"])
    worker = Worker(rank, 2)
    targets = find_targets(recipe, x_NE, taxonomy, worker.device, parent)
    state = start(recipe, targets, worker, parent)
    list(fit(recipe, x_NE, taxonomy, targets, state, worker))
    return {**state.model.state_dict(), "codes": state.model.encode(torch.from_numpy(x_NE))}


@pytest.mark.live
def test_frozen_levels_stay_frozen_with_two_workers(in_two_workers, tmp_path, planted, trained):
    recipe = with_stability(trained[0], "frozen_coarse", steps=10, workers=2, weight_decay=0.1, learning_rate=3e-3)
    parent = trained[2].model
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    torch.save(parent.state_dict(), tmp_path / "parent.pt")
    tree = planted.taxonomy
    np.savez(tmp_path / "planted.npz", x_NE=planted.x_NE, leaf_of_N=tree.leaf_of_N, ancestors_PD=tree.ancestors_PD, parent_P=tree.parent_P)
    first, second = in_two_workers(train_frozen_levels)
    last = len(parent.encoder) - 1
    frozen = 2 * trained[0].quantizer.latent_size
    for name in (f"encoder.{last}.weight", f"encoder.{last}.bias"):
        assert torch.equal(first[name][:frozen], parent.state_dict()[name][:frozen]), name
        assert not torch.equal(first[name][frozen:], parent.state_dict()[name][frozen:]), name
    for name in ("encoder.0.weight", "codebooks.codewords_1"):
        assert torch.equal(first[name], parent.state_dict()[name]), name
    assert not torch.equal(first["decoder.0.weight"], parent.state_dict()["decoder.0.weight"])
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    np.testing.assert_array_equal(first["codes"][:, :2], codes_of(trained[2], planted.x_NE)[:, :2])


@pytest.mark.parametrize("sizes", [[8, 32], [8, 16, 16, 16, 16, 16, 16, 32]])
def test_two_and_eight_levels_are_trained_and_near_products_share_more_of_them(planted, recipe, sizes):
    recipe = changed(recipe, codebook_sizes=sizes)
    targets = find_targets(recipe, planted.x_NE, planted.taxonomy, torch.device("cpu"))
    state = start(recipe, targets, Worker())
    list(fit(recipe, planted.x_NE, planted.taxonomy, targets, state, Worker()))
    codes_NL = state.model.eval().encode(torch.from_numpy(planted.x_NE)).numpy()
    assert codes_NL.shape == (len(planted.x_NE), len(sizes))
    prefixes_L = [len(np.unique(codes_NL[:, : level + 1], axis=0)) for level in range(len(sizes))]
    assert prefixes_L == sorted(prefixes_L)
    assert prefixes_L[0] <= 8 < prefixes_L[-1]
    cosine_PP = planted.x_NE[:400] @ planted.x_NE[:400].T
    same_leaf_PP = planted.leaf_N[:400, None] == planted.leaf_N[None, :400]
    for level in range(min(3, len(sizes))):
        prefix_PP = (codes_NL[:400, None, : level + 1] == codes_NL[None, :400, : level + 1]).all(axis=2)
        assert cosine_PP[prefix_PP].mean() > cosine_PP.mean() + 0.1
        assert same_leaf_PP[prefix_PP].mean() > 2 * same_leaf_PP.mean()
