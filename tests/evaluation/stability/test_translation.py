import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from shelfcode.evaluation.stability.translation import code_texts, prefix_pairs, prefix_translation
from shelfcode.index.translation_table import TRANSLATION_SCHEMA, translate
from shelfcode.semantic_id import format_many

OLD_NL = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [1, 0]], np.uint16)
NEW_NL = np.array([[5, 2], [5, 2], [5, 3], [7, 0], [7, 0], [7, 0]], np.uint16)


@pytest.fixture
def table():
    return prefix_translation(OLD_NL, NEW_NL)


def test_a_prefix_goes_where_its_products_went(table):
    assert table.schema == TRANSLATION_SCHEMA
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (1, "0", "5", 3, 0.75, 1.0),
        (1, "0", "7", 1, 0.25, 1 / 3),
        (1, "1", "7", 2, 1.0, 2 / 3),
        (2, "0_0", "5_2", 2, 2 / 3, 1.0),
        (2, "0_0", "5_3", 1, 1 / 3, 1.0),
        (2, "0_1", "7_0", 1, 1.0, 1 / 3),
        (2, "1_0", "7_0", 2, 1.0, 2 / 3),
    ]


def test_the_weights_of_every_prefix_add_up_to_one_in_its_own_direction():
    rng = np.random.default_rng(0)
    table = prefix_translation(rng.integers(0, 6, (500, 3)), rng.integers(0, 9, (500, 3)))
    for side, weight in (("old", "old_to_new"), ("new", "new_to_old")):
        sums = defaultdict(float)
        for row in table.to_pylist():
            sums[row[side]] += row[weight]
        assert len(sums) > 200
        assert list(sums.values()) == pytest.approx([1.0] * len(sums))
    for level in (1, 2, 3):
        assert sum(row["products"] for row in table.to_pylist() if row["level"] == level) == 500


def test_codes_that_did_not_change_translate_to_themselves():
    rows = prefix_translation(OLD_NL, OLD_NL).to_pylist()
    assert rows
    assert all(row["old"] == row["new"] and row["old_to_new"] == row["new_to_old"] == 1 for row in rows)


def test_levels_that_one_release_lacks_are_not_translated():
    assert prefix_translation(OLD_NL, NEW_NL[:, :1])["level"].unique().to_pylist() == [1]


def test_without_products_the_table_is_empty():
    table = prefix_translation(OLD_NL[:0], NEW_NL[:0])
    assert len(table) == 0
    assert table.schema == TRANSLATION_SCHEMA
    assert translate(table, ["0"]) == {"0": []}


def test_texts_of_codes_are_those_of_semantic_ids():
    codes_NL = np.random.default_rng(0).integers(0, 65536, (50, 4)).astype(np.uint16)
    assert code_texts(codes_NL).to_pylist() == format_many(codes_NL)
    assert code_texts(codes_NL[:, :1]).to_pylist() == format_many(codes_NL[:, :1])


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, (3, 5, 7), (200, 3)).astype(np.uint16) for _ in range(2))


@pytest.mark.parametrize("depths", [1, 3])
def test_every_pair_that_a_product_has_is_counted_at_every_depth(codes, depths):
    old_NL, new_NL = codes
    found = list(prefix_pairs(old_NL, new_NL, depths))
    assert len(found) == depths
    for depth, pairs in enumerate(found, start=1):
        expected = Counter((*old, *new) for old, new in zip(old_NL[:, :depth].tolist(), new_NL[:, :depth].tolist(), strict=True))
        rows = [tuple(row) for row in np.hstack([pairs.old_PL, pairs.new_PL]).tolist()]
        assert rows == sorted(expected)
        assert pairs.products_P.tolist() == [expected[row] for row in rows]
        olds = Counter(map(tuple, old_NL[:, :depth].tolist()))
        news = Counter(map(tuple, new_NL[:, :depth].tolist()))
        assert [int(pairs.old_size_O[number]) for number in pairs.old_P] == [olds[row[:depth]] for row in rows]
        assert [int(pairs.new_size_Q[number]) for number in pairs.new_P] == [news[row[depth:]] for row in rows]
        assert pairs.same_P.tolist() == [row[:depth] == row[depth:] for row in rows]


def test_eight_levels_of_the_largest_codebooks_are_no_more_than_an_integer_holds():
    old_NL = np.full((3, 8), 65535, np.uint16)
    new_NL = old_NL.copy()
    new_NL[1, 7] = 0
    (*_, last) = prefix_pairs(old_NL, new_NL, 8)
    assert last.products_P.tolist() == [1, 2]
    assert last.same_P.tolist() == [False, True]


def test_without_products_there_are_no_pairs():
    none_NL = np.empty((0, 2), np.uint16)
    assert [len(pairs.products_P) for pairs in prefix_pairs(none_NL, none_NL, 2)] == [0, 0]


def test_the_examples_of_the_documentation_give_what_it_says():
    text = (Path(__file__).parents[3] / "docs/stability.md").read_text()
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert names["rates"] == pytest.approx({"5": 0.04, "7": 0.02})
    assert names["seen"] == pytest.approx({"5_2": 2 / 3, "5_3": 1 / 3, "7_0": 1})
