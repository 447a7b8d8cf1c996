"""Requests from a table."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.keys import index_keys, item_keys
from shelfcode.retrieval.context_table import contexts_from_table

PLACE_OF = index_keys(item_keys(pa.array(["a", "b", "c", "d"])))


def test_products_retailers_and_times_become_numbers_and_what_is_unknown_is_left_out_and_counted() -> None:
    table = pa.table({
        "case_id": [7, 8, 9], "user_id": ["u", None, "v"], "retailer_id": ["x", "unknown", None], "surface": ["home", "cart", "away"],
        "at": [datetime(1970, 1, 1, 0, 1), None, datetime(1970, 1, 2)], "history": [["a", "gone", "a"], None, []],
        "cart": [["b"], ["gone", "c"], [None]],
    })  # fmt: skip
    named = contexts_from_table(table, PLACE_OF, retailers=["x", "y"], surfaces=["cart", "home"])
    assert named.case_ids.to_pylist() == ["7", "8", "9"]
    assert named.unknown_products == 3
    assert named.unknown_retailer_R.tolist() == [False, True, False]
    contexts = named.contexts
    assert [contexts.history(row).tolist() for row in range(3)] == [[0, 0], [], []]
    assert [contexts.cart(row).tolist() for row in range(3)] == [[1], [2], []]
    assert contexts.retailer_R.tolist() == [0, -1, -1]
    assert contexts.surface_R.tolist() == [1, 0, -1]
    assert contexts.at_R.tolist() == [60, NO_TIME, 86400]
    assert contexts.history_H.dtype == contexts.cart_C.dtype == np.int32


def test_nothing_but_the_name_of_a_case_has_to_be_known() -> None:
    named = contexts_from_table(pa.table({"case_id": ["one", "two"]}), PLACE_OF)
    assert len(named.contexts) == 2
    assert named.contexts.history_first_R.tolist() == named.contexts.cart_first_R.tolist() == [0, 0, 0]
    assert named.contexts.at_R.tolist() == [NO_TIME, NO_TIME]
    assert not named.unknown_retailer_R.any()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"cart": [["a"]]}, "no column 'case_id'"),
        ({"case_id": ["one", None]}, "'case_id' is empty in row 2"),
        ({"case_id": ["one"], "history": ["a"]}, "'history' holds string"),
        ({"case_id": ["one"], "cart": [3]}, "'cart' holds int64"),
        ({"case_id": ["one"], "at": ["Monday"]}, "contexts: column 'at' holds string"),
    ],
)
def test_a_table_that_is_none_of_contexts_is_refused(columns: dict[str, list[object]], told: str) -> None:
    with pytest.raises(ShelfcodeError, match=told):
        contexts_from_table(pa.table(columns), PLACE_OF)
