import pyarrow as pa
import pytest
from pydantic import ValidationError

from shelfcode.attributes.schema import ATTRIBUTES_SCHEMA, DIETARY_TAGS, MAX_INGREDIENTS, Attributes, attributes_text


def test_text_view_names_every_part() -> None:
    attributes = Attributes(product_type="oat milk", key_ingredients=("oats",), dietary_tags=("vegan", "gluten free"), format="carton")
    assert attributes_text(attributes) == "oat milk. ingredients: oats. dietary: vegan, gluten free. format: carton"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (Attributes(product_type="dish soap"), "dish soap"),
        (Attributes(product_type="dish soap", format="liquid"), "dish soap. format: liquid"),
        (Attributes(product_type="salsa", key_ingredients=("tomatoes", "onions")), "salsa. ingredients: tomatoes, onions"),
        (Attributes(product_type="", dietary_tags=("organic",)), "dietary: organic"),
        (Attributes(product_type=""), ""),
    ],
)
def test_text_view_leaves_out_empty_parts(attributes: Attributes, text: str) -> None:
    assert attributes_text(attributes) == text


def test_attributes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Attributes(product_type="salsa").product_type = "dip"  # type: ignore[misc]


def test_unknown_tag_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="locally grown"):
        Attributes(product_type="salsa", dietary_tags=("vegan", "locally grown"))


def test_ingredients_are_bounded() -> None:
    many = tuple(f"ingredient {number}" for number in range(MAX_INGREDIENTS + 1))
    assert Attributes(product_type="trail mix", key_ingredients=many[:-1]).key_ingredients == many[:-1]
    with pytest.raises(ValidationError):
        Attributes(product_type="trail mix", key_ingredients=many)


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        Attributes.model_validate({"product_type": "salsa", "aisle": "dips"})


def test_tags_are_distinct() -> None:
    assert len(set(DIETARY_TAGS)) == len(DIETARY_TAGS)


def test_attributes_fit_the_table() -> None:
    row = {"item_id": "1", "text_hash": "ab", **Attributes(product_type="salsa", key_ingredients=("tomatoes",)).model_dump()}
    table = pa.Table.from_pylist([row], schema=ATTRIBUTES_SCHEMA)
    assert table.column_names == ["item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format"]
    assert table.to_pylist() == [row | {"key_ingredients": ["tomatoes"], "dietary_tags": []}]
