"""What is drawn is drawn without replacement, with the probabilities that it should have."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from toy_models import TableModel, any_set, any_shop, shop

from shelfcode.retrieval.decoder.allowed import allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie

CODES_NL = np.array([[0, 0, 1], [0, 0, 2], [0, 1, 0], [1, 1, 2], [1, 2, 0], [2, 0, 0], [2, 2, 1]])
SIZES = (3, 3, 3)


def draw(trie: CodeTrie, holds_N: np.ndarray, model: TableModel, width: int, temperature: float | torch.Tensor, seed: int = 0) -> Beams:
    allowed = stack_sets([allowed_where(trie, holds_N)]).requests(np.zeros(len(model.seed_R), np.int64))
    return beam_search(model, trie.to("cpu"), allowed, width, temperature, generator=torch.Generator().manual_seed(seed))


def probabilities(codes: list[tuple[int, ...]], temperature: float) -> list[float]:
    """Of each semantic ID: at every level the tempered probability of its codeword among those that lead to another."""
    found = []
    for one in codes:
        model, p = TableModel(SIZES, [0]), 1.0
        log_p_K = model.start()[0].log_softmax(dim=-1)
        for level, code in enumerate(one):
            legal = {other[level] for other in codes if other[:level] == one[:level]}
            weight = {each: float((log_p_K[each] / temperature).exp()) for each in legal}
            p *= weight[code] / sum(weight.values())
            if level < 2:
                log_p_K = model.step(level + 1, torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[code]]))[0, 0].log_softmax(dim=-1)
        found.append(p)
    return found


@pytest.mark.parametrize("temperature", [0.6, 1.0, 3.0])
def test_triples_are_drawn_as_one_by_one_without_replacement(temperature: float) -> None:
    trie, draws = build_trie(CODES_NL, SIZES, dense_nodes=3), 40_000
    holds_N = np.arange(7) != 3
    leaf_RW = draw(trie, holds_N, TableModel(SIZES, [0] * draws), 3, temperature).leaf_RW.tolist()
    leaves = trie.leaf_N[holds_N].tolist()
    p = dict(zip(leaves, probabilities([tuple(codes) for codes in CODES_NL[holds_N].tolist()], temperature), strict=True))
    assert sum(p.values()) == pytest.approx(1)
    count = dict.fromkeys(permutations(leaves, 3), 0)
    for drawn in leaf_RW:
        count[tuple(drawn)] += 1
    wanted = {(a, b, c): draws * p[a] * p[b] / (1 - p[a]) * p[c] / (1 - p[a] - p[b]) for a, b, c in count}
    cells = [(count[each], wanted[each]) for each in count if wanted[each] >= 5]
    rare = [(count[each], wanted[each]) for each in count if wanted[each] < 5]
    cells += [tuple(map(sum, zip(*rare, strict=True)))] if rare else []
    assert sum((found - expected) ** 2 / expected for found, expected in cells) < chi2.ppf(0.999, len(cells) - 1)


@pytest.mark.parametrize("seed", range(10))
def test_as_many_draws_as_there_are_ids_draw_each_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = any_shop(rng)
    trie, holds_N = build_trie(made.codes_NL, made.sizes), any_set(len(made.codes_NL), rng)
    beams = draw(trie, holds_N, TableModel(made.sizes, range(5)), trie.leaves + 2, 0.8)
    legal = np.unique(trie.leaf_N[holds_N]).tolist()
    for leaf_W in beams.leaf_RW.tolist():
        assert sorted(leaf_W[: len(legal)]) == legal
        assert set(leaf_W[len(legal) :]) == {-1}


def test_the_log_probability_is_the_models_whatever_the_temperature() -> None:
    trie, everything = build_trie(CODES_NL, SIZES), np.ones(7, bool)
    drawn, searched = (draw(trie, everything, TableModel(SIZES, [4]), 7, temperature) for temperature in (2.0, 0.0))
    order = drawn.leaf_RW[0].argsort(), searched.leaf_RW[0].argsort()
    torch.testing.assert_close(drawn.log_probability_RW[0, order[0]], searched.log_probability_RW[0, order[1]])
    assert not torch.equal(drawn.leaf_RW, searched.leaf_RW)


def test_the_colder_the_nearer_is_the_first_to_the_greedy_choice() -> None:
    made = shop((6, 20, 20), 400, np.random.default_rng(0))
    trie, everything, model = build_trie(made.codes_NL, made.sizes), np.ones(400, bool), TableModel(made.sizes, range(200))
    greedy_R = draw(trie, everything, model, 1, 0.0).leaf_RW[:, 0]
    share = [float((draw(trie, everything, model, 5, t).leaf_RW[:, 0] == greedy_R).float().mean()) for t in (1.0, 0.1, 1e-4)]
    assert share[0] < share[1] < share[2]
    assert share[2] == 1


def test_a_batch_may_search_for_some_and_draw_for_others() -> None:
    made = shop((6, 20, 20), 400, np.random.default_rng(0))
    trie, everything = build_trie(made.codes_NL, made.sizes), np.ones(400, bool)
    mixed = draw(trie, everything, TableModel(made.sizes, [1, 1, 1]), 30, torch.tensor([0.0, 1.0, 0.0]))
    searched = draw(trie, everything, TableModel(made.sizes, [1]), 30, 0.0)
    assert torch.equal(mixed.leaf_RW[[0, 2]], searched.leaf_RW.expand(2, -1))
    assert torch.equal(mixed.log_probability_RW[[0, 2]], searched.log_probability_RW.expand(2, -1))
    assert not torch.equal(mixed.leaf_RW[1], searched.leaf_RW[0])


def test_a_seed_draws_the_same_again_and_another_seed_does_not() -> None:
    trie, everything, model = build_trie(CODES_NL, SIZES), np.ones(7, bool), TableModel(SIZES, range(9))
    first, again, other = (draw(trie, everything, model, 4, 1.0, seed).leaf_RW for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
