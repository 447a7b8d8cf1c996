"""An item_id is the same text wherever it comes from, or is refused with a reason; never two products by one id, nor one by two."""

import decimal
import uuid

import pyarrow as pa
import pytest

from shelfcode.catalog.cells.item_ids import item_id_texts, known_item_ids

UUIDS = [uuid.UUID(int=0), uuid.UUID(int=59), uuid.UUID("21636369-8b52-4b4a-97b7-50923ceb3ffd")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([4006381333931.0, None, float("nan"), 17.0, float(2**53)]), ["4006381333931", None, None, "17", "9007199254740992"]),
        (pa.array(["4006381333931.0", "1.0", "4006381333931", "1.10"]), ["4006381333931", "1.0", "4006381333931", "1.10"]),
        (pa.array([decimal.Decimal("4006381333931.00"), decimal.Decimal("7.00")]), ["4006381333931", "7"]),
        (pa.array([2**63, 1], pa.uint64()), ["9223372036854775808", "1"]),
        (pa.array(["a\u200b1", "\ufeffa1", " a1\u00a0", "a1\u2060", "a\u00ad1"]), ["a1"] * 5),
        (pa.array(["Caf\u00e9", "Cafe\u0301"]), ["Caf\u00e9"] * 2),
        (pa.array(["\u200b", "  ", ""]), [None] * 3),
        (pa.array(["1E5", "12E34"]), ["1E5", "12E34"]),
        (pa.array(["a", "b"], pa.string_view()), ["a", "b"]),
        (pa.array([b"a", b"b"], pa.binary_view()), ["a", "b"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([b"SKU-00000000-001"], pa.binary(16)), ["SKU-00000000-001"]),
        (pa.array([value.bytes for value in UUIDS], pa.binary(16)), list(map(str, UUIDS))),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([v.bytes for v in UUIDS], pa.binary(16))), list(map(str, UUIDS))),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_an_id_of_any_type_becomes_the_text_that_it_stands_for(values: pa.Array, expected: list[str | None]) -> None:
    texts, reasons = item_id_texts(values)
    assert texts.to_pylist() == expected
    assert reasons == {}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([1.5]), "item_id is a number with a fraction"),
        (pa.array(["4006381333931.5"]), "item_id is a number with a fraction"),
        (pa.array([2.0**53 + 2]), "item_id is a number too large for double to be exact"),
        (pa.array([4006381333931.0], pa.float32()), "item_id is a number too large for float to be exact"),
        (pa.array([float("inf")]), "item_id is a number too large for double to be exact"),
        (pa.array(["4.006381333931E12"]), "item_id is a rounded number, whose last digits are lost; export it as text"),
        (pa.array(["4.00638E+12"]), "item_id is a rounded number, whose last digits are lost; export it as text"),
        (pa.array([UUIDS[1].bytes], pa.binary()), "item_id has control characters; are these bytes, and not text"),
        (pa.array([UUIDS[2].bytes], pa.binary()), "item_id is not UTF-8"),
        (pa.array([b"\x00\x01\x02\x03"], pa.binary(4)), "item_id is 4 bytes that are no text"),
        (pa.array([["a"]]), "item_id is a list<string>, expected text"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_an_id_that_lost_something_on_its_way_is_refused(values: pa.Array, reason: str) -> None:
    assert item_id_texts(values)[1] == {0: reason}


def test_tables_that_name_products_have_no_id_where_a_catalog_could_have_none() -> None:
    assert known_item_ids(pa.array([4006381333931.0, 1.5, None])).to_pylist() == ["4006381333931", None, None]
    assert known_item_ids(pa.array([" Cafe\u0301\u200b-1 ", "4.00638E+12"])).to_pylist() == ["Caf\u00e9-1", None]
