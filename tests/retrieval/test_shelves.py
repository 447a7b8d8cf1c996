import numpy as np
import pytest
import torch
from scipy import sparse
from small_contexts import contexts_of

from shelfcode.retrieval.decoder.allowed import lay_over
from shelfcode.retrieval.decoder.trie import build_trie
from shelfcode.retrieval.sharing import Sales
from shelfcode.retrieval.shelves import RequestShelves, open_shelves

PRODUCTS, SIZES = 60, (4, 3, 8)
CPU = torch.device("cpu")


def codes() -> np.ndarray:
    random = np.random.default_rng(3)
    return np.stack([random.integers(size, size=PRODUCTS) for size in SIZES], axis=1)


TRIE = build_trie(codes(), SIZES)


def sales() -> Sales:
    """Two retailers: one sold products 0 to 19, the other 10 to 29; nobody sold the last five."""
    at_retailer = np.zeros((2, PRODUCTS), np.float32)
    at_retailer[0, :20], at_retailer[1, 10:30] = 1, 2
    all_N = np.ones(PRODUCTS, np.float32)
    all_N[-5:] = 0
    return Sales(all_N, all_N, sparse.csr_array(at_retailer))


CARTS = [[0, 1], [], [12, 59], [3]]
CONTEXTS = contexts_of(CARTS, None, [0, 0, 1, -1])


def test_what_is_open_is_what_the_retailer_has_less_the_cart() -> None:
    shelves = open_shelves(TRIE, sales(), None, CPU)
    new = {55, 56, 57, 58, 59}
    wanted = [{*range(2, 20)} | new, {*range(20)} | new, {*range(10, 30)} | new, {*range(PRODUCTS)}]
    for may_N, products, cart in zip(shelves.open_to(CONTEXTS), wanted, CARTS, strict=True):
        assert set(np.flatnonzero(may_N).tolist()) == products - set(cart)


@pytest.mark.parametrize("dense_share", [0.0, 2.0])
def test_a_request_that_brings_its_products_may_take_the_nodes_that_its_retailer_would_open(dense_share: float) -> None:
    trie = build_trie(codes(), SIZES, dense_share=dense_share)
    by_retailer = open_shelves(trie, sales(), None, CPU)
    own = RequestShelves(trie, by_retailer.tensors, [np.flatnonzero(may_N) for may_N in by_retailer.open_to(CONTEXTS)])
    assert [may_N.tolist() for may_N in own.open_to(CONTEXTS)] == [may_N.tolist() for may_N in by_retailer.open_to(CONTEXTS)]
    for level, may_SV in enumerate(own.allowed(CONTEXTS).may_LSV):
        for row, may_N in enumerate(by_retailer.open_to(CONTEXTS)):
            nodes = np.zeros(trie.levels[level].nodes, bool)
            nodes[trie.path_IL[trie.leaf_N[may_N], level]] = True
            assert may_SV[row, : len(nodes)].tolist() == nodes.tolist()
            assert not may_SV[row, len(nodes) :].any()
    part = own.rows(1, 3)
    assert [set(each.tolist()) for each in part.product_RM] == [set(each.tolist()) for each in own.product_RM[1:3]]


def test_products_that_the_trie_lacks_are_refused() -> None:
    with pytest.raises(IndexError, match="0 to 59"):
        lay_over(TRIE, [np.array([60])])
    assert not any(may_SV.any() for may_SV in lay_over(TRIE, [np.empty(0, np.int64)]).may_LSV)


def test_sets_are_made_when_they_are_asked_of() -> None:
    shelves = open_shelves(TRIE, sales(), [np.array([7, 7, 9])], CPU)
    assert "sets" not in vars(shelves)
    assert [int(may_N.sum()) for may_N in shelves.open_to(contexts_of([[], [7]], None, [0, 0]))] == [2, 1]
    assert "sets" in vars(shelves)
