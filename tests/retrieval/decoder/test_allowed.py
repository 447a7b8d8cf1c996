"""What may be returned is what looking at every product says, after any changes."""

import numpy as np
import pytest
from toy_models import any_set, any_shop

from shelfcode.retrieval.decoder.allowed import AllowedSet, allowed_set, allowed_where, intersection, stack_sets
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie

TRIE = build_trie(np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 2]]), (3, 3))


def counted(trie: CodeTrie, holds_N: np.ndarray) -> list[list[int]]:
    """The products below every node, product by product."""
    counts = [[0] * level.nodes for level in trie.levels]
    for product in np.flatnonzero(holds_N).tolist():
        for depth, node in enumerate(trie.path_IL[trie.leaf_N[product]].tolist()):
            counts[depth][node] += 1
    return counts


def assert_counts(one: AllowedSet, holds_N: np.ndarray) -> None:
    np.testing.assert_array_equal(one.holds_N, holds_N)
    assert [live_V.tolist() for live_V in one.live_LV] == counted(one.trie, holds_N)
    assert [one.node_mask(level).tolist() for level in range(len(one.live_LV))] == [
        [n > 0 for n in of] for of in counted(one.trie, holds_N)
    ]
    assert len(one) == holds_N.sum()


@pytest.mark.parametrize("seed", range(20))
def test_a_set_counts_its_products_below_every_node_whatever_comes_and_goes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = any_shop(rng)
    products = len(made.codes_NL)
    trie, holds_N = build_trie(made.codes_NL, made.sizes), any_set(products, rng)
    one = allowed_set(trie, rng.permutation(np.repeat(np.flatnonzero(holds_N), 2)))
    assert_counts(one, holds_N)
    for product in rng.integers(0, products, 40).tolist():
        before, put = [live_V.copy() for live_V in one.live_LV], bool(rng.random() < 0.5)
        assert (one.add if put else one.remove)(product) == (holds_N[product] != put)
        changed = sum(int((live_V != old_V).sum()) for live_V, old_V in zip(one.live_LV, before, strict=True))
        assert changed == (len(made.sizes) if holds_N[product] != put else 0)
        holds_N[product] = put
    assert_counts(one, holds_N)


@pytest.mark.parametrize("seed", range(10))
def test_an_intersection_is_that_of_the_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = any_shop(rng)
    trie = build_trie(made.codes_NL, made.sizes)
    holds = [rng.random(len(made.codes_NL)) < 0.6 for _ in range(3)]
    assert_counts(intersection([allowed_where(trie, holds_N) for holds_N in holds]), holds[0] & holds[1] & holds[2])


def test_a_set_is_its_own_whatever_becomes_of_what_it_was_made_from() -> None:
    holds_N = np.ones(5, bool)
    one = allowed_where(TRIE, holds_N)
    holds_N[2] = False
    assert_counts(one, np.ones(5, bool))
    assert one.remove(2)
    assert_counts(one, holds_N)


def test_a_node_with_products_of_both_sets_may_hold_none_that_is_in_both() -> None:
    one, other = allowed_set(TRIE, np.array([0])), allowed_set(TRIE, np.array([1]))
    assert one.node_mask(1).tolist() == other.node_mask(1).tolist() == [True, False, False, False]
    assert not intersection([one, other]).node_mask(1).any()


@pytest.mark.parametrize("product", [-1, 5, 2**31])
def test_a_product_that_the_trie_does_not_have_is_an_index_error(product: int) -> None:
    one = allowed_set(TRIE, np.arange(5))
    sets = stack_sets([one])
    for call in (
        lambda: one.add(product), lambda: one.remove(product), lambda: sets.add(0, product), lambda: allowed_set(TRIE, np.array([product])),
    ):  # fmt: skip
        with pytest.raises(IndexError, match="numbered from 0 to 4"):
            call()
    assert len(one) == 5


def test_flags_on_the_device_follow_the_stock_in_place() -> None:
    sets = stack_sets([allowed_set(TRIE, np.arange(5)), allowed_set(TRIE, np.array([], np.int64))])
    tensors = [may_SV.data_ptr() for may_SV in sets.may_LSV]
    assert [sets.remove(0, 0), sets.remove(0, 0), sets.add(1, 4)] == [True, False, True]
    assert sets.may_LSV[1][:, :4].tolist() == [[True, True, True, True], [False, False, False, True]]
    assert sets.remove(0, 1)
    assert [may_SV[0, :2].tolist() for may_SV in sets.may_LSV] == [[True, True], [False, True]]
    sets.replace(1, allowed_set(TRIE, np.array([2])))
    assert [may_SV[1].tolist()[:3] for may_SV in sets.may_LSV] == [[True, False, False], [False, True, False]]
    assert len(sets.sets[1]) == 1
    assert [may_SV.data_ptr() for may_SV in sets.may_LSV] == tensors


@pytest.mark.parametrize("set_R", [[0, 2], [-1]])
def test_a_set_that_is_not_there_is_an_index_error(set_R: list[int]) -> None:
    sets = stack_sets([allowed_set(TRIE, np.arange(5))] * 2)
    with pytest.raises(IndexError, match="from 0 to 1; asked for"):
        sets.requests(np.array(set_R))


@pytest.mark.parametrize("seed", range(20))
def test_a_request_closes_the_nodes_that_hold_nothing_but_what_it_excludes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = any_shop(rng)
    products = len(made.codes_NL)
    trie = build_trie(made.codes_NL, made.sizes)
    holds_SN = np.stack([any_set(products, rng) for _ in range(3)])
    set_R, without_RX = rng.integers(0, 3, 9), rng.integers(-1, products, (9, 7))
    allowed = stack_sets([allowed_where(trie, holds_N) for holds_N in holds_SN]).requests(set_R, without_RX)
    for request, (number, without_X) in enumerate(zip(set_R.tolist(), without_RX.tolist(), strict=True)):
        left_N = holds_SN[number].copy()
        left_N[[product for product in without_X if product >= 0]] = False
        for depth, (before, after) in enumerate(zip(counted(trie, holds_SN[number]), counted(trie, left_N), strict=True)):
            level, closed = trie.levels[depth], allowed.closed_L[depth]
            parents, slots = closed.parent_R1X[request, 0].tolist(), closed.slot_R1X[request, 0].tolist()
            first_P = np.arange(level.nodes + 1) * level.size if level.first_P is None else level.first_P
            nodes = [int(first_P[parent]) + slot for parent, slot in zip(parents, slots, strict=True) if parent >= 0]
            assert sorted(nodes) == [node for node in range(level.nodes) if before[node] and not after[node]]
