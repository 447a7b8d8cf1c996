"""Rows come to the catalog's columns unchanged in meaning, or are turned away with a reason that says where they stood."""

import json
from typing import Any

import pyarrow as pa
import pytest

from shelfcode.catalog.rejected import rejected_table
from shelfcode.catalog.schema import CATALOG_COLUMNS, ORIGINAL, Note, check_columns, normalise, resolved
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.errors import ShelfcodeError

PLAIN = CatalogSettings()
SEPARATED = CatalogSettings(category_separator=" > ")


def brought(columns: dict[str, Any], settings: CatalogSettings = PLAIN) -> tuple[list[dict[str, Any]], list[str]]:
    converted = normalise(pa.table(columns), settings, lambda row: f"row {row + 101} of shop.parquet")
    table, rejected = converted.table.drop_columns(ORIGINAL), converted.rejected
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
    rejected = normalise(raw, PLAIN, "row {} of f".format).rejected
    row = rejected_table(rejected).to_pylist()[0]
    assert (row["item_id"], row["stage"]) == ("1", "catalog")
    assert json.loads(row["row"]) == {"item_id": "1", "title": "Caf\ufffd", "size": 3}


def test_lists_of_texts_are_joined_but_for_titles_of_which_there_can_be_one() -> None:
    rows, reasons = brought({
        "item_id": ["1", "2", "3", "4"], "title": [["Milk"], None, ["Milk", "Oats"], ["Rye"]], "brand": [["A", "B"], ["A"], [], [" ", "C"]],
        "description": [["Creamy.", None, " White. "], [], ["x"], None],
    })  # fmt: skip
    assert [(row["item_id"], row["title"], row["brand"], row["description"]) for row in rows] == [
        ("1", "Milk", "A, B", "Creamy.\nWhite."), ("4", "Rye", "C", None),
    ]  # fmt: skip
    assert reasons == [
        "title is missing: row 102 of shop.parquet",
        "title is a list of 2 texts, expected one: row 103 of shop.parquet",
    ]
    written = ['["Creamy.", "White."]', "['Creamy.', 'White.']", "[Creamy]", ""]
    rows, _ = brought({"item_id": list("abcd"), "title": list("abcd"), "description": written})
    assert [row["description"] for row in rows] == ["Creamy.\nWhite.", "Creamy.\nWhite.", "[Creamy]", None]


def test_html_is_taken_out_once_and_the_cells_that_had_any_are_kept_beside() -> None:
    raw = pa.table({
        "item_id": list("abc"), "title": ["Milk &amp; Honey", "AT&T <3", "a < b"], "description": ["<p>Hi</p><p>you</p>", None, "<br>"],
        "brand": ["Ben &#38; Jerry's", "R&D", "B"],
    })  # fmt: skip
    converted = normalise(raw, PLAIN, "row {}".format)
    rows = converted.table.to_pylist()
    assert [(row["title"], row["description"], row["brand"]) for row in rows] == [
        ("Milk & Honey", "Hi you", "Ben & Jerry's"), ("AT&T <3", None, "R&D"), ("a < b", None, "B"),
    ]  # fmt: skip
    assert [row[ORIGINAL] and json.loads(row[ORIGINAL]) for row in rows] == [
        {"title": "Milk &amp; Honey", "description": "<p>Hi</p><p>you</p>", "brand": "Ben &#38; Jerry's"}, None, {"description": "<br>"},
    ]  # fmt: skip
    assert {note: of.rows for note, of in converted.notes.items()} == {"HTML taken out of title, description or brand": 2}


def test_texts_without_html_stay_to_the_letter_so_that_nothing_is_embedded_anew() -> None:
    texts = ["Cre\u0301me  br\u00fbl\u00e9e", "soft\u00adhyphen \u200b", "a\n\tb", "\u202eevil\u202c milk", "AT&T < <3 & R&D;"]
    raw = pa.table({"item_id": list("abcde"), "title": texts, "description": texts, "brand": texts})
    converted = normalise(raw, PLAIN, "row {}".format)
    assert [converted.table[name].to_pylist() for name in ("title", "description", "brand")] == [texts] * 3
    assert converted.notes == {}
    assert converted.table[ORIGINAL].null_count == 5


def test_a_title_in_which_nothing_can_be_seen_is_blank() -> None:
    rows, reasons = brought({"item_id": ["1", "2", "3"], "title": ["\u200b\u200b", "\ufeff \u200e", "\u725b\u5976"]})
    assert [row["title"] for row in rows] == ["\u725b\u5976"]
    assert [reason.split(":")[0] for reason in reasons] == ["title is blank"] * 2


def test_one_column_may_be_two_of_the_catalogs() -> None:
    settings = CatalogSettings(columns={"title": "name", "description": "name", "brand": "title"})
    rows, _ = brought({"item_id": ["1"], "name": ["Milk"], "title": ["Acme"]}, settings)
    assert [(row["title"], row["description"], row["brand"]) for row in rows] == [("Milk", "Milk", "Acme")]
    assert "name" not in rows[0]


def test_what_a_source_calls_like_a_catalogs_column_stays_where_another_one_takes_it_too() -> None:
    rows, _ = brought({"item_id": ["1"], "title": ["Milk"]}, CatalogSettings(columns={"description": "title"}))
    assert (rows[0]["title"], rows[0]["description"]) == ("Milk", "Milk")


