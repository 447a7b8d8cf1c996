"""What a flavor embeds of a product: its own columns, or what the extractor found; never more than it may be long."""

import pyarrow as pa
import pytest

from shelfcode.attributes.schema import ATTRIBUTES_SCHEMA
from shelfcode.embedding.text_view import attribute_texts, cut, raw_texts
from shelfcode.flavor import TextViewSettings

PRODUCTS = pa.table({
    "item_id": ["1", "2", "3"], "title": ["Oat milk", "Rye", "Soap"], "brand": ["Oatly", None, ""], "description": ["Creamy", "Dark", None],
})  # fmt: skip


def test_a_raw_view_joins_the_chosen_columns_and_leaves_out_empty_ones() -> None:
    assert raw_texts(PRODUCTS, TextViewSettings()) == ["Oat milk. Oatly. Creamy", "Rye. Dark", "Soap"]


def test_a_raw_view_follows_the_order_of_its_columns() -> None:
    assert raw_texts(PRODUCTS, TextViewSettings(columns=["brand", "title"])) == ["Oatly. Oat milk", "Rye", "Soap"]


def test_no_products_give_no_texts() -> None:
    assert raw_texts(PRODUCTS.slice(0, 0), TextViewSettings()) == []


def test_an_attributes_view_tells_what_the_extractor_found() -> None:
    rows = [
        {"item_id": "1", "text_hash": "h", "product_type": "oat milk", "key_ingredients": ["oats", "salt"], "dietary_tags": ["vegan"],
         "format": "carton"},
        {"item_id": "2", "text_hash": "h", "product_type": "soap", "key_ingredients": [], "dietary_tags": [], "format": ""},
    ]  # fmt: skip
    texts = attribute_texts(pa.Table.from_pylist(rows, ATTRIBUTES_SCHEMA), TextViewSettings(kind="attributes"))
    assert texts == ["oat milk. ingredients: oats, salt. dietary: vegan. format: carton", "soap"]


@pytest.mark.parametrize(
    ("characters", "expected"), [(100, "oat milk bread"), (14, "oat milk bread"), (13, "oat milk"), (8, "oat milk"), (7, "oat"), (2, "oa")]
)
def test_a_long_text_is_cut_at_a_word(characters: int, expected: str) -> None:
    assert cut("oat milk bread", characters) == expected


def test_no_view_is_longer_than_asked_for() -> None:
    products = PRODUCTS.set_column(3, "description", pa.array(["word " * 20_000, "w" * 100_000, None]))
    texts = raw_texts(products, TextViewSettings(max_characters=50))
    assert [len(text) <= 50 for text in texts] == [True] * 3
    assert texts[0].startswith("Oat milk. Oatly. word word")
