"""The sparse table and what is counted of it."""

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.evaluation.sparse.fields import Fields
from shelfcode.evaluation.sparse.sparse_products import SPARSE_SCHEMA, contrast, count_missing, sparse_table

FIELDS = Fields({"brand": ["A", None, None], "description": [None, "d", ""]})


def test_a_product_above_the_threshold_is_sparse_and_says_what_it_lacks() -> None:
    chances = np.array([[0.2, 0.5], [0.21, 0.3], [0.9, 0.95]], np.float32)
    table = sparse_table(pa.array(["a", "b", "c"]), np.array([4, 9, 1]), chances, FIELDS, threshold=0.2)
    assert table.schema == SPARSE_SCHEMA
    assert table["sparse"].to_pylist()[1:] == [True, True]
    assert table["missing"].to_pylist() == [["description"], ["brand"], ["brand", "description"]]
    assert table["p_change_l2"].to_pylist() == pytest.approx([0.5, 0.3, 0.95])
    counted = count_missing(table, list(FIELDS.values))
    assert (counted["brand"].products, counted["brand"].sparse) == (2, 2)
    assert counted["description"].products == 2


def test_two_flavors_are_held_against_each_other_on_the_products_of_both() -> None:
    a = pa.table({"item_id": ["a", "b", "c", "d", "e"], "sparse": [True, True, False, False, True]})
    b = pa.table({"item_id": ["d", "c", "b", "a", "z"], "sparse": [False, True, False, True, True]})
    found = contrast(a, b, "discovery@v0001")
    assert (found.products, found.both, found.only_release, found.only_against, found.neither) == (4, 1, 1, 1, 1)
