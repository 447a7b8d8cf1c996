"""The text of a product that a flavor embeds."""

import pyarrow as pa

from shelfcode.attributes.schema import Attributes, attributes_text
from shelfcode.flavor import TextViewSettings


def raw_texts(products: pa.Table, settings: TextViewSettings) -> list[str]:
    """The chosen columns of each product, one after another, empty ones left out."""
    columns = [products[name].to_pylist() for name in settings.columns]
    return [cut(". ".join(value for value in values if value), settings.max_characters) for values in zip(*columns, strict=True)]


def attribute_texts(attributes: pa.Table, settings: TextViewSettings) -> list[str]:
    """What the extractor found of each product, as text; marketing copy is not in it."""
    fields = [name for name in Attributes.model_fields if name in attributes.column_names]
    rows = attributes.select(fields).to_pylist()
    return [cut(attributes_text(Attributes.model_validate(row)), settings.max_characters) for row in rows]


def cut(text: str, characters: int) -> str:
    """A text of at most so many characters, cut at a word."""
    if len(text) <= characters:
        return text
    head, space, _ = text[: characters + 1].rpartition(" ")
    return head if space else text[:characters]
