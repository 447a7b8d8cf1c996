"""A session's products are found in any list, and in texts that hold one."""

import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.product_lists import ids_of_text, product_lists


@pytest.mark.parametrize(("text", "ids"), [
    ('["a b","c|d", null]', ["a b", "c|d", None]),
    ("[4006381333931, 7.0]", ["4006381333931", "7.0"]),
    ("['a', 'b']", ["a", "b"]),
    ("['a' 'b'\n 'c']", ["a", "b", "c"]),
    ("[1 2]", ["1", "2"]),
    ("a b|c", ["a b", "c"]),
    ("a, b;c  d", ["a", "b", "c", "d"]),
    ("a|", ["a"]),
    ("007", ["007"]),
    ("[]", []),
    (" ", []),
])  # fmt: skip
def test_texts_that_hold_lists(text: str, ids: list[str]) -> None:
    assert ids_of_text(text) == ids


@pytest.mark.parametrize("kind", [
    pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.string(), 2), pa.list_view(pa.string()), pa.list_(pa.int64()),
    pa.list_(pa.dictionary(pa.int8(), pa.string())),
])  # fmt: skip
def test_lists_of_every_type(kind: pa.DataType) -> None:
    ids: list[object] = [1, 2] if pa.types.is_integer(kind.value_type) else ["1", "2"]
    lists, bad = product_lists(pa.array([ids, None], kind), "the column")
    assert (lists.to_pylist(), bad) == ([ids, None], {})
    assert pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)


def test_bytes_that_are_no_text_are_told_and_a_single_id_is_no_list() -> None:
    lists, bad = product_lists(pa.array([b"a|b", b"\xff", None]), "the column")
    assert (lists.to_pylist(), list(bad)) == ([["a", "b"], None, None], [1])
    assert product_lists(pa.nulls(1), "the column")[0].to_pylist() == [None]
    with pytest.raises(ShelfcodeError, match=r"baskets.parquet: column 'items' is a int64"):
        product_lists(pa.array([1]), "baskets.parquet: column 'items'")
