"""Settings of extraction: which model, with which room, on which hardware."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from shelfcode.settings import Positive, Settings

ATTRIBUTE_COLUMNS = (
    "item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format", "extractor", "failure", "truncated", "unsupported",
)  # fmt: skip
"""Columns that every attributes table has."""


class ExtraAttribute(Settings):
    """An attribute that a recipe adds to the four that every extractor fills."""

    description: str = Field(description="what it is, told to the LLM")
    values: list[str] = Field([], description="a closed list, in lower case; any text where it is empty")
    limit: Annotated[int, Field(ge=1, le=8)] = Field(3, description="values a product, at the most")

    @field_validator("values")
    @classmethod
    def _as_answers_are_compared(cls, values: list[str]) -> list[str]:
        odd = [value for value in values if value != " ".join(value.lower().split()) or not value]
        if odd:
            raise ValueError(f"values must be in lower case and without white space around them: {odd}")
        return values


class ExtractorSettings(Settings):
    """Product -> attributes: an LLM that vLLM runs inside Ray Data, or rules where no model is at hand."""

    engine: Literal["rules", "vllm"] = Field("rules", description="rules: no model, English grocery text")
    model: str = Field(
        "Qwen/Qwen3-4B-Instruct-2507",
        description="a name on the model hub, a folder, or package:NAME (a model shipped as a Python package)",
    )
    revision: str | None = Field(None, description="of a hub model")
    prompt: Literal["v1"] = Field("v1", description="version of the instructions")
    attributes: dict[str, ExtraAttribute] = Field(
        {}, description="the recipe's own, beside the four, by names of lower-case letters, digits and _"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: as vLLM finds best, float32 without a GPU")
    gpus_per_replica: float = Field(0, ge=0, description="GPUs an engine; a fraction shares one")
    tensor_parallel: Positive = Field(1, description="GPUs that the layers of one engine are split over")
    cpus_per_replica: Positive = Field(1, description="CPU cores an engine")
    replicas_min: Positive = Field(1, description="engines kept")
    replicas_max: Positive = Field(8, description="engines at the most, as the cluster has room")
    max_input_tokens: Positive = Field(1024, description="of a product's text; a longer one is cut at a word and marked")
    max_output_tokens: Positive = Field(256, description="of an answer")
    retry_output_tokens: Positive = Field(768, description="of the second try, for a product whose first answer failed")
    rows_per_batch: Positive = Field(64, description="products handed to an engine together")
    batches_at_once: Positive = Field(8, description="batches that an engine works on")
    rows_per_part: Positive = Field(512, description="products a part file; a crash loses about this many an engine")
    engine_arguments: dict[str, Any] = Field({}, description="any further argument of vLLM's engine, by its name there")
    environment: dict[str, str] = Field({}, description="environment variables of the engine, such as VLLM_CPU_KVCACHE_SPACE")

    @field_validator("attributes")
    @classmethod
    def _names_of_their_own(cls, attributes: dict[str, ExtraAttribute]) -> dict[str, ExtraAttribute]:
        odd = [name for name in attributes if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ATTRIBUTE_COLUMNS]
        if odd:
            raise ValueError(f"names must be in lower case, of letters, digits and _, and none of {', '.join(ATTRIBUTE_COLUMNS)}: {odd}")
        return attributes

    @model_validator(mode="after")
    def _parts_fit(self) -> "ExtractorSettings":
        if self.replicas_max < self.replicas_min:
            raise ValueError(f"replicas_max {self.replicas_max} is less than replicas_min {self.replicas_min}")
        if self.retry_output_tokens < self.max_output_tokens:
            raise ValueError(f"retry_output_tokens {self.retry_output_tokens} is less than max_output_tokens {self.max_output_tokens}")
        if self.gpus_per_replica and self.tensor_parallel != max(1, self.gpus_per_replica):
            raise ValueError(
                f"gpus_per_replica {self.gpus_per_replica:g} and tensor_parallel {self.tensor_parallel} differ: an engine uses all its GPUs"
            )
        taken = {"model", "revision", "dtype", "tensor_parallel_size"} & set(self.engine_arguments)
        if taken:
            raise ValueError(f"engine_arguments holds {', '.join(sorted(taken))}, which the recipe has fields of its own for")
        return self
