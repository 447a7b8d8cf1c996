"""Settings of how a catalog is read."""

import codecs
from typing import Literal

from pydantic import Field, field_validator

from shelfcode.settings import Settings

ContractColumn = Literal["item_id", "title", "description", "brand", "category_path", "price"]


class CatalogSettings(Settings):
    """How a source's columns map to the catalog's."""

    columns: dict[ContractColumn, str] = Field({}, description="catalog column: the source's name for it, where the two differ")
    category_separator: str | None = Field(None, description="splits category_path where the source has it as one string, such as ' > '")
    category_list_separator: str = Field(
        "auto",
        description="stands between several categories of one product, of which the first counts, as in 'A > B, C > D'; "
        "auto: found from the first rows; '' where each product has one",
    )
    delimiter: str | None = Field(
        None, description="the character between the cells of a CSV file, or `tab`; found out from each file's first lines where it is null"
    )
    encoding: str | None = Field(
        None, description="of CSV and JSON files, such as cp1252; where it is null, UTF-8, or the UTF-16 or UTF-32 that a file begins like"
    )
    no_leaf_names: list[str] = Field(
        ["missing", "other", "unknown", "uncategorized", "miscellaneous"],
        description="a category_path that ends in one of these, in any case, is no evidence in training: as if the product had none",
    )

    @field_validator("columns")
    @classmethod
    def _without_blanks_around(cls, columns: dict[ContractColumn, str]) -> dict[ContractColumn, str]:
        return {column: name.strip() for column, name in columns.items()}  # as the names of a source are read

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        delimiter = {"tab": "\t", r"\t": "\t"}.get(delimiter or "", delimiter)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ValueError("a delimiter is one character such as ; or |, or the word tab")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        try:
            if encoding is not None:
                "".encode(encoding)
                codecs.getincrementaldecoder(encoding)
        except LookupError as error:
            raise ValueError(f"no encoding of text is called {encoding!r}; examples: utf-8, cp1252, utf-16, shift_jis") from error
        return encoding
