"""What a flavor embeds of a product: its own columns, or what the extractor found; never more than it may be long."""

import pyarrow as pa

from shelfcode.attributes.settings import ExtraAttribute
from shelfcode.attributes.table import attributes_schema
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.embedding.text_view import attribute_texts, raw_texts, without_text

PRODUCTS = pa.table({
    "item_id": ["1", "2", "3"], "title": ["Oat milk", "Rye", "Soap"], "brand": ["Oatly", None, ""], "description": ["Creamy", "Dark", None],
})  # fmt: skip


def test_a_raw_view_joins_the_chosen_columns_and_leaves_out_empty_ones() -> None:
    assert raw_texts(PRODUCTS, TextViewSettings()) == ["Oat milk. Oatly. Creamy", "Rye. Dark", "Soap"]


def test_a_raw_view_follows_the_order_of_its_columns() -> None:
    assert raw_texts(PRODUCTS, TextViewSettings(columns=["brand", "title"])) == ["Oatly. Oat milk", "Rye", "Soap"]


def test_no_products_give_no_texts() -> None:
    assert raw_texts(PRODUCTS.slice(0, 0), TextViewSettings()) == []


EXTRA = {"pairs_with": ExtraAttribute(description="what goes with it", limit=2)}
ATTRIBUTES = pa.Table.from_pylist(
    [
        {"item_id": "1", "text_hash": "h", "product_type": "oat milk", "key_ingredients": ["oats", "salt"], "dietary_tags": ["vegan"],
         "format": "carton", "pairs_with": ["coffee", "tea", "cake"], "extractor": "qwen", "failure": "late", "truncated": True,
         "unsupported": ["tag: keto"]},
        {"item_id": "2", "text_hash": "h", "product_type": "soap", "key_ingredients": [], "dietary_tags": [], "format": "",
         "pairs_with": []},
    ],
    attributes_schema(EXTRA),
)  # fmt: skip


def test_an_attributes_view_tells_what_the_extractor_found_and_nothing_of_the_extraction() -> None:
    texts = attribute_texts(ATTRIBUTES, TextViewSettings(kind="attributes"), EXTRA)
    assert texts == ["oat milk. ingredients: oats, salt. dietary: vegan. format: carton", "soap"]


def test_an_attributes_view_follows_the_order_of_its_attributes_the_recipes_own_among_them() -> None:
    view = TextViewSettings(kind="attributes", attributes=["pairs_with", "format", "product_type"])
    assert attribute_texts(ATTRIBUTES, view, EXTRA) == ["pairs with: coffee, tea. format: carton. oat milk", "soap"]


def test_a_product_without_any_of_a_views_attributes_has_an_empty_text() -> None:
    assert attribute_texts(ATTRIBUTES, TextViewSettings(kind="attributes", attributes=["dietary_tags"]), EXTRA) == ["dietary: vegan", ""]


def test_an_attributes_view_is_no_longer_than_asked_for() -> None:
    view = TextViewSettings(kind="attributes", max_characters=20)
    assert attribute_texts(ATTRIBUTES, view, EXTRA) == ["oat milk.", "soap"]


def test_no_view_is_longer_than_asked_for() -> None:
    products = PRODUCTS.set_column(3, "description", pa.array(["word " * 20_000, "w" * 100_000, None]))
    texts = raw_texts(products, TextViewSettings(max_characters=50))
    assert [len(text) <= 50 for text in texts] == [True] * 3
    assert texts[0].startswith("Oat milk. Oatly. word word")


def test_what_a_product_without_a_text_lacks_is_named() -> None:
    assert without_text(TextViewSettings(columns=["description"])) == "description is empty"
    assert without_text(TextViewSettings(columns=["brand", "description"])) == "brand and description are empty"
    lacks = without_text(TextViewSettings(kind="attributes", attributes=["dietary_tags", "format"]))
    assert lacks == "the extractor found no dietary_tags and no format"
