"""Rows come to the catalog's columns unchanged in meaning, or are turned away with a reason that says where they stood."""

import json
from typing import Any

import pyarrow as pa
import pytest

from shelfcode.catalog.rejected import rejected_table
from shelfcode.catalog.schema import CATALOG_COLUMNS, check_columns, normalise
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.errors import ShelfcodeError

PLAIN = CatalogSettings()
SEPARATED = CatalogSettings(category_separator=" > ")


def brought(columns: dict[str, Any], settings: CatalogSettings = PLAIN) -> tuple[list[dict[str, Any]], list[str]]:
    table, rejected = normalise(pa.table(columns), settings, lambda row: f"row {row + 101} of shop.parquet")
    for name, kind in CATALOG_COLUMNS.items():
        assert table.schema.field(name).type == kind
    assert len(table) + len(rejected) == len(next(iter(columns.values())))
    return table.to_pylist(), [row.reason for row in rejected]


def test_a_full_product_comes_through_as_it_is() -> None:
    product = {
        "item_id": "007", "title": "Oat milk", "description": "Creamy", "brand": "Oatly", "category_path": ["Dairy", "Milk"], "price": 2.5,
    }  # fmt: skip
    assert brought({name: [value] for name, value in product.items()}) == ([product], [])


def test_columns_that_a_source_lacks_are_null() -> None:
    rows, _ = brought({"item_id": ["1"], "title": ["Milk"]})
    assert rows == [{"item_id": "1", "title": "Milk", "description": None, "brand": None, "category_path": None, "price": None}]


def test_white_space_is_trimmed_and_blank_is_missing() -> None:
    titles = ["\tMilk\n", " \u00a0 ", "c", "d"]
    rows, reasons = brought({"item_id": [" 1 ", "2", " ", None], "title": titles, "brand": ["  ", "b", "c", "d"]})
    assert [(row["item_id"], row["title"], row["brand"]) for row in rows] == [("1", "Milk", None)]
    assert reasons == [
        "title is blank: row 102 of shop.parquet",
        "item_id is blank: row 103 of shop.parquet",
        "item_id is missing: row 104 of shop.parquet",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array([b"a", "ü".encode()], pa.binary()), ["a", "ü"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ],
)
def test_item_ids_of_any_plain_type_become_text(values: pa.Array, expected: list[str]) -> None:
    rows, reasons = brought({"item_id": values, "title": ["x", "y"]})
    assert [row["item_id"] for row in rows] == expected
    assert reasons == []


def test_text_that_is_not_utf8_costs_its_own_row_only() -> None:
    titles = pa.array([b"Milk", b"Caf\xe9", b"Bread"], pa.binary())
    for values in (titles, titles.view(pa.string())):  # Parquet says text and does not look
        rows, reasons = brought({"item_id": ["1", "2", "3"], "title": values})
        assert [row["title"] for row in rows] == ["Milk", "Bread"]
        assert reasons == ["title is not UTF-8: row 102 of shop.parquet"]


def test_a_rejected_row_keeps_what_it_said_as_json() -> None:
    raw = pa.table({"item_id": ["1"], "title": pa.array([b"Caf\xe9"], pa.binary()), "size": [3]})
    _, rejected = normalise(raw, PLAIN, "row {} of f".format)
    row = rejected_table(rejected).to_pylist()[0]
    assert (row["item_id"], row["stage"]) == ("1", "catalog")
    assert json.loads(row["row"]) == {"item_id": "1", "title": "Caf\ufffd", "size": 3}


def test_a_title_that_is_a_list_rejects_its_row() -> None:
    rows, reasons = brought({"item_id": ["1", "2"], "title": [["Milk"], None]})
    assert rows == []
    assert reasons == [
        "title is a list<string>, expected text: row 101 of shop.parquet",
        "title is missing: row 102 of shop.parquet",
    ]


def test_a_category_path_is_split_trimmed_and_rid_of_blanks() -> None:
    values = ["Dairy > Milk", " Dairy>Milk ", "Dairy >  > Milk", "", " > ", None]
    rows, _ = brought({"item_id": list("abcdef"), "title": list("abcdef"), "category_path": values}, SEPARATED)
    assert [row["category_path"] for row in rows] == [["Dairy", "Milk"], ["Dairy>Milk"], ["Dairy", "Milk"], None, None, None]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_a_category_path_that_is_a_list_is_rid_of_blanks(kind: pa.DataType) -> None:
    values = pa.array([["Dairy", " Milk "], [], [None, ""], None], kind)
    rows, _ = brought({"item_id": list("abcd"), "title": list("abcd"), "category_path": values})
    assert [row["category_path"] for row in rows] == [["Dairy", "Milk"], None, None, None]


