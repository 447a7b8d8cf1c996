"""Cases from a table."""

from datetime import datetime

import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.keys import item_keys
from shelfcode.retrieval.evaluation.case_table import cases_from_table

KEYS = item_keys(pa.array(["a", "b", "c", "d"]))


def test_products_users_retailers_and_times_become_numbers() -> None:
    table = pa.table({
        "user_id": ["u2", "u1", None], "retailer_id": ["x", "unknown", "y"], "at": [datetime(1970, 1, 1, 0, 1), None, datetime(1970, 1, 2)],
        "history": [["a", "gone", "a"], None, []], "cart": [["b"], ["gone", "c"], ["a"]],
        "targets": [["c", "d"], ["gone", "d", "other"], ["b"]],
    })  # fmt: skip
    cases = cases_from_table(table, KEYS, retailers=["x", "y"])
    assert cases.contexts.history_first_R.tolist() == [0, 2, 2, 2]
    assert cases.contexts.history_H.tolist() == [0, 0]
    assert cases.contexts.cart_C.tolist() == [1, 2, 0]
    assert cases.contexts.retailer_R.tolist() == [0, -1, 1]
    assert cases.contexts.surface_R.tolist() == [-1, -1, -1]
    assert cases.contexts.at_R.tolist() == [60, NO_TIME, 86400]
    assert cases.user_R.tolist() == [1, 0, -1]
    assert cases.target_first_R.tolist() == [0, 2, 5, 6]
    assert cases.target_T.tolist() == [2, 3, -1, 3, -1, 1]


def test_a_target_in_the_cart_or_named_twice_is_left_out() -> None:
    cases = cases_from_table(pa.table({"cart": [["a", "b"]], "targets": [["b", "c", "c", "d"]]}), KEYS)
    assert cases.target_T.tolist() == [2, 3]


def test_users_keep_the_numbers_that_they_have() -> None:
    table = pa.table({"user_id": ["u1", "u9"], "cart": [["a"], ["a"]], "targets": [["b"], ["b"]]})
    assert cases_from_table(table, KEYS, users=["u0", "u1"]).user_R.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"cart": [["a"]]}, "no column 'targets'"),
        ({"cart": ["a"], "targets": [["a"]]}, "'cart' holds string"),
        ({"cart": [["a"]], "targets": [["b"]], "at": ["Monday"]}, "'at' holds string"),
    ],
)
def test_a_table_that_is_none_of_cases_is_refused(columns: dict[str, list[object]], told: str) -> None:
    with pytest.raises(ShelfcodeError, match=told):
        cases_from_table(pa.table(columns), KEYS)
