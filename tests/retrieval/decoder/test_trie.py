"""The layouts say which prefixes exist and what lies below them: held against sets of tuples."""

from itertools import pairwise

import numpy as np
import pytest
from toy_models import any_shop, shop

from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.semantic_id import Codes

LAYOUTS = {"as shipped": {}, "sparse": {"dense_nodes": 0}, "dense": {"dense_nodes": 1 << 30, "dense_share": 0.0}}


def prefixes_of(trie: CodeTrie, depth: int) -> dict[int, Codes]:
    """The prefix of every node that exists on a level, read from the layout from the root down."""
    if depth < 0:
        return {0: ()}
    level, found = trie.levels[depth], {}
    for parent, prefix in prefixes_of(trie, depth - 1).items():
        if level.first_P is None or level.code_V is None:
            children = range(parent * level.size, (parent + 1) * level.size)
            found.update({node: (*prefix, node % level.size) for node in children})
        else:
            children = range(level.first_P[parent], level.first_P[parent + 1])
            assert len(children) <= level.branching
            found.update({node: (*prefix, int(level.code_V[node])) for node in children})
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(12))
def test_the_nodes_of_a_level_are_its_prefixes_in_their_order(layout: str, seed: int) -> None:
    made = any_shop(np.random.default_rng(seed))
    trie = build_trie(made.codes_NL, made.sizes, **LAYOUTS[layout])
    distinct = sorted({tuple(row) for row in made.codes_NL.tolist()})
    for depth, level in enumerate(trie.levels):
        exist = sorted({codes[: depth + 1] for codes in distinct})
        said = prefixes_of(trie, depth)
        assert list(said.values()) == sorted(said.values())
        assert max(said, default=-1) < level.nodes
        if level.first_P is None:
            assert set(exist) <= set(said.values())
        elif trie.levels[max(depth - 1, 0)].first_P is not None:
            assert list(said.values()) == exist
        assert [said[node] for node in trie.path_IL[:, depth].tolist()] == [codes[: depth + 1] for codes in distinct]


@pytest.mark.parametrize("seed", range(12))
def test_leaves_are_the_distinct_ids_and_know_their_products(seed: int) -> None:
    made = any_shop(np.random.default_rng(seed))
    trie = build_trie(made.codes_NL, made.sizes)
    codes = [tuple(row) for row in made.codes_NL.tolist()]
    assert [tuple(row) for row in trie.codes_IL.tolist()] == sorted(set(codes))
    np.testing.assert_array_equal(trie.codes_IL[trie.leaf_N], made.codes_NL)
    np.testing.assert_array_equal(trie.path_IL[:, -1], np.arange(trie.leaves))
    for leaf, one in enumerate(trie.codes_IL.tolist()):
        below = trie.product_N[trie.first_I[leaf] : trie.first_I[leaf + 1]]
        assert below.tolist() == [product for product, other in enumerate(codes) if other == tuple(one)]


def test_the_products_of_a_list_of_leaves_come_in_its_order() -> None:
    trie = build_trie(np.array([[1, 1], [0, 2], [1, 1], [0, 0]]), (2, 3))  # leaves: 0_0, 0_2, 1_1
    products, of = trie.products(np.array([2, -1, 0, 2]))
    assert products.tolist() == [0, 2, 3, 0, 2]
    assert of.tolist() == [0, 0, 2, 3, 3]
    assert [len(array) for array in trie.products(np.array([-1, -1]))] == [0, 0]


def test_a_level_is_dense_where_most_codewords_follow_some_parent_and_the_table_is_small() -> None:
    codes_NL = np.stack(np.unravel_index(np.arange(8 * 8 * 2), (8, 8, 2)), axis=1)
    assert [level.first_P is None for level in build_trie(codes_NL, (8, 8, 2)).levels] == [True, True, False]
    assert [level.first_P is None for level in build_trie(codes_NL, (8, 20, 2)).levels] == [True, False, False]
    assert [level.first_P is None for level in build_trie(codes_NL, (8, 8, 2), dense_nodes=63).levels] == [True, False, False]


def test_a_trie_on_a_device_says_the_same() -> None:
    trie = build_trie(shop((5, 7, 9), 80, np.random.default_rng(0)).codes_NL, (5, 7, 9), dense_nodes=6)
    for level, there in zip(trie.levels, trie.to("cpu").levels, strict=True):
        assert (there.nodes, there.slot_C.tolist()) == (level.nodes, list(range(level.branching)))
        if level.first_P is None or level.code_V is None:
            assert (there.range_P2, there.code_V, there.parents * level.size) == (None, None, level.nodes)
        else:
            first_P = level.first_P.tolist()
            assert there.range_P2.tolist() == [*map(list, pairwise(first_P)), [level.nodes, level.nodes]]
            assert there.code_V.tolist() == level.code_V.tolist() + [0] * level.branching


@pytest.mark.parametrize(
    ("codes_NL", "sizes"), [(np.empty((0, 2), np.uint16), (2, 3)), (np.array([[0, 3]]), (2, 3)), (np.array([[0, 1]]), (2,))]
)
def test_codes_that_make_no_trie_are_refused(codes_NL: np.ndarray, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="code"):
        build_trie(codes_NL, sizes)
