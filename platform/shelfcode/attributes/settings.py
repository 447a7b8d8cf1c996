"""Settings of extraction: by which model or by rules, and which attributes beside the four."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from shelfcode.llm.settings import ModelSettings
from shelfcode.settings import RUNS, Positive, Settings

ATTRIBUTE_COLUMNS = (
    "item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format", "extractor", "failure", "truncated", "unsupported",
)  # fmt: skip
"""Columns that every attributes table has."""

QUOTES_COLUMN = "quotes"
"""The column that the table of an extractor with quotes has beside them."""

Grounding = Literal["lexicon", "off"]
"""Whether a product's attributes are held against its own text (grounding.py)."""


class ExtraAttribute(Settings):
    """An attribute that a recipe adds to the four that every extractor fills."""

    description: str = Field(description="what it is, told to the LLM")
    values: list[str] = Field([], description="a closed list, in lower case; any text where it is empty")
    limit: Annotated[int, Field(ge=1, le=8)] = Field(3, description="the most values per product")
    stated: bool = Field(
        False,
        description="only values that the product's text states are kept: by their quotes with extractor.quotes, else word for word; "
        "false for what is inferred",
    )

    @field_validator("values")
    @classmethod
    def _as_answers_are_compared(cls, values: list[str]) -> list[str]:
        odd = [value for value in values if value != " ".join(value.lower().split()) or not value]
        if odd:
            raise ValueError(f"values must be in lower case and without white space around them: {odd}")
        return values


class ExtractorSettings(ModelSettings):
    """Product -> attributes: an LLM that vLLM runs inside Ray Data, or rules where no model is at hand."""

    section: ClassVar[str] = "extractor"
    alternative: ClassVar[str] = "--set extractor.engine=rules"

    engine: Literal["rules", "vllm"] = Field("rules", description="rules: no model, English grocery text")
    prompt: Literal["v1"] = Field("v1", description="version of the instructions")
    attributes: dict[str, ExtraAttribute] = Field(
        {}, description="the recipe's own, beside the four, by names of lower-case letters, digits and _"
    )
    quotes: bool = Field(
        False,
        description="the model says each ingredient and tag with the words of the text that say it, and is held against them, in any "
        "language; false for a model that was taught answers without. One of a workspace was, and is asked for none",
    )
    grounding: Grounding = Field(
        "lexicon",
        description="lexicon: ingredients and tags that the product's own text does not support are dropped, in other languages than "
        "English by their quotes; off: answers are kept as they are",
    )
    max_failed_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of the catalog that may be left to the rules where the model gives no usable answer; more is an error",
        json_schema_extra=RUNS,
    )
    rows_per_part: Positive = Field(
        512, description="products per part file; a crash loses about this many per engine", json_schema_extra=RUNS
    )

    @property
    def asks_for_quotes(self) -> bool:
        """Whether the model is asked for quotes: not one of a workspace, which was taught answers without (distil/)."""
        return self.quotes and self.engine == "vllm" and not self.model.startswith("workspace:")

    @model_validator(mode="before")
    @classmethod
    def _lists_that_are_written_have_values(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or {"prompt", "rows_per_part"} <= fields.keys():
            return fields  # a stored recipe: it names every field, with an empty list for any text
        own = fields.get("attributes")
        empty = [name for name, each in (own or {}).items() if isinstance(each, dict) and each.get("values", "") in ([], None)]
        if empty:
            raise ValueError(
                f"attributes.{empty[0]}.values is an empty list, out of which nothing can be answered: name its values, or leave `values` "
                "out for any text"
            )
        return fields

    @field_validator("attributes")
    @classmethod
    def _names_of_their_own(cls, attributes: dict[str, ExtraAttribute]) -> dict[str, ExtraAttribute]:
        odd = [name for name in attributes if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in (*ATTRIBUTE_COLUMNS, QUOTES_COLUMN)]
        if odd:
            taken = ", ".join((*ATTRIBUTE_COLUMNS, QUOTES_COLUMN))
            raise ValueError(f"names must be in lower case, of letters, digits and _, and none of {taken}: {odd}")
        return attributes
