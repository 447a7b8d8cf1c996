"""Settings of how a catalog is read."""

from typing import Literal

from pydantic import Field

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
    no_leaf_names: list[str] = Field(
        ["missing", "other", "unknown", "uncategorized", "miscellaneous"],
        description="a category_path that ends in one of these, in any case, is no evidence in training: as if the product had none",
    )
