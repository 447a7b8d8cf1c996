"""Slices of the targets."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from shelfcode.catalog.taxonomy import build_taxonomy
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.evaluation.product_facts import SLICES, cold_brands, product_facts, sales_parts, target_slices


def test_head_middle_and_tail_follow_the_sales_and_the_least_sold_the_products() -> None:
    parts = sales_parts(np.array([1, 30, 20, 0, 25, 15, 4, 3, 2, 0]))
    # Of 100 sold, best first: 30, 25 begin below 50; 20, 15 (from 55 and 75) below 80; the rest begins at 90.
    assert {name: np.flatnonzero(part).tolist() for name, part in parts.items()} == {
        "head": [1, 4], "middle": [2, 5], "tail": [0, 6, 7, 8], "tail80": [0, 2, 5, 6, 7, 8], "cold": [3, 9],
    }  # fmt: skip


def test_equally_sold_products_are_all_among_the_least_sold() -> None:
    assert sales_parts(np.array([3, 3, 0, 3]))["tail80"].tolist() == [True, True, False, True]


def test_nothing_sold_is_all_cold() -> None:
    parts = sales_parts(np.zeros(3, np.int64))
    assert {name for name, part in parts.items() if part.any()} == {"cold"}


def test_a_brand_is_cold_when_none_of_its_products_was_sold() -> None:
    facts = product_facts(np.array([5, 0, 0, 0]), pa.chunked_array([["a", "a"], ["b", None]]))
    assert cold_brands(facts).tolist() == [False, False, True, False]


def test_places_in_the_tree() -> None:
    taxonomy = build_taxonomy(np.array([0, 1, 2, -1]), [("Food", "Tea"), ("Food", "Jam"), ("Home",)])
    facts = product_facts(np.zeros(4, np.int64), None, taxonomy)
    assert facts.leaf_N.tolist() == [0, 1, 2, -1]
    assert facts.parent_N[0] == facts.parent_N[1] == facts.department_N[0] == facts.department_N[1]
    assert facts.parent_N[2] == facts.department_N[2] != facts.department_N[0]
    assert (facts.parent_N[3], facts.department_N[3], facts.brand_N[3]) == (-1, -1, -1)


def test_each_target_is_put_into_its_slices(cases_of: Callable[..., Cases]) -> None:
    cases = cases_of([[0], [1]], [[1, 2, 3], [2, -1]], histories=[[2, 2], [0, 1]])
    taxonomy = build_taxonomy(np.array([0, 0, 0, -1]), [("Food", "Tea")])
    facts = product_facts(np.array([6, 3, 1, 0]), pa.chunked_array([["a", "a", "a", "b"]]), taxonomy)
    slices = target_slices(cases, facts)
    assert list(slices) == list(SLICES)
    assert {name: np.flatnonzero(part).tolist() for name, part in slices.items()} == {
        "head": [], "middle": [0], "tail": [1, 3], "tail80": [0, 1, 3], "cold": [2], "cold_brand": [2], "new_to_household": [0, 2, 3, 4],
        "without_leaf": [2],
    }  # fmt: skip


def test_what_the_user_had_in_all_of_training_is_not_new(cases_of: Callable[..., Cases]) -> None:
    cases = cases_of([[0], [1]], [[1, 2, 3], [2, -1]], histories=[[2, 2], [0, 1]])
    facts = product_facts(np.array([6, 3, 1, 0]))
    own = csr_array(np.array([[0, 1, 1, 0], [0, 0, 1, 0]], np.float32))
    assert target_slices(cases, facts, own)["new_to_household"].tolist() == [False, False, True, False, True]