def test_two_spellings_of_one_item_id_are_told_by_their_originals() -> None:
    raw = pa.table({"item_id": ["a\u200b1", "b"], "title": ["x", "y"]})
    converted = normalise(raw, PLAIN, "row {}".format)
    assert converted.table["item_id"].to_pylist() == ["a1", "b"]
    assert converted.respelled.to_pylist() == ["a1"]
    assert converted.notes == {"item_id evened out": Note(1, "'a\\u200b1', row 0")}
    assert json.loads(converted.table[ORIGINAL][0].as_py()) == {"item_id": "a\u200b1"}


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["Dairy > Milk", "Home"], pa.string_view()),
        pa.array(["Dairy > Milk", "Home"], pa.large_string()),
        pa.array([["Dairy", "Milk"], ["Home", None]], pa.list_(pa.string(), 2)),
        pa.array([["Dairy", "Milk"], ["Home"]], pa.list_(pa.string_view())),
        pa.array([["Dairy", "Milk"], ["Home"]], pa.list_view(pa.string())),
        pa.ListArray.from_arrays([0, 2, 3], pa.array(["Dairy", "Milk", "Home"]).dictionary_encode()),
        pa.array([[["Dairy", "Milk"], ["Sale"]], [[], ["Home"]]]),
        pa.array([["Dairy > Milk", "Sale > Summer"], ["Home"]]),
        pa.array(['[["Dairy", "Milk"], ["Sale"]]', "['Home']"]),
    ],
    ids=str,
)
def test_a_category_path_is_read_from_any_type_that_holds_names(values: pa.Array) -> None:
    texts = pa.array(["1", "2"], pa.string_view())
    raw = pa.table({"item_id": texts, "title": texts, "category_path": values})
    check_columns(raw.schema, SEPARATED, "f")
    rows, reasons = brought({name: raw[name] for name in raw.column_names}, SEPARATED)
    assert [(row["item_id"], row["category_path"]) for row in rows] == [("1", ["Dairy", "Milk"]), ("2", ["Home"])]
    assert reasons == []


def test_lists_of_lists_need_no_separator_even_where_they_are_text_and_the_first_path_counts() -> None:
    nested = {"item_id": ["1"], "title": ["a"], "category_path": ['[["Dairy", "Milk"], ["Sale", "All"]]']}
    check_columns(pa.table(nested).schema, PLAIN, "f", pa.table(nested))
    converted = normalise(pa.table(nested), PLAIN, "row {}".format)
    assert converted.table["category_path"].to_pylist() == [["Dairy", "Milk"]]
    assert {note: of.rows for note, of in converted.notes.items()} == {"several categories in one product, the first taken": 1}
    rows, reasons = brought({**nested, "category_path": ["Dairy"]})
    assert rows == []
    assert "no separator is declared" in reasons[0]


def test_auto_stands_for_what_the_first_rows_show() -> None:
    rows = pa.table({"item_id": ["1", "2"], "title": ["a", "b"], "category_path": ["Dairy > Milk, Sale > All", "Home > Pans, Sale > All"]})
    settings = resolved(SEPARATED, rows)
    assert settings.category_list_separator == ","
    assert normalise(rows, settings, "row {}".format).table["category_path"].to_pylist() == [["Dairy", "Milk"], ["Home", "Pans"]]
    assert resolved(settings.model_copy(update={"category_list_separator": ""}), rows).category_list_separator == ""


def test_a_category_path_is_split_trimmed_and_rid_of_blanks() -> None:
    values = ["Dairy > Milk", " Dairy>Milk ", "Dairy >  > Milk", "", " > ", None]
    rows, _ = brought({"item_id": list("abcdef"), "title": list("abcdef"), "category_path": values}, SEPARATED)
    assert [row["category_path"] for row in rows] == [["Dairy", "Milk"]] * 3 + [None] * 3


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


def test_what_is_no_price_leaves_the_field_empty_and_is_counted_and_kept() -> None:
    prices = ["1.50", " 2 ", "cheap", None, "1.299,00", "-1", "nan"]
    raw = pa.table({"item_id": list("abcdefg"), "title": list("abcdefg"), "price": prices})
    converted = normalise(raw, PLAIN, "row {}".format)
    assert converted.rejected == []
    assert converted.table["price"].to_pylist() == [1.5, 2.0, None, None, 1299.0, None, None]
    assert converted.notes == {"price left empty, since it is no price": Note(3, "'cheap', row 2")}
    kept = [cells and json.loads(cells) for cells in converted.table[ORIGINAL].to_pylist()]
    assert kept == [None, None, {"price": "cheap"}, None, None, {"price": "-1"}, {"price": "nan"}]


def test_a_gap_in_a_column_of_numbers_is_a_missing_price_and_infinity_is_none() -> None:
    raw = pa.table({"item_id": list("abcd"), "title": list("abcd"), "price": [3.0, float("nan"), float("inf"), -1.0]})
    converted = normalise(raw, PLAIN, "row {}".format)
    assert converted.table["price"].to_pylist() == [3.0, None, None, None]
    assert [note.rows for note in converted.notes.values()] == [2]
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
    assert "Columns found: 'sku', 'title'" in message
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
