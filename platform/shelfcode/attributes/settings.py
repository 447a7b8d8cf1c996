"""Settings of extraction: by which model or by rules, and which attributes beside the four."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from shelfcode.llm.settings import ModelSettings
from shelfcode.settings import RUNS, Positive, Settings

ATTRIBUTE_COLUMNS = (
    "item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format", "extractor", "failure", "truncated", "unsupported",
)  # fmt: skip
"""Columns that every attributes table has."""

Grounding = Literal["lexicon", "off"]
"""Whether a product's attributes are held against its own text (grounding.py)."""


class ExtraAttribute(Settings):
    """An attribute that a recipe adds to the four that every extractor fills."""

    description: str = Field(description="what it is, told to the LLM")
    values: list[str] = Field([], description="a closed list, in lower case; any text where it is empty")
    limit: Annotated[int, Field(ge=1, le=8)] = Field(3, description="the most values per product")

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
    grounding: Grounding = Field(
        "lexicon",
        description="lexicon: ingredients and tags that the product's own English text does not support are dropped; off: answers are kept "
        "as they are, for catalogs in other languages",
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

    @field_validator("attributes")
    @classmethod
    def _names_of_their_own(cls, attributes: dict[str, ExtraAttribute]) -> dict[str, ExtraAttribute]:
        odd = [name for name in attributes if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ATTRIBUTE_COLUMNS]
        if odd:
            raise ValueError(f"names must be in lower case, of letters, digits and _, and none of {', '.join(ATTRIBUTE_COLUMNS)}: {odd}")
        return attributes
