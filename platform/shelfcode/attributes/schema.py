"""What an extractor says of a product, and the text view a flavor makes of it.

Every extractor fills the same model, so a flavor need not know which one ran.
"""

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_INGREDIENTS = 8

DIETARY_TAGS: tuple[str, ...] = (
    "vegan",
    "vegetarian",
    "gluten free",
    "dairy free",
    "lactose free",
    "nut free",
    "soy free",
    "egg free",
    "organic",
    "non-gmo",
    "kosher",
    "halal",
    "paleo",
    "keto",
    "low carb",
    "raw",
    "whole grain",
    "high protein",
    "high fiber",
    "low fat",
    "fat free",
    "low calorie",
    "low sodium",
    "sugar free",
    "no added sugar",
    "caffeine free",
    "alcohol free",
)
"""The closed list of dietary tags, in the order in which attributes give them."""

ATTRIBUTES_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("text_hash", pa.string()),
        pa.field("product_type", pa.string()),
        pa.field("key_ingredients", pa.list_(pa.string())),
        pa.field("dietary_tags", pa.list_(pa.string())),
        pa.field("format", pa.string()),
    ]
)
"""Columns of `<workspace>/attributes/<extractor>/part-*.parquet`."""

_KNOWN_TAGS = frozenset(DIETARY_TAGS)


class Attributes(BaseModel):
    """The attributes of one product.

    Attributes:
        product_type: what the product is, in lower case and without brand or size: "oat milk". Empty only for a title without a word.
        key_ingredients: at most MAX_INGREDIENTS, the most telling first.
        dietary_tags: out of DIETARY_TAGS.
        format: what it comes as ("carton", "frozen", "wipes"), or "".

    Raises:
        pydantic.ValidationError: too many ingredients, a tag outside the closed list, or a field that is none of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    product_type: str
    key_ingredients: tuple[str, ...] = Field(default=(), max_length=MAX_INGREDIENTS)
    dietary_tags: tuple[str, ...] = ()
    format: str = ""

    @field_validator("dietary_tags")
    @classmethod
    def _tags_are_known(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [tag for tag in tags if tag not in _KNOWN_TAGS]
        if unknown:
            raise ValueError(f"unknown dietary tags {unknown}: expected some of {', '.join(DIETARY_TAGS)}")
        return tags


def attributes_text(attributes: Attributes) -> str:
    """The text view `attributes`, parts that are empty left out.

    "oat milk. ingredients: oats. dietary: vegan, gluten free. format: carton"
    """
    parts = [attributes.product_type]
    if attributes.key_ingredients:
        parts.append("ingredients: " + ", ".join(attributes.key_ingredients))
    if attributes.dietary_tags:
        parts.append("dietary: " + ", ".join(attributes.dietary_tags))
    if attributes.format:
        parts.append("format: " + attributes.format)
    return ". ".join(part for part in parts if part)
