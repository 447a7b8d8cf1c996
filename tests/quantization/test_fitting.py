"""Fitting: what it gains, that a resumed run ends in the same codes, and that two workers do as well as one."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe, validate_recipe
from shelfcode.quantization.fitting import Fit, StepReport, Worker, check_size, contrast_possible, fit, learning_rate, start


def changed(recipe: Recipe, **fields) -> Recipe:
    """The recipe with some fields of `quantizer` or `training` set anew."""
    parts = {name: getattr(recipe, name).model_dump() for name in ("quantizer", "training")}
    for field, value in fields.items():
        parts["quantizer" if field in parts["quantizer"] else "training"][field] = value
    return validate_recipe({"name": recipe.name, **parts}, "of a test")


def train(recipe: Recipe, planted, taxonomy: Taxonomy | None = None) -> tuple[Fit, list[StepReport]]:
    state = start(recipe, planted.x_NE, Worker())
    return state, list(fit(recipe, planted.x_NE, taxonomy or planted.taxonomy, state, Worker()))


def codes_of(state: Fit, x_NE: NDArray[np.float32]) -> NDArray[np.int64]:
    return state.model.encode(torch.from_numpy(x_NE)).numpy()


def reconstruction(state: Fit, x_NE: NDArray[np.float32]) -> float:
    with torch.no_grad():
        return state.model(torch.from_numpy(x_NE)).reconstruction.item()


def purity(codes_N: NDArray[np.int64], truth_N: NDArray[np.int64]) -> float:
    """Share of products whose code holds mostly products of the same kind."""
    kept = sum(Counter(truth_N[codes_N == code].tolist()).most_common(1)[0][1] for code in np.unique(codes_N))
    return kept / len(truth_N)


@pytest.fixture(scope="module")
def trained(planted) -> tuple[Fit, list[StepReport], float]:
    """The model, its reports, and the reconstruction error that it started from, after a single round of k-means."""
    fields = {
        "name": "small",
        "quantizer": {
            "codebook_sizes": [8, 16, 32], "hidden_sizes": [64], "latent_size": 16, "codebook_decay": 0.97, "kmeans_iterations": 1,
        },
        "training": {"steps": 150, "warmup_steps": 20, "batch_size": 256},
    }  # fmt: skip
    recipe = validate_recipe(fields, "of a test")
    before = reconstruction(start(recipe, planted.x_NE, Worker()), planted.x_NE)
    return *train(recipe, planted), before


def test_training_improves_on_its_start(planted, trained):
    state, reports, before = trained
    assert reconstruction(state, planted.x_NE) < 0.95 * before
    assert [report.step for report in reports] == list(range(1, 151))
    assert np.isfinite([[report.reconstruction, report.commitment, report.contrastive] for report in reports]).all()
    assert np.mean([report.contrastive for report in reports[-20:]]) < np.mean([report.contrastive for report in reports[:20]])


def test_no_level_collapses(planted, recipe):
    """With a short memory: at the default decay a dead codeword is found out only after some 200 steps."""
    state, _ = train(changed(recipe, codebook_decay=0.9, kmeans_iterations=20, steps=150, warmup_steps=20, seed=0), planted)
    codes_NL = codes_of(state, planted.x_NE)
    for level, size in enumerate((8, 16, 32)):
        assert len(np.unique(codes_NL[:, level])) >= 0.95 * size


def test_prefixes_find_the_planted_tree(planted, trained):
    codes_NL = codes_of(trained[0], planted.x_NE)
    assert purity(codes_NL[:, 0], planted.leaf_N // 9) > 0.9
    assert purity(codes_NL[:, 0] * 16 + codes_NL[:, 1], planted.leaf_N) > 0.6


@pytest.mark.parametrize("stopped_after", [1, 17])
def test_a_resumed_run_ends_in_the_very_same_codes(planted, recipe, stopped_after):
    recipe = changed(recipe, steps=40, restart_below=0.6)  # codewords restart all the time
    whole, reports = train(recipe, planted)
    assert sum(report.restarted for report in reports) > 0
    first = start(recipe, planted.x_NE, Worker())
    before = list(fit(recipe, planted.x_NE, planted.taxonomy, first, Worker(), stop_at=stopped_after))
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    torch.rand(100)  # what a new process has drawn by then is another matter
    second = start(recipe, planted.x_NE, Worker())
    second.load(torch.load(file, map_location="cpu", weights_only=True))
    assert second.step == stopped_after
    after = list(fit(recipe, planted.x_NE, planted.taxonomy, second, Worker()))
    assert before + after == reports
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], tensor)
    np.testing.assert_array_equal(codes_of(second, planted.x_NE), codes_of(whole, planted.x_NE))


def test_a_run_that_is_complete_trains_no_further(planted, recipe):
    state, _ = train(changed(recipe, steps=5), planted)
    assert list(fit(changed(recipe, steps=5), planted.x_NE, planted.taxonomy, state, Worker())) == []


def test_a_run_told_to_stop_at_once_does_no_step(planted, recipe):
    state = start(recipe, planted.x_NE, Worker())
    assert list(fit(recipe, planted.x_NE, planted.taxonomy, state, Worker(), stop_at=0)) == []


def test_same_seed_same_codes_other_seed_others(planted, recipe):
    recipe = changed(recipe, steps=5)
    one, same, other = (codes_of(train(changed(recipe, seed=seed), planted)[0], planted.x_NE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_k_means_sees_a_sample_of_a_large_catalog(planted, recipe):
    state = start(changed(recipe, kmeans_sample=40), planted.x_NE, Worker())
    assert len(np.unique(codes_of(state, planted.x_NE)[:, 0])) == 8


def test_embeddings_may_stay_on_disk(tmp_path, planted, recipe):
    np.save(tmp_path / "x.npy", planted.x_NE)
    recipe, mapped = changed(recipe, steps=3), np.load(tmp_path / "x.npy", mmap_mode="r")
    state = start(recipe, mapped, Worker())
    reports = list(fit(recipe, mapped, planted.taxonomy, state, Worker()))
    assert reports == train(recipe, planted)[1]


def test_a_catalog_of_copies_trains_without_nan(recipe):
    x_NE = np.tile(np.float32([1, 0, 0, 0]), (64, 1))
    recipe = changed(recipe, steps=20)
    state = start(recipe, x_NE, Worker())
    taxonomy = taxonomy_from_paths([["a", "b"], ["c", "d"]] * 32)
    reports = list(fit(recipe, x_NE, taxonomy, state, Worker()))
    assert np.isfinite([report.contrastive for report in reports]).all()
    assert all(tensor.isfinite().all() for tensor in state.model.state_dict().values())
    assert reconstruction(state, x_NE) < 0.1


def test_a_codebook_larger_than_the_catalog_is_refused_with_sizes_that_fit(recipe):
    check_size(recipe, 32)
    with pytest.raises(ShelfcodeError, match=r"codebook of 32 codewords for a catalog of 31 products.*codebook_sizes=\[7, 7, 7\]"):
        check_size(recipe, 31)


def test_the_learning_rate_warms_up_then_falls_to_a_twentieth():
    rate = [learning_rate(step, 2.0, 10, 100) for step in range(100)]
    assert rate[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert rate[10] == pytest.approx(2.0)
    assert rate[10:] == sorted(rate[10:], reverse=True)
    assert rate[55] == pytest.approx(2.0 * 0.525)
    assert rate[99] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("warmup_steps", "steps"), [(0, 1), (0, 5), (5, 5), (9, 5)])
def test_a_short_run_has_a_learning_rate_at_every_step(warmup_steps, steps):
    assert all(0 < learning_rate(step, 1.0, warmup_steps, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize(
    ("paths", "possible"),
    [([["a"], ["a"]], False), ([["a"], None], False), ([None, None], False), ([["a"], ["b"]], True), ([["a", "b"], ["a", "c"]], True)],
)
def test_contrast_needs_two_leaves_with_products(paths, possible):
    assert contrast_possible(taxonomy_from_paths(paths)) is possible


@pytest.mark.parametrize("paths", [["a", "b"], None], ids=["one leaf", "no paths"])
def test_a_catalog_without_a_taxonomy_trains_without_contrast(planted, recipe, paths):
    _, reports = train(changed(recipe, steps=3), planted, taxonomy_from_paths([paths] * len(planted.x_NE)))
    assert [report.contrastive for report in reports] == [0, 0, 0]
    assert all(report.reconstruction > 0 for report in reports)


def test_lambda_zero_is_training_without_the_term(planted, recipe):
    """Against a lambda too small to matter, on the same batches; and one that matters does."""
    off, tiny, on = (changed(recipe, steps=10, contrastive_weight=weight) for weight in (0, 1e-30, 1))
    (state_off, reports), (state_tiny, _), (state_on, _) = (train(recipe, planted) for recipe in (off, tiny, on))
    assert {report.contrastive for report in reports} == {0}
    weights_off, weights_tiny, weights_on = (dict(state.model.named_parameters()) for state in (state_off, state_tiny, state_on))
    assert all(torch.allclose(weight, weights_tiny[name], atol=1e-6) for name, weight in weights_off.items())
    assert not all(torch.allclose(weight, weights_on[name], atol=1e-4) for name, weight in weights_off.items())


def test_contrast_makes_products_of_a_leaf_share_coarse_codewords(planted, recipe):
    """The tree here is not that of the embeddings: only supervision can know it."""
    crosswise = taxonomy_from_paths([[f"d{n % 2}", f"s{n % 4}"] for n in range(len(planted.x_NE))])
    rng = np.random.default_rng(0)
    x_NE = planted.x_NE + 0.12 * rng.standard_normal((4, 32)).astype(np.float32)[crosswise.leaf_of_N]
    x_NE /= np.linalg.norm(x_NE, axis=1, keepdims=True)
    shared = []
    for weight in (0, 1.0):
        state = start(changed(recipe, contrastive_weight=weight), x_NE, Worker())
        list(fit(changed(recipe, contrastive_weight=weight), x_NE, crosswise, state, Worker()))
        shared.append(purity(codes_of(state, x_NE)[:, 0], np.arange(len(x_NE)) % 2))
    assert shared[1] > shared[0] + 0.03


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 128, "workers": 3}, "batch_size 128 has no equal shares for 3 workers; 126 and 129 have"),
        ({"kmeans_sample": 31}, "kmeans_sample 31 is less than the largest codebook, 32"),
        ({"contrastive": {"level_weights": [0, 0, 0, 1]}}, "level_weights are all zero"),
        ({"contrastive": {"level_weights": [1, -1, 1]}}, "level_weights.1"),
    ],
)
def test_settings_that_would_fail_in_the_middle_of_training_are_refused_at_once(recipe, fields, message):
    with pytest.raises(ShelfcodeError, match=message):
        changed(recipe, **fields)


def train_half_of_every_batch(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
    with np.load(folder / "planted.npz") as arrays:
        x_NE = arrays["x_NE"]
        taxonomy = Taxonomy(arrays["leaf_of_N"], (), arrays["ancestors_PD"], arrays["parent_P"])
    worker = Worker(rank, 2)
    state = start(recipe, x_NE, worker)
    if rank == 1:  # as if k-means had ended elsewhere on this worker's processor
        state.model.codebooks.codewords(0).add_(0.5)
        state.model.codebooks.get_buffer("counts_1").mul_(0.01)
    reports = list(fit(recipe, x_NE, taxonomy, state, worker))
    return {
        **state.model.state_dict(), "codes": state.model.encode(torch.from_numpy(x_NE)),
        "contrastive": torch.tensor([report.contrastive for report in reports]),
        "reconstruction": torch.tensor([report.reconstruction for report in reports]),
        "restarted": torch.tensor([report.restarted for report in reports]),
    }  # fmt: skip


def test_two_workers_train_the_model_of_one(in_two_workers, tmp_path, planted, recipe):
    recipe = changed(recipe, steps=40, workers=2)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    tree = planted.taxonomy
    arrays = {"leaf_of_N": tree.leaf_of_N, "ancestors_PD": tree.ancestors_PD, "parent_P": tree.parent_P}
    np.savez(tmp_path / "planted.npz", x_NE=planted.x_NE, **arrays)
    first, second = in_two_workers(train_half_of_every_batch)
    alone, reports = train(recipe, planted)
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, atol=2e-2, rtol=0, msg=name)
    # The contrastive term is that of the whole batch on each; reconstruction is a mean over a worker's own half.
    assert torch.equal(first["contrastive"], second["contrastive"])
    both = (first["reconstruction"] + second["reconstruction"]) / 2
    torch.testing.assert_close(both[:5], torch.tensor([report.reconstruction for report in reports[:5]]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first["contrastive"][:5], torch.tensor([report.contrastive for report in reports[:5]]), atol=1e-3, rtol=1e-3)
    codes_two, codes_one = first["codes"].numpy(), codes_of(alone, planted.x_NE)
    gap = [purity(codes_NL[:, 0] * 16 + codes_NL[:, 1], planted.leaf_N) for codes_NL in (codes_two, codes_one)]
    assert gap[0] > gap[1] - 0.03
    assert both[-5:].mean() < 1.05 * np.mean([report.reconstruction for report in reports[-5:]])
