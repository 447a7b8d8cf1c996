"""The text of a product that a flavor embeds."""

import pyarrow as pa

from shelfcode.attributes.schema import ExtraAttributes, attributes_of, attributes_text
from shelfcode.embedding.settings import TextViewSettings
from shelfcode.text import cut


def raw_texts(products: pa.Table, settings: TextViewSettings) -> list[str]:
    """The chosen columns of each product, one after another, empty ones left out."""
    columns = [products[name].to_pylist() for name in settings.columns]
    return [cut(". ".join(value for value in values if value), settings.max_characters) for values in zip(*columns, strict=True)]


def attribute_texts(attributes: pa.Table, settings: TextViewSettings, own: ExtraAttributes) -> list[str]:
    """What the extractor found of each product, as text; marketing copy is not in it."""
    rows = (attributes_of(row, own) for row in attributes.to_pylist())
    return [cut(attributes_text(row, settings.attributes), settings.max_characters) for row in rows]


def without_text(settings: TextViewSettings) -> str:
    """What a product lacks that has no text in a view."""
    if settings.kind == "raw":
        return f"{' and '.join(settings.columns)} {'is' if len(settings.columns) == 1 else 'are'} empty"
    return f"the extractor found no {' and no '.join(settings.attributes)}"
