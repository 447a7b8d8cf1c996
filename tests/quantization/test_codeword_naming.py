"""Codewords get the numbers under which their products were known, and nothing but the numbers changes."""

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from shelfcode.evaluation.quality.evaluate import Evaluation, evaluate, headline
from shelfcode.quantization.codebook import kmeans, nearest
from shelfcode.quantization.codeword_naming import codeword_names, rename
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.semantic_id import shared_depth

Codes = NDArray[np.int64]
SIZES = (8, 16, 32)


def draw_codes(products: int = 2000, sizes: Sequence[int] = SIZES, seed: int = 0) -> Codes:
    """Codes as quantizers give them: few codewords with many products, many with few, and below each prefix only some codewords."""
    rng = np.random.default_rng(seed)
    codes = [np.minimum(rng.geometric(4 / sizes[0], products) - 1, sizes[0] - 1)]
    for size in sizes[1:]:
        codes.append((7 * codes[-1] + rng.geometric(6 / size, products)) % size)
    return np.stack(codes, axis=1)


def draw_names(sizes: Sequence[int], seed: int = 1) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(size) for size in sizes]


def with_noise(codes_NL: Codes, sizes: Sequence[int], share: float, seed: int = 2) -> Codes:
    """Codes of which this share is drawn anew, each level by itself."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(codes_NL.shape) < share, rng.integers(0, sizes, codes_NL.shape), codes_NL)


def levels_kept(old_NL: Codes, new_NL: Codes, names: Sequence[NDArray[np.int64]]) -> int:
    return int(shared_depth(old_NL, rename(new_NL, names)).sum())


def greedy(old_NL: Codes, new_NL: Codes, sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Level by level from the top, each matched on the products whose levels above are kept."""
    names, reached_N = [], np.ones(len(old_NL), dtype=bool)
    for level, size in enumerate(sizes):
        overlap_KK = np.zeros((size, size))
        np.add.at(overlap_KK, (new_NL[reached_N, level], old_NL[reached_N, level]), 1)
        names.append(linear_sum_assignment(overlap_KK, maximize=True)[1])
        reached_N &= old_NL[:, level] == names[-1][new_NL[:, level]]
    return names


@pytest.mark.parametrize("seed", range(3))
def test_codewords_that_were_only_numbered_anew_get_their_numbers_back(seed: int) -> None:
    old_NL = draw_codes(seed=seed)
    new_NL = rename(old_NL, draw_names(SIZES, seed))
    assert (shared_depth(old_NL, new_NL) == 0).mean() > 0.5
    np.testing.assert_array_equal(rename(new_NL, codeword_names(old_NL, new_NL, SIZES)), old_NL)


