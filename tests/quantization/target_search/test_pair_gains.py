"""Pairs and their gains: weights by hand, the cosine at which sharing and not sharing are even, and what the taxonomy adds."""

import numpy as np
import pytest
import torch

from shelfcode.catalog.taxonomy import Taxonomy, taxonomy_from_paths
from shelfcode.embedding.neighbours import Neighbours, nearest_neighbours
from shelfcode.quantization.settings import MoveSettings
from shelfcode.quantization.target_search.pair_gains import Pairs, draw_pairs, even_cosine, weighted_gains

CPU = torch.device("cpu")


def pairs_of(cosine_NP: list[list[float]], partner_NP: list[list[int]], relation: int = -1) -> Pairs:
    """Of weight 1, all related in one way."""
    cosine = torch.tensor(cosine_NP)
    return Pairs(torch.tensor(partner_NP), cosine, torch.ones_like(cosine), torch.full_like(cosine, relation, dtype=torch.int8))


@pytest.fixture(scope="module")
def drawn(planted) -> Pairs:
    near = nearest_neighbours(planted.x_NE, 10, CPU, threads=1, seed=0)
    return draw_pairs(planted.x_NE, near, planted.taxonomy, MoveSettings(neighbours=10, random_partners=30), 0, CPU)


def test_cosines_and_relations_are_those_of_the_two_products(planted, drawn):
    partner_NP = drawn.partner_NP.numpy()
    assert partner_NP.shape == (len(planted.x_NE), 40)
    cosine_NP = np.einsum("ne,npe->np", planted.x_NE, planted.x_NE[partner_NP])
    np.testing.assert_allclose(drawn.cosine_NP, cosine_NP, atol=1e-5)
    leaf_N = planted.taxonomy.leaf_of_N
    np.testing.assert_array_equal(drawn.relation_NP, planted.taxonomy.relation(leaf_N[:, None], leaf_N[partner_NP]))


def test_every_bin_of_cosine_has_the_same_weight_in_all(drawn):
    bin_NP = (drawn.cosine_NP / 0.05).long().clamp(0, 19)
    in_all_B = torch.zeros(20).index_add_(0, bin_NP.flatten(), drawn.weight_NP.flatten())
    assert in_all_B[in_all_B > 0].numpy() == pytest.approx(1, rel=1e-3)
    assert (in_all_B > 0).sum() > 15


def test_a_product_that_is_drawn_as_its_own_partner_does_not_count(planted):
    x_NE = planted.x_NE[:3]
    nobody = Neighbours(np.empty((3, 0), np.int64), np.empty((3, 0), np.float32))
    drawn = draw_pairs(x_NE, nobody, planted.taxonomy.of(np.arange(3)), MoveSettings(random_partners=20), 0, CPU)
    own_NP = drawn.partner_NP == torch.arange(3)[:, None]
    assert own_NP.any()
    assert torch.equal(drawn.weight_NP == 0, own_NP)


def test_the_same_seed_draws_the_same_pairs_and_another_seed_others(planted):
    near = nearest_neighbours(planted.x_NE, 5, CPU, threads=1, seed=0)
    one, same, other = (draw_pairs(planted.x_NE, near, planted.taxonomy, MoveSettings(), seed, CPU).partner_NP for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_even_cosine_is_the_border_that_is_wrong_about_the_fewest():
    """In bins of 0.05: up to 0.4 one pair in four shares a code, from 0.6 on three in four do, and between them half of the pairs."""
    cosine_NP = torch.tensor([[0.11, 0.31, 0.51, 0.71, 0.91]]).repeat(4, 1)
    together_NP = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).bool()
    pairs = pairs_of(cosine_NP.tolist(), [[0] * 5] * 4)
    assert 0.35 <= even_cosine(pairs, torch.ones_like(together_NP), together_NP) <= 0.7


@pytest.mark.parametrize(("together", "low", "high"), [(True, -0.01, 0.31), (False, 0.7, 1.01)])
def test_where_all_pairs_are_together_or_none_is_the_even_cosine_lies_outside_of_them(together, low, high):
    pairs = pairs_of([[0.32, 0.68]], [[0, 0]])
    assert low <= even_cosine(pairs, torch.ones(1, 2, dtype=torch.bool), torch.full((1, 2), together)) <= high


def test_gains_by_hand():
    """Cosine less the even one, more for the taxonomy's word, times weight; nothing where the codes above differ."""
    taxonomy = taxonomy_from_paths([["a", "x"], ["a", "x"], ["a", "y"], ["b", "z"], None])
    near = Neighbours(np.array([[1, 2, 3, 4]] * 5), np.float32([[0.9, 0.7, 0.3, 0.5]] * 5))
    pairs = draw_pairs(np.eye(5, dtype=np.float32), near, taxonomy, MoveSettings(random_partners=0), 0, CPU)
    code_N = torch.tensor([0, 0, 0, 1, 1])
    above_NP = torch.ones(5, 4, dtype=torch.bool)
    even = even_cosine(pairs, pairs.weight_NP > 0, pairs.together(code_N))
    first, second, third = (weighted_gains(pairs, level, code_N, above_NP)[0] / pairs.weight_NP[0] for level in range(3))
    plain = np.array([0.9, 0.7, 0.3, 0.5]) - even
    np.testing.assert_allclose(first, plain + np.array([0.2, 0.05, -0.05, 0]), atol=1e-5)
    np.testing.assert_allclose(second, plain + np.array([0.15, -0.15, -0.15, 0]), atol=1e-5)
    np.testing.assert_allclose(third, plain, atol=1e-5)
    above_NP[:, 0] = False
    assert (weighted_gains(pairs, 2, code_N, above_NP)[:, 0] == 0).all()


def test_a_catalog_without_paths_goes_by_similarity_alone(planted, drawn):
    pathless: Taxonomy = taxonomy_from_paths([None] * len(planted.x_NE))
    near = nearest_neighbours(planted.x_NE, 10, CPU, threads=1, seed=0)
    pairs = draw_pairs(planted.x_NE, near, pathless, MoveSettings(neighbours=10, random_partners=30), 0, CPU)
    code_N, everywhere = torch.from_numpy(planted.leaf_N // 9), torch.ones_like(pairs.partner_NP, dtype=torch.bool)
    first, third = (weighted_gains(pairs, level, code_N, everywhere) for level in (0, 2))
    assert torch.equal(first, third)
    assert not torch.equal(weighted_gains(drawn, 0, code_N, everywhere), weighted_gains(drawn, 2, code_N, everywhere))
