"""Controls are what they are called: planted sets hold so many strangers, shuffled sets one product of any leaf."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.judge.controls import (
    BASKET,
    DOSES,
    LEAF,
    POPULAR,
    SHUFFLED,
    TWINS,
    WORDLESS,
    group_controls,
    leaf_controls,
    planted,
)
from shelfcode.evaluation.judge.sets import JudgedCatalog, title_words


def test_planted_sets_hold_so_many_products_from_other_departments(catalog: JudgedCatalog) -> None:
    controls = leaf_controls(catalog, leaves=12, products=8, seed=0)
    leaf_N = catalog.taxonomy.leaf_of_N
    by_kind = {kind: [each for each in controls if each.kind == kind] for kind in {each.kind for each in controls}}
    assert all(len(set(leaf_N[list(each.members)])) == 1 for each in by_kind[LEAF] + by_kind[TWINS])
    for dose in DOSES:
        for plain, mixed in zip(by_kind[LEAF], by_kind[planted(dose)], strict=True):
            own = leaf_N[plain.members[0]]
            strangers = [row for row in mixed.members if leaf_N[row] != own]
            assert len(strangers) == dose
            assert all(leaf_N[row] // 5 != own // 5 for row in strangers)
    assert all(len(set(leaf_N[list(each.members)])) == 8 for each in by_kind[SHUFFLED])
    leaf_products = {row for each in by_kind[LEAF] for row in each.members}
    assert all(set(each.members) <= leaf_products for each in by_kind[SHUFFLED])


def test_sets_of_a_leaf_without_a_word_in_common(catalog: JudgedCatalog) -> None:
    assert all(each.kind != WORDLESS for each in leaf_controls(catalog, leaves=12, products=8, seed=0))  # all titles of a leaf name it
    words = ["".join(chr(97 + int(digit)) for digit in f"{number:03d}") for number in range(len(catalog.item_keys_N))]
    titles = [f"{word} {words[(number // 2) * 2]}x" for number, word in enumerate(words)]  # two products each share a word
    other = replace(catalog, titles=pa.chunked_array([pa.array(titles)]))
    found = [each for each in leaf_controls(other, leaves=12, products=8, seed=0) if each.kind == WORDLESS]
    assert len(found) == 12
    for each in found:
        said = [word for row in each.members for word in title_words(titles[row])]
        assert len(said) == len(set(said))


def test_a_catalog_with_too_few_leaves_is_refused(catalog: JudgedCatalog) -> None:
    flat = replace(catalog, taxonomy=taxonomy_from_paths([["all"]] * len(catalog.item_keys_N)))
    with pytest.raises(ShelfcodeError, match=r"only 1 leaves of the catalog have 8 products that differ"):
        leaf_controls(flat, leaves=12, products=8, seed=0)
    with pytest.raises(ShelfcodeError, match="category paths"):
        leaf_controls(replace(catalog, taxonomy=taxonomy_from_paths([None] * len(catalog.item_keys_N))), leaves=12, products=8, seed=0)


def test_baskets_and_products_as_popular_come_in_pairs(catalog: JudgedCatalog) -> None:
    groups = {f"basket {number}": np.arange(number * 20, number * 20 + 12) for number in range(15)}
    controls = group_controls(catalog, groups, (BASKET, POPULAR), most=10, products=8, seed=0)
    assert [each.kind for each in controls] == [BASKET, POPULAR] * 10
    for each in controls:
        inside = [name for name, rows in groups.items() if set(each.members) <= set(rows.tolist())]
        assert bool(inside) == (each.kind == BASKET)
