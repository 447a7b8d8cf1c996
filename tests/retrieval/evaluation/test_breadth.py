"""What lists show."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.catalog.taxonomy import build_taxonomy
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.evaluation.breadth import SHOWN, drift, faults, shown, variety
from shelfcode.retrieval.evaluation.product_facts import product_facts
from shelfcode.retrieval.evaluation.retailer_products import RetailerProducts
from shelfcode.retrieval.lists import Lists

MakeContexts, MakeLists = Callable[..., Contexts], Callable[..., Lists]

PATHS = [("Food", "Drinks", "Tea"), ("Food", "Drinks", "Milk"), ("Food", "Bread"), ("Home", "Soap")]
TAXONOMY = build_taxonomy(np.array([0, 0, 1, 2, 3, 3, -1, -1]), PATHS)
FACTS = product_facts(np.zeros(8, np.int64), pa.chunked_array([["a", "b", "a", None, "c", "c", "d", None]]), TAXONOMY)


def test_distinct_products_leaves_and_brands(lists_of: MakeLists) -> None:
    lists = lists_of([[0, 1, 2], [0, 3, 7], [6]])
    all_lists = shown(lists, FACTS)
    assert (all_lists.products, all_lists.leaves, all_lists.brands, all_lists.coverage) == (6, 3, 3, 6 / 8)
    of_one = variety(lists, FACTS)
    assert of_one["leaves_a_list"].tolist() == [2, 2, 0]
    assert of_one["brands_a_list"].tolist() == [2, 1, 1]


def test_only_the_first_results_are_shown(lists_of: MakeLists) -> None:
    assert shown(lists_of([[0] * SHOWN + [1]]), FACTS).products == 1


def test_drift_is_what_has_nothing_in_common_with_the_cart(contexts_of: MakeContexts, lists_of: MakeLists) -> None:
    # In the cart tea; results: tea, milk (a sibling), bread (of the department), soap, and one without a path, which does not count.
    away = drift(lists_of([[1, 2, 3, 4, 6], [4, 5], [0]]), contexts_of([[0], [2, 4], [6]]), FACTS)
    assert away["no_leaf_of_cart"] == pytest.approx([3 / 4, 0, np.nan], nan_ok=True)
    assert away["no_parent_of_cart"] == pytest.approx([2 / 4, 0, np.nan], nan_ok=True)
    assert away["no_department_of_cart"] == pytest.approx([1 / 4, 0, np.nan], nan_ok=True)


def test_how_alike_the_results_of_a_list_are(contexts_of: MakeContexts, lists_of: MakeLists) -> None:
    # Two teas, milk and soap: one of six pairs has a leaf in common, three have the department.
    alike = drift(lists_of([[0, 1, 2, 4, 7], [0, 7]]), contexts_of([[3], [3]]), FACTS)
    assert alike["pairs_of_a_leaf"] == pytest.approx([1 / 6, np.nan], nan_ok=True)
    assert alike["pairs_of_a_department"] == pytest.approx([3 / 6, np.nan], nan_ok=True)


def test_faults_are_counted(contexts_of: MakeContexts, lists_of: MakeLists) -> None:
    allowed = RetailerProducts(np.array([0, 3, 5]), np.array([0, 1, 2, 3, 4], np.int32), np.zeros(6, bool))
    # Retailer 0 has 0, 1, 2 and retailer 1 has 3, 4; nobody has 5.
    counted = faults(lists_of([[1, 1, 3], [4], [5, 0]]), contexts_of([[0, 0], [3], [0]], [0, 1, -1]), allowed)
    # Request 0: 3 is not allowed, 1 comes twice, three places are filled. Request 1: 4 is all there is. Request 2: 0 is in the cart, and of
    # the five others one more could be named.
    assert (counted.results, counted.not_allowed, counted.in_cart, counted.doubled, counted.missing) == (6, 1, 1, 1, 1)
    assert counted.total == 4


def test_lists_without_faults_have_none(contexts_of: MakeContexts, lists_of: MakeLists) -> None:
    allowed = RetailerProducts(np.array([0, 2]), np.array([0, 1], np.int32), np.array([False, False, True]))
    assert faults(lists_of([[2, 1], [1, 2]]), contexts_of([[0], [0]], [0, 0]), allowed).total == 0
