"""Rows become pairs of positions: all of a small group, some of a large one, none of products without a code."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.evaluation.behaviour.relation_pairs import MOST_PAIRS_PER_GROUP, RelationPairs, relation_pairs
from shelfcode.interactions.columns import LABELS
from shelfcode.interactions.relations import RelationRows, Relations
from shelfcode.keys import item_keys

CODED = item_keys(pa.array(list("abcdefgh")))
"""Positions 0 to 7."""


def pairs_of(kind: str, rows: list[tuple[str, ...]], coded=CODED, seed: int = 0, **limits: int) -> dict[str, RelationPairs]:
    owners, items, *labels = zip(*rows, strict=True)
    label_R = np.array([LABELS.index(label) for label in labels[0]] if labels else [0] * len(rows), dtype=np.int8)
    keyed = RelationRows(kind, "swap", item_keys(pa.array(owners)), item_keys(pa.array(items)), label_R)
    return {pairs.relation: pairs for pairs in relation_pairs(Relations("", (keyed,), (), 0), coded, seed, **limits)}


def listed(pairs: RelationPairs) -> list[tuple[int, int]]:
    return sorted(zip(pairs.left_P.tolist(), pairs.right_P.tolist(), strict=True))


def unordered(pairs: RelationPairs) -> list[tuple[int, ...]]:
    return sorted(tuple(sorted(pair)) for pair in listed(pairs))


def test_plain_pairs_stay_as_they_are_grouped_by_their_left_product():
    pairs = pairs_of("pairs", [("c", "a"), ("b", "d"), ("c", "d"), ("c", "a")])["swap"]
    assert listed(pairs) == [(1, 3), (2, 0), (2, 0), (2, 3)]
    assert pairs.ordered
    assert pairs.group_P.tolist() == [1, 0, 1, 1]
    assert pairs.pairs_there == 4


def test_unknown_products_are_counted_once_each_and_a_product_with_itself_is_no_pair():
    pairs = pairs_of("pairs", [("a", "x"), ("y", "x"), ("a", "a"), ("a", "b")])["swap"]
    assert listed(pairs) == [(0, 1)]
    assert (pairs.unknown_items, pairs.unknown_rows, pairs.pairs_there) == (2, 2, 1)


def test_a_basket_gives_every_pair_of_different_products_once():
    rows = [("s", "a"), ("s", "b"), ("s", "c"), ("s", "a"), ("t", "b"), ("t", "x"), ("t", "d"), ("u", "e")]
    pairs = pairs_of("baskets", rows)["same_basket"]
    assert unordered(pairs) == [(0, 1), (0, 2), (1, 2), (1, 3)]
    assert not pairs.ordered
    assert sorted(np.bincount(pairs.group_P).tolist()) == [1, 3]
    assert (pairs.unknown_items, pairs.unknown_rows, pairs.pairs_there) == (1, 1, 4)


def test_judgments_pair_the_exact_products_of_a_query_with_those_of_each_label():
    rows = [
        ("tea", "a", "E"), ("tea", "b", "E"), ("tea", "c", "S"), ("tea", "d", "I"), ("tea", "e", "I"),
        ("milk", "f", "E"), ("milk", "c", "S"), ("soap", "g", "C"),
    ]  # fmt: skip
    pairs = pairs_of("judgments", rows)
    assert list(pairs) == ["query_EE", "query_ES", "query_EC", "query_EI"]
    assert unordered(pairs["query_EE"]) == [(0, 1)]
    assert listed(pairs["query_ES"]) == [(0, 2), (1, 2), (5, 2)]
    assert listed(pairs["query_EC"]) == []
    assert listed(pairs["query_EI"]) == [(0, 3), (0, 4), (1, 3), (1, 4)]
    assert [each.ordered for each in pairs.values()] == [False, True, True, True]
    groups = dict(zip(zip(pairs["query_ES"].left_P, pairs["query_ES"].right_P, strict=True), pairs["query_ES"].group_P, strict=True))
    assert groups[0, 2] == groups[1, 2] != groups[5, 2]


def test_a_product_judged_twice_pairs_not_with_itself():
    pairs = pairs_of("judgments", [("tea", "a", "E"), ("tea", "a", "S"), ("tea", "b", "S")])["query_ES"]
    assert listed(pairs) == [(0, 1)]
    assert pairs.pairs_there == 1


def test_a_huge_basket_gives_as_many_pairs_as_any_large_one_all_different_and_drawn_by_seed():
    names = [str(number) for number in range(3000)]
    coded, rows = item_keys(pa.array(names)), [("s", name) for name in names] + [("t", "1"), ("t", "2")]
    pairs = pairs_of("baskets", rows, coded)["same_basket"]
    assert len(set(unordered(pairs))) == len(pairs.left_P)
    assert sorted(np.bincount(pairs.group_P).tolist()) == [1, MOST_PAIRS_PER_GROUP]
    assert pairs.pairs_there == 3000 * 2999 // 2 + 1
    assert listed(pairs_of("baskets", rows, coded)["same_basket"]) == listed(pairs)
    assert listed(pairs_of("baskets", rows, coded, seed=1)["same_basket"]) != listed(pairs)


def test_the_pairs_of_a_large_query_are_drawn_from_all_of_them():
    names = [str(number) for number in range(60)]
    rows = [("tea", name, "E" if place < 20 else "I") for place, name in enumerate(names)]
    pairs = pairs_of("judgments", rows, item_keys(pa.array(names)))["query_EI"]
    assert len(set(listed(pairs))) == MOST_PAIRS_PER_GROUP
    assert pairs.pairs_there == 20 * 40
    assert set(pairs.left_P.tolist()) == set(range(20))
    assert set(pairs.right_P.tolist()) <= set(range(20, 60))
    assert len(set(pairs.right_P.tolist())) > 35


@pytest.mark.parametrize("kind", ["pairs", "baskets"])
def test_of_too_many_pairs_whole_groups_are_drawn(kind):
    if kind == "pairs":
        rows = [(left, right) for left in "abcdefgh" for right in "abcdefgh" if left != right]  # 8 groups of 7
        size, there = 7, 56
    else:
        rows = [(basket, item) for basket in "stuvwxyz" for item in "abcd"]  # 8 groups of 6
        size, there = 6, 48
    (pairs,) = pairs_of(kind, rows, most_pairs=20).values()
    counts = np.bincount(pairs.group_P)
    assert (counts == size).all()
    assert 20 <= counts.sum() < 20 + size
    assert pairs.pairs_there == there


def test_without_a_coded_product_there_are_no_pairs():
    for kind in ("pairs", "baskets"):
        (pairs,) = pairs_of(kind, [("x", "y"), ("x", "z")]).values()
        assert (len(pairs.left_P), len(pairs.group_P), pairs.pairs_there) == (0, 0, 0)
        assert pairs.unknown_items == (3 if kind == "pairs" else 2)
