"""Beam search returns what the oracle and a search over plain lists return, and never what may not be returned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toy_models import GRUModel, Shop, TableModel, any_set, any_shop, shop

from shelfcode.retrieval.decoder.allowed import AllowedSets, allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import Beams, beam_search
from shelfcode.retrieval.decoder.exhaustive import exhaustive_search
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie

LAYOUTS = [{}, {"dense_nodes": 0}, {"dense_nodes": 1 << 30, "dense_share": 0.0}]
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero")
"""Operations that wait for a device or whose shapes depend on the numbers."""


@dataclass(frozen=True)
class Case:
    """A shop, some retailers and some requests."""

    made: Shop
    trie: CodeTrie
    holds_SN: np.ndarray
    sets: AllowedSets
    set_R: np.ndarray
    without_RX: np.ndarray

    @property
    def holds_RN(self) -> np.ndarray:
        """The products that each request may be answered with."""
        holds_RN = self.holds_SN[self.set_R].copy()
        for holds_N, without_X in zip(holds_RN, self.without_RX, strict=True):
            holds_N[without_X[without_X >= 0]] = False
        return holds_RN

    def search(self, model: Any, width: int, **settings: Any) -> Beams:
        return beam_search(model, self.trie.to("cpu"), self.sets.requests(self.set_R, self.without_RX), width, **settings)

    def oracle(self, model: Any, width: int) -> Beams:
        return exhaustive_search(model, self.made.codes_NL, self.made.sizes, self.holds_RN, width)


def any_case(seed: int, requests: int = 6, made: Shop | None = None) -> Case:
    """Retailers of every size; a third of the requests exclude something."""
    rng = np.random.default_rng(seed)
    made = made or any_shop(rng)
    products = len(made.codes_NL)
    trie = build_trie(made.codes_NL, made.sizes, **LAYOUTS[seed % 3])
    holds_SN = np.stack([any_set(products, rng) for _ in range(5)])
    without_RX = np.where(rng.random((requests, 1)) < 0.3, rng.integers(-1, products, (requests, 8)), -1)
    sets = stack_sets([allowed_where(trie, holds_N) for holds_N in holds_SN])
    return Case(made, trie, holds_SN, sets, rng.integers(0, 5, requests), without_RX)


def plain_search(model: TableModel, request: int, codes_N: list[tuple[int, ...]], width: int) -> list[tuple[int, ...]]:
    """Beam search over lists, one request at a time."""
    beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    logits_WK, parents = model.start()[request].unsqueeze(0), [0]
    for level in range(len(model.sizes)):
        if level:
            index = torch.tensor([parents] * len(model.seed_R))
            codes = torch.tensor([[prefix[-1] for _, prefix in beams]] * len(model.seed_R))
            logits_WK = model.step(level, index, codes)[request]
        found = []
        for beam, ((score, prefix), log_p_K) in enumerate(zip(beams, logits_WK.log_softmax(dim=-1), strict=True)):
            following = {codes[level] for codes in codes_N if codes[:level] == prefix}
            found += [(float(np.float32(score) + log_p_K[code].numpy()), (*prefix, code), beam) for code in following]
        best = sorted(found, key=lambda each: (-each[0], each[1]))[:width]
        beams, parents = [(score, prefix) for score, prefix, _ in best], [beam for *_, beam in best]
        if not beams:
            return []
    return [prefix for _, prefix in beams]


def assert_same(one: Beams, other: Beams) -> None:
    assert torch.equal(one.leaf_RW, other.leaf_RW)
    torch.testing.assert_close(one.log_probability_RW, other.log_probability_RW)


@pytest.mark.parametrize("seed", range(60))
def test_with_as_many_beams_as_ids_it_is_the_oracle(seed: int) -> None:
    case = any_case(seed)
    model = TableModel(case.made.sizes, range(6), steps=seed % 2 * 3)
    width = case.trie.leaves + seed % 4
    assert_same(case.search(model, width), case.oracle(model, width))


def test_a_model_whose_beams_carry_a_state_is_asked_in_their_order() -> None:
    for seed in range(6):
        case = any_case(seed)
        model = GRUModel(case.made.sizes, torch.randn(6, 16, generator=torch.Generator().manual_seed(seed)))
        found, wanted = case.search(model, case.trie.leaves), case.oracle(model, case.trie.leaves)
        torch.testing.assert_close(found.log_probability_RW, wanted.log_probability_RW, rtol=1e-5, atol=1e-5)
        assert torch.equal(found.leaf_RW.sort().values, wanted.leaf_RW.sort().values)


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("width", [1, 3, 10])
def test_a_narrow_beam_keeps_what_a_search_over_lists_keeps(seed: int, width: int) -> None:
    case = any_case(seed, requests=3)
    model = TableModel(case.made.sizes, [5, 6, 7], steps=seed % 2 * 3)
    leaf_RW = case.search(model, width).leaf_RW.tolist()
    for request, holds_N in enumerate(case.holds_RN):
        legal = sorted({tuple(codes) for codes in case.made.codes_NL[holds_N].tolist()})
        found = [tuple(case.trie.codes_IL[leaf].tolist()) for leaf in leaf_RW[request] if leaf >= 0]
        assert found == plain_search(model, request, legal, width)


def test_of_two_thousand_requests_none_gets_what_is_illegal_or_twice_or_too_little() -> None:
    made = shop((6, 20, 20, 30), 3000, np.random.default_rng(1))
    asked = 0
    for seed in range(20):
        case = any_case(seed, 100, made)
        for temperature in (0.0, 1.0):
            beams = case.search(TableModel(made.sizes, range(seed, seed + 100)), 40, temperature=temperature)
            for leaf_W, log_p_W, holds_N in zip(beams.leaf_RW.numpy(), beams.log_probability_RW.numpy(), case.holds_RN, strict=True):
                legal = np.unique(case.trie.leaf_N[holds_N])
                number = min(40, len(legal))
                assert len(np.intersect1d(leaf_W[:number], legal)) == number
                assert (leaf_W[number:] == -1).all()
                assert (log_p_W[number:] == -np.inf).all()
                assert temperature or (np.diff(log_p_W[:number]) <= 0).all()
                asked += 1
    assert asked == 4000


def test_more_beams_find_more_of_the_best() -> None:
    made = shop((6, 20, 20, 30), 3000, np.random.default_rng(1))
    case, model = any_case(0, 40, made), TableModel(made.sizes, range(40))
    best_RK = case.oracle(model, 10).leaf_RW.numpy()
    shares = []
    for width in (10, 30, 100, 300):
        found_RK = case.search(model, width).leaf_RW[:, :10].numpy()
        shares.append(np.mean([len(np.intersect1d(one[one >= 0], other)) for one, other in zip(best_RK, found_RK, strict=True)]))
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@pytest.mark.parametrize("seed", range(12))
def test_a_request_of_a_width_of_its_own_is_answered_as_if_it_were_alone(seed: int) -> None:
    case = any_case(seed)
    width_R = np.random.default_rng(seed).integers(1, 30, 6)
    together = case.search(TableModel(case.made.sizes, range(6), steps=3), 30, width_R=torch.from_numpy(width_R))
    for request, width in enumerate(width_R.tolist()):
        allowed = case.sets.requests(case.set_R[[request]], case.without_RX[[request]])
        alone = beam_search(TableModel(case.made.sizes, [request], steps=3), case.trie.to("cpu"), allowed, width)
        assert torch.equal(together.leaf_RW[request, :width], alone.leaf_RW[0])
        assert torch.equal(together.log_probability_RW[request, :width], alone.log_probability_RW[0])
        assert bool((together.leaf_RW[request, width:] == -1).all())


@pytest.mark.parametrize("seed", range(6))
def test_stock_that_comes_and_goes_is_searched_as_if_the_set_were_made_anew(seed: int) -> None:
    case, rng = any_case(seed), np.random.default_rng(seed)
    model = TableModel(case.made.sizes, range(6))
    for product, number in zip(rng.integers(0, len(case.made.codes_NL), 60).tolist(), rng.integers(0, 5, 60).tolist(), strict=True):
        put = bool(rng.random() < 0.5)
        (case.sets.add if put else case.sets.remove)(number, product)
        case.holds_SN[number, product] = put
    assert_same(case.search(model, case.trie.leaves), case.oracle(model, case.trie.leaves))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("logit", [-torch.inf, torch.nan])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_model_thinks_impossible_is_returned_before_nothing_is(seed: int, logit: float, temperature: float) -> None:
    case = any_case(seed, 30, shop((4, 5, 6), 40, np.random.default_rng(seed)))
    model = TableModel(case.made.sizes, range(30))
    for table_TK in model.table_LTK:
        table_TK[:, :-1][torch.rand(table_TK[:, :-1].shape, generator=torch.Generator().manual_seed(seed)) < 0.3] = logit
    beams = case.search(model, case.trie.leaves, temperature=temperature)
    for leaf_W, log_p_W, holds_N in zip(beams.leaf_RW.numpy(), beams.log_probability_RW.numpy(), case.holds_RN, strict=True):
        assert sorted(leaf_W[leaf_W >= 0]) == np.unique(case.trie.leaf_N[holds_N]).tolist()
        assert logit != -torch.inf or (np.diff(np.isfinite(log_p_W).astype(int)) <= 0).all()


class Operations(TorchDispatchMode):
    """Writes down every operation with the shapes that it is given and returns."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tensors = [each for each in torch.utils._pytree.tree_leaves((args, kwargs, found)) if isinstance(each, torch.Tensor)]
        assert func.name() != "aten::index.Tensor" or all(each.dtype != torch.bool for each in tensors[1:-1])
        self.seen.append((func.name(), [tuple(each.shape) for each in tensors]))
        return found


@pytest.mark.parametrize("temperature", [0.0, torch.tensor([0.0, 1.0] * 3)])
def test_whatever_is_asked_the_same_operations_run_on_the_same_shapes_and_none_waits(temperature: Any) -> None:
    made = shop((4, 9, 9), 200, np.random.default_rng(0))
    trie = build_trie(made.codes_NL, made.sizes)
    holds_SN = np.random.default_rng(0).random((2, 200)) < 0.3
    holds_SN[1] = False
    sets, seen = stack_sets([allowed_where(trie, holds_N) for holds_N in holds_SN]), []
    for asked in range(2):
        allowed = sets.requests(np.full(6, asked), np.full((6, 4), -1 if asked else 7))
        width_R = torch.tensor([1, 20, 20, 20, 3, 20]) + asked
        model, tensors = TableModel(made.sizes, range(asked, asked + 6)), trie.to("cpu")
        with Operations() as operations:
            beam_search(model, tensors, allowed, 21, temperature, width_R)
        seen.append(operations.seen)
    assert seen[0] == seen[1]
    assert not [name for name, _ in seen[0] if any(wait in name for wait in WAITS)]
