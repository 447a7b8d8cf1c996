"""The map is a tree, adds up, stays under its cap, and says how much it leaves out."""

from collections import defaultdict

import numpy as np
import pytest

from shelfcode.evaluation.quality.hierarchy_map import hierarchy_map, map_positions
from shelfcode.semantic_id import parse


@pytest.mark.parametrize("most_nodes", [10, 60, 400, 4000])
@pytest.mark.parametrize("shape", ["even", "skewed", "collapsed", "all distinct"])
def test_the_map_is_a_tree_that_adds_up(most_nodes, shape):
    rng = np.random.default_rng(0)
    codes_NL = {
        "even": rng.integers(0, (5, 6, 7), (3000, 3)),
        "skewed": (rng.random((3000, 3)) ** 4 * (5, 6, 7)).astype(int),
        "collapsed": np.zeros((3000, 3), dtype=int),
        "all distinct": np.stack(np.unravel_index(np.arange(3000), (60, 60, 60)), axis=1),
    }[shape]
    nodes = hierarchy_map(codes_NL, (60, 60, 60), most_nodes)
    assert len(nodes) <= most_nodes
    by_key = {node.key: node for node in nodes}
    assert len(by_key) == len(nodes)
    inside = defaultdict(list)
    for node in nodes[1:]:
        inside[node.parent].append(node)
    for node in nodes:
        if node.kind in ("root", "prefix"):
            children = inside[node.key]
            assert sum(child.products for child in children) == node.products
            assert sum(child.drawn_size for child in children) == pytest.approx(node.drawn_size)
        if node.kind == "prefix":
            codes = parse(node.key)
            members_N = (codes_NL[:, : len(codes)] == codes).all(axis=1)
            assert members_N.sum() == node.products
            assert members_N[list(node.examples)].all()
            assert len(set(node.examples)) == min(9, node.products)
        if node.kind == "product":
            assert node.examples[0] in by_key[node.parent].examples


def test_the_largest_prefixes_are_kept_and_the_rest_counted():
    codes_NL = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 0]], [50, 40, 30, 5, 4, 1], axis=0)
    nodes = hierarchy_map(codes_NL, (3, 3), most_nodes=22)
    assert [node.key for node in nodes if node.kind == "prefix"] == ["0", "0_0", "0_1", "1", "1_0"]
    more = {node.parent: (node.products, node.left_out) for node in nodes if node.kind == "more"}
    assert more["all"] == (1, 1)
    assert more["1"] == (9, 2)
    assert more["0_0"] == (48, 0)
    assert "0" not in more


def test_positions_are_those_of_the_examples():
    codes_NL = np.array([[0, 0], [1, 0], [1, 1]])
    assert map_positions(hierarchy_map(codes_NL, (2, 2))).tolist() == [0, 1, 2]
    assert map_positions([]).tolist() == []