def test_a_category_path_with_dictionary_encoding_is_read_as_the_text_it_is() -> None:
    values = pa.array(["Dairy > Milk", "Home"]).dictionary_encode()
    check_columns(pa.schema({"item_id": pa.string(), "title": pa.string(), "category_path": values.type}), SEPARATED, "f")
    rows, _ = brought({"item_id": ["1", "2"], "title": ["a", "b"], "category_path": values}, SEPARATED)
    assert [row["category_path"] for row in rows] == [["Dairy", "Milk"], ["Home"]]


def test_a_category_path_of_a_wrong_type_rejects_the_rows_that_have_one() -> None:
    rows, reasons = brought({"item_id": ["1", "2"], "title": ["a", "b"], "category_path": [17, None]})
    assert [row["item_id"] for row in rows] == ["2"]
    assert len(reasons) == 1
    assert "category_path is a int64, expected a list of strings" in reasons[0]


def test_a_price_is_read_from_numbers_and_from_text() -> None:
    rows, reasons = brought({"item_id": list("abcde"), "title": list("abcde"), "price": ["1.50", " 2 ", "cheap", None, "1,5"]})
    assert [(row["item_id"], row["price"]) for row in rows] == [("a", 1.5), ("b", 2.0), ("d", None)]
    assert reasons == [
        "price is not a number: 'cheap', row 103 of shop.parquet",
        "price is not a number: '1,5', row 105 of shop.parquet",
    ]
    assert [row["price"] for row in brought({"item_id": ["1"], "title": ["a"], "price": [3]})[0]] == [3.0]


def test_other_columns_ride_along_under_their_own_name_and_with_their_own_value() -> None:
    image = b"\x89PNG\xff"
    rows, reasons = brought({
        "item_id": ["1"], "title": ["a"], "rating": [4], "tags": [["x", "y"]], "image": [image], "note": pa.array([b"new"], pa.binary()),
    })  # fmt: skip
    assert {name: rows[0][name] for name in ("rating", "tags", "image", "note")} == {
        "rating": 4, "tags": ["x", "y"], "image": image, "note": "new",
    }  # fmt: skip
    assert reasons == []


def test_a_mapping_renames_the_sources_columns_and_wins_over_its_own() -> None:
    settings = CatalogSettings(columns={"title": "name", "item_id": "sku"})
    rows, _ = brought({"sku": ["1"], "name": ["Milk"], "title": ["old"], "brand": ["b"]}, settings)
    assert rows[0]["item_id"] == "1"
    assert rows[0]["title"] == "Milk"
    assert "name" not in rows[0]


def test_a_missing_column_is_named_with_those_found_and_the_mapping_to_write() -> None:
    with pytest.raises(ShelfcodeError) as raised:
        check_columns(pa.schema({"sku": pa.string(), "title": pa.string()}), PLAIN, "shop.csv")
    message = str(raised.value)
    assert "shop.csv has no column 'item_id'" in message
    assert "Columns found: sku, title" in message
    assert "--set catalog.columns.item_id=THEIR_NAME" in message
    assert "catalog.columns: {item_id: THEIR_NAME}" in message


def test_a_mapping_to_a_column_that_is_not_there_is_refused_even_for_an_optional_one() -> None:
    schema = pa.schema({"item_id": pa.string(), "title": pa.string()})
    with pytest.raises(ShelfcodeError, match="no column 'maker' for brand"):
        check_columns(schema, CatalogSettings(columns={"brand": "maker"}), "f")
    check_columns(schema, PLAIN, "f")


def test_one_string_for_a_category_path_needs_a_declared_separator() -> None:
    schema = pa.schema({"item_id": pa.string(), "title": pa.string(), "category_path": pa.string()})
    with pytest.raises(ShelfcodeError, match=r"no separator is declared.*catalog\.category_separator"):
        check_columns(schema, PLAIN, "f")
    check_columns(schema, SEPARATED, "f")


def test_a_category_path_that_can_never_be_read_is_refused_before_any_row() -> None:
    schema = pa.schema({"item_id": pa.string(), "title": pa.string(), "category_path": pa.int64()})
    with pytest.raises(ShelfcodeError, match="category_path is a int64"):
        check_columns(schema, SEPARATED, "f")
