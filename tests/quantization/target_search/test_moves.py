"""Moves: scores by hand, a search that finds planted groups, and prices that hold a product back."""

import pytest
import torch

from shelfcode.quantization.target_search.moves import Moves, drawn_together, means, move


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_pairs(products: int) -> torch.Tensor:
    return torch.arange(products).repeat(products, 1)


def planted_gains(group_N: torch.Tensor) -> torch.Tensor:
    """1 within a group, -1 between groups, 0 with oneself."""
    gain_NN = torch.where(group_N[:, None] == group_N, 1.0, -1.0)
    return gain_NN.fill_diagonal_(0)


def moved(code_N, gain_NP, moves, residual_ND=None, clusters=4, seed=0) -> torch.Tensor:
    residual_ND = torch.zeros(len(code_N), 2) if residual_ND is None else residual_ND
    codewords_KD = means(residual_ND, code_N, torch.zeros(clusters, residual_ND.shape[1]))
    return move(code_N, codewords_KD, all_pairs(len(code_N)), gain_NP, residual_ND, moves, seeded(seed))


@pytest.mark.parametrize("seed", range(3))
def test_products_find_the_groups_that_their_pairs_plant(seed):
    group_N = torch.arange(200) % 4
    start_N = torch.where(torch.rand(200, generator=seeded(seed)) < 0.4, torch.randint(4, (200,), generator=seeded(seed)), group_N)
    found_N = moved(start_N, planted_gains(group_N), Moves(50), seed=seed)
    assert torch.equal(found_N, group_N)


def test_no_sweep_moves_nothing_and_the_start_is_left_alone():
    start_N = torch.randint(4, (50,), generator=seeded())
    before_N = start_N.clone()
    assert torch.equal(moved(start_N, planted_gains(torch.arange(50) % 4), Moves(0)), start_N)
    moved(start_N, planted_gains(torch.arange(50) % 4), Moves(5))
    assert torch.equal(start_N, before_N)


def test_a_product_goes_where_its_partners_gain_most():
    """Product 0 gains 0.3 with products 1 and 2 of codeword 1, and 0.5 with product 3 of codeword 2; the others gain nothing by moving."""
    gain_NP = torch.zeros(4, 4)
    gain_NP[0] = torch.tensor([0, 0.3, 0.3, 0.5])
    start_N = torch.tensor([0, 1, 1, 2])
    assert moved(start_N, gain_NP, Moves(20)).tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize(("size_weight", "chosen"), [(0.1, 2), (-0.1, 1)])
def test_of_two_codewords_that_gain_alike_the_smaller_is_chosen(size_weight, chosen):
    start_N = torch.tensor([0] + [1] * 10 + [2] * 3)
    gain_NP = torch.zeros(14, 14)
    gain_NP[0, [1, 11]] = 1
    gain_NP[range(1, 14), range(1, 14)] = 1  # the others stay where they are
    assert moved(start_N, gain_NP, Moves(20, size_weight=size_weight), clusters=3)[0] == chosen


def test_distance_holds_a_product_back_as_far_as_it_weighs():
    """Product 0 lies with codeword 0, and its one partner at codeword 1."""
    residual_ND = torch.tensor([[0.0, 0], [0.1, 0], [5, 0], [5.1, 0]])
    gain_NP, start_N = torch.zeros(4, 4), torch.tensor([0, 0, 1, 1])
    gain_NP[0, 2] = 1
    near, far = (moved(start_N, gain_NP, Moves(20, distance_weight=weight), residual_ND, clusters=2) for weight in (100.0, 1e-6))
    assert near.tolist() == [0, 0, 1, 1]
    assert far.tolist() == [1, 0, 1, 1]


def test_scores_in_parts_are_those_of_the_whole(monkeypatch):
    group_N, start_N = torch.arange(60) % 4, torch.randint(4, (60,), generator=seeded())
    whole_N = moved(start_N, planted_gains(group_N), Moves(3))
    monkeypatch.setattr("shelfcode.quantization.target_search.moves.SCORES_AT_ONCE", 28)
    assert torch.equal(moved(start_N, planted_gains(group_N), Moves(3)), whole_N)


def test_a_codeword_without_products_keeps_its_place():
    codewords_KD = torch.tensor([[7.0, 7], [8, 8]])
    assert means(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([0, 0]), codewords_KD).tolist() == [[2, 3], [8, 8]]


def test_products_are_drawn_towards_their_groups_mean_and_others_stay():
    x_ND = torch.tensor([[0.0], [4], [10]])
    assert drawn_together(x_ND, torch.tensor([0, 0, -1]), 0.5).flatten().tolist() == [1, 3, 10]
    assert drawn_together(x_ND, torch.tensor([-1, -1, -1]), 0.5) is x_ND
