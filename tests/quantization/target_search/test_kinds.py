"""Kinds that move as a whole: what they are worth to each other, and where the search puts them."""

import numpy as np
import pytest
import torch

from shelfcode.quantization.target_search.engagement import engagement
from shelfcode.quantization.target_search.kinds import KINDS_WEIGHT, codes_of_kinds, engaged_kinds, gains_between, move_kinds


def test_kinds_that_are_worth_something_to_each_other_meet_and_others_part():
    worth_GG = np.array([[0, 1, -1, -1], [1, 0, -1, -1], [-1, -1, 0, 1], [-1, -1, 1, 0]], float)
    code_G = move_kinds(np.array([0, 1, 0, 1]), worth_GG, np.ones(4, int), 2, 0.0, 20, np.random.default_rng(0))
    assert code_G[0] == code_G[1] != code_G[2] == code_G[3]


def test_a_large_codeword_costs():
    code_G = move_kinds(np.zeros(4, int), np.zeros((4, 4)), np.ones(4, int), 2, 0.1, 20, np.random.default_rng(0))
    assert np.bincount(code_G).tolist() == [2, 2]


def test_no_codeword_is_given_up():
    code_G = move_kinds(np.array([0, 0, 1]), np.ones((3, 3)), np.ones(3, int), 2, 0.0, 20, np.random.default_rng(0))
    assert np.unique(code_G).tolist() == [0, 1]


def test_a_kind_of_no_product_stays():
    code_G = move_kinds(np.array([0, 1]), np.ones((2, 2)), np.array([0, 3]), 2, 0.0, 5, np.random.default_rng(0))
    assert code_G[0] == 0


def test_gains_of_pairs_by_kinds(monkeypatch):
    kind_N, partner_NP = torch.tensor([0, 0, 1]), torch.tensor([[1, 2], [0, 2], [0, 1]])
    share_NP = torch.tensor([[0.75, 0.25], [1.0, 0.0], [0.5, -0.5]])
    whole_GG = gains_between(kind_N, 2, partner_NP, share_NP)
    np.testing.assert_allclose(whole_GG, np.array([[1.75, 0.125], [0.125, 0]]) / 3)
    monkeypatch.setattr("shelfcode.quantization.target_search.kinds.ROWS_ADDED", 2)
    np.testing.assert_allclose(gains_between(kind_N, 2, partner_NP, share_NP), whole_GG)


def test_engagement_puts_kinds_together_that_their_pairs_would_not():
    """Eight products of four kinds; those of kinds 0 and 3, and of 1 and 2, are bought together."""
    kind_N = torch.arange(8) // 2
    partner_NP, share_NP = (torch.arange(8) ^ 1)[:, None], torch.ones(8, 1)
    baskets = [(0, 6), (1, 7), (0, 7), (2, 4), (3, 5), (2, 5)] * 5
    rows = np.array([(group, product) for group, members in enumerate(baskets) for product in members])
    kinds = engaged_kinds(engagement([(rows[:, 0], rows[:, 1])]), kind_N, 4, weight=4.0, support=1.0)
    assert np.abs(kinds.excess_GG).sum() == pytest.approx(4 * KINDS_WEIGHT, rel=0.1)
    start_N = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    code_N = codes_of_kinds(kinds, [start_N], 2, partner_NP, share_NP, 0.0, 20, 0)
    assert code_N[0] == code_N[6] != code_N[2] == code_N[4]
    scores_GK = kinds.attraction.scores(code_N, 2)
    assert (scores_GK.argmax(dim=1) == code_N[::2]).all()


def test_a_few_pairs_hardly_count():
    kinds = engaged_kinds(engagement([(np.array([0, 0]), np.array([0, 9]))]), torch.arange(600) // 2, 300, weight=1.5, support=20.0)
    assert np.abs(kinds.excess_GG).sum() < 0.001
    assert float(kinds.attraction.pull_GG.abs().sum(dim=1).max()) < 0.1