@pytest.mark.parametrize("renamed", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_as_many_levels_are_kept_as_in_the_order_there_is_or_by_a_greedy_match(renamed: bool, seed: int) -> None:
    old_NL = draw_codes(seed=seed)
    noisy_NL = with_noise(old_NL, SIZES, 0.1, seed)
    new_NL = rename(noisy_NL, draw_names(SIZES, seed)) if renamed else noisy_NL
    kept = levels_kept(old_NL, new_NL, codeword_names(old_NL, new_NL, SIZES))
    assert kept >= levels_kept(old_NL, new_NL, [np.arange(size) for size in SIZES])
    assert kept >= levels_kept(old_NL, new_NL, greedy(old_NL, new_NL, SIZES))
    assert kept >= shared_depth(old_NL, noisy_NL).sum()


def test_a_first_level_is_named_for_what_lies_below_it_too() -> None:
    """At the first level alone 6 products outweigh 5; but those 5 keep all three levels, and of the 6 no more than 2."""
    old_NL = np.array([[0, 0, 0]] * 5 + [[1, 1, 1], [1, 2, 2], [1, 3, 3]] * 2)
    new_NL = np.array([[0, 0, 0]] * 5 + [[0, 3, 3]] * 6)
    sizes = (2, 4, 4)
    assert greedy(old_NL, new_NL, sizes)[0].tolist() == [1, 0]
    names = codeword_names(old_NL, new_NL, sizes)
    assert names[0].tolist() == [0, 1]
    assert levels_kept(old_NL, new_NL, names) == 15


def test_where_the_order_there_is_leads_astray_the_match_from_the_top_counts() -> None:
    """From the order there is no level can gain alone at 7 levels kept; 10 can be."""
    old_NL = np.array([[1, 1, 1], [0, 2, 0], [2, 2, 2], [1, 2, 2], [2, 2, 2]])
    new_NL = np.array([[2, 1, 0], [1, 0, 1], [1, 2, 2], [2, 1, 0], [0, 0, 2]])
    sizes = (3, 3, 3)
    assert levels_kept(old_NL, new_NL, greedy(old_NL, new_NL, sizes)) > 7
    assert levels_kept(old_NL, new_NL, codeword_names(old_NL, new_NL, sizes)) == 10


def test_no_level_of_a_tiny_quantizer_can_be_named_better_alone() -> None:
    """Against every permutation there is; of all levels together the best is found nearly always, not always."""
    rng = np.random.default_rng(0)
    sizes, orders = (3, 3, 3), [np.array(order) for order in permutations(range(3))]
    best_found, rounds = 0, 25
    for _ in range(rounds):
        old_NL = rng.integers(0, 3, (40, 3))
        new_NL = rename(with_noise(old_NL, sizes, rng.choice([0.1, 0.3, 0.6]), int(rng.integers(99))), draw_names(sizes))
        names = codeword_names(old_NL, new_NL, sizes)
        kept = levels_kept(old_NL, new_NL, names)
        for level, order in product(range(3), orders):
            assert kept >= levels_kept(old_NL, new_NL, [*names[:level], order, *names[level + 1 :]])
        best_found += kept == max(levels_kept(old_NL, new_NL, every) for every in product(orders, repeat=3))
    assert best_found >= 0.9 * rounds


@pytest.mark.parametrize(
    ("old_NL", "new_NL"),
    [
        (np.zeros((9, 3), int), np.zeros((9, 3), int)),  # nearly all codewords are empty
        (np.zeros((9, 3), int), np.full((9, 3), 7)),
        (np.array([[0, 1, 2], [1, 0, 2]]), np.array([[2, 2, 2], [2, 2, 2]])),  # two want one name
        (np.empty((0, 3), int), np.empty((0, 3), int)),
        (np.full((9, 3), -1), np.zeros((9, 3), int)),  # products without an old code
    ],
)
def test_ties_and_empty_codewords_give_a_permutation(old_NL: Codes, new_NL: Codes) -> None:
    for name_K, size in zip(codeword_names(old_NL, new_NL, SIZES), SIZES, strict=True):
        assert sorted(name_K.tolist()) == list(range(size))


def test_codewords_that_nothing_speaks_for_keep_their_order() -> None:
    names = codeword_names(np.array([[3, 5, 7]] * 4), np.array([[3, 5, 2]] * 4), SIZES)
    assert names[0].tolist() == list(range(8))
    assert names[1].tolist() == list(range(16))
    assert names[2].tolist() == [0, 1, 7, 3, 4, 5, 6, 2, *range(8, 32)]


def test_a_codeword_without_a_kept_product_goes_where_its_products_are_under_any_prefix() -> None:
    old_NL = np.array([[0, 0]] * 5 + [[1, 3]] * 2)
    new_NL = np.array([[0, 0]] * 5 + [[0, 2]] * 2)
    assert codeword_names(old_NL, new_NL, (2, 4))[1].tolist() == [0, 1, 3, 2]


def test_a_larger_codebook_keeps_all_old_numbers_and_a_smaller_one_those_it_has() -> None:
    old_NL = draw_codes()
    larger = (12, 20, 32)
    new_NL = rename(old_NL, draw_names(larger))
    names = codeword_names(old_NL, new_NL, larger)
    assert [sorted(name_K.tolist()) for name_K in names] == [list(range(size)) for size in larger]
    np.testing.assert_array_equal(rename(new_NL, names), old_NL)

    smaller = (5, 16, 32)
    folded_NL = old_NL.copy()
    folded_NL[:, 0] %= 5
    new_NL = rename(folded_NL, draw_names(smaller))
    names = codeword_names(old_NL, new_NL, smaller)
    assert [sorted(name_K.tolist()) for name_K in names] == [list(range(size)) for size in smaller]
    fits_N = old_NL[:, 0] < 5
    np.testing.assert_array_equal(rename(new_NL, names)[fits_N], old_NL[fits_N])


@pytest.mark.parametrize(("old_levels", "new_levels"), [(2, 3), (3, 2), (3, 1)])
def test_of_different_numbers_of_levels_those_that_both_have_are_aligned(old_levels: int, new_levels: int) -> None:
    codes_NL, both = draw_codes(), min(old_levels, new_levels)
    sizes = SIZES[:new_levels]
    new_NL = rename(codes_NL[:, :new_levels], draw_names(sizes))
    names = codeword_names(codes_NL[:, :old_levels], new_NL, sizes)
    assert [len(name_K) for name_K in names] == list(sizes)
    np.testing.assert_array_equal(rename(new_NL, names)[:, :both], codes_NL[:, :both])
    for name_K in names[both:]:
        assert name_K.tolist() == list(range(len(name_K)))


def test_the_same_codes_are_aligned_in_the_same_way_whatever_their_type() -> None:
    old_NL = draw_codes()
    new_NL = rename(with_noise(old_NL, SIZES, 0.3), draw_names(SIZES))
    first, second = codeword_names(old_NL, new_NL, SIZES), codeword_names(old_NL.astype(np.uint16), new_NL.astype(np.uint16), SIZES)
    for one_K, other_K in zip(first, second, strict=True):
        np.testing.assert_array_equal(one_K, other_K)


def small_model(dimensions: int) -> RQVAE:
    return RQVAE(dimensions, SIZES, hidden_sizes=[64], latent_size=16)


@pytest.fixture(scope="module")
def model(planted) -> RQVAE:
    """A quantizer of the planted products by residual k-means, whose encoder moves them a little."""
    x_NE = torch.from_numpy(planted.x_NE)
    generator, codewords = torch.Generator().manual_seed(0), []
    mean_E, basis_DE = x_NE.mean(dim=0), torch.linalg.svd(x_NE - x_NE.mean(dim=0))[2][:16]
    residual_ND = (x_NE - mean_E) @ basis_DE.T
    for size in SIZES:
        codewords.append(kmeans(residual_ND, size, 5, 1, generator))
        residual_ND = residual_ND - codewords[-1][nearest(residual_ND, codewords[-1])]
    model = small_model(x_NE.shape[1])
    model.start_at(mean_E, basis_DE, codewords)
    with torch.no_grad():
        model.encoder[-1].weight.normal_(0, 0.02, generator=generator)
    return model.eval()


def renamed_model(model: RQVAE, names: Sequence[NDArray[np.int64]]) -> RQVAE:
    other = small_model(model.projection.in_features)
    other.load_state_dict(model.state_dict())
    for level, name_K in enumerate(names):
        other.codebooks.codewords(level)[torch.from_numpy(name_K)] = model.codebooks.codewords(level)
    return other.eval()


def test_renamed_codebooks_give_the_renamed_codes_and_the_same_distances(model: RQVAE, planted) -> None:
    names = draw_names(SIZES)
    other, x_NE = renamed_model(model, names), torch.from_numpy(planted.x_NE)
    (codes_NL, margin_NL), (other_NL, other_margin_NL) = model.encode_with_margins(x_NE), other.encode_with_margins(x_NE)
    np.testing.assert_array_equal(other_NL.numpy(), rename(codes_NL.numpy(), names))
    torch.testing.assert_close(other_margin_NL, margin_NL)
    assert not torch.equal(other_NL, codes_NL)


def without_names(evaluation: Evaluation) -> dict[str, object]:
    """All figures but the list of single collisions, which are told by their codewords, and in their order where they are equal."""
    written = evaluation.model_dump()
    for named in ("most_products", "least_alike"):
        written["collisions"].pop(named)
    return written


def approximately(value: object) -> object:
    if isinstance(value, dict):
        return {name: approximately(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [approximately(part) for part in value]
    return round(value, 9) if isinstance(value, float) else value


def test_no_figure_of_quality_changes_with_the_names(model: RQVAE, planted) -> None:
    names = draw_names(SIZES)
    codes_NL = model.encode(torch.from_numpy(planted.x_NE)).numpy()
    before = evaluate(planted.x_NE, codes_NL, SIZES, planted.taxonomy)
    after = evaluate(planted.x_NE, rename(codes_NL, names), SIZES, planted.taxonomy)
    assert headline(after) == pytest.approx(headline(before), abs=1e-12)
    assert approximately(without_names(after)) == approximately(without_names(before))
