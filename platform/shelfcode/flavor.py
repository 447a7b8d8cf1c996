"""The recipe of a flavor: text view + encoder + quantizer settings, validated.

Each component's settings stand beside the component; docs/configuration.md is generated from them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.catalog.settings import CatalogSettings
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.quantization.settings import QuantizerSettings, TrainingSettings
from shelfcode.settings import RUNS, Settings, part_names


class Recipe(Settings):
    """All that makes a flavor what it is."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(description="of the flavor; lower case")
    description: str = Field("", description="what the flavor is for", json_schema_extra=RUNS)
    catalog: CatalogSettings = CatalogSettings()
    hardware: Literal["auto", "gpu", "cpu"] = Field(
        "auto",
        description="auto: gpu where the cluster has one when the job starts; gpu for one whose GPU nodes only come on demand",
        json_schema_extra=RUNS,
    )
    extractor: ExtractorSettings = ExtractorSettings()
    text_view: TextViewSettings = TextViewSettings()
    encoder: EncoderSettings = EncoderSettings()
    quantizer: QuantizerSettings = QuantizerSettings()
    training: TrainingSettings = TrainingSettings()
    stability: Literal["free", "warm", "frozen_coarse"] = Field(
        "free",
        description="what a new release owes to the codes of the current one; free: nothing; warm: training starts from it, and codewords "
        "are named so that most products keep their code; frozen_coarse: warm, and the first two levels stay as they are",
    )
    without_gpu: dict[str, Any] = Field(
        {},
        description="field by its full name: value; what changes on hardware without a GPU, under what --set says",
        json_schema_extra=RUNS,
    )

    @field_validator("without_gpu")
    @classmethod
    def _names_single_fields(cls, values: dict[str, Any]) -> dict[str, Any]:
        odd = [name for name in values if name in ("hardware", "without_gpu") or name in part_names(cls)]
        if odd:
            raise ValueError(f"it holds fields by their full names, such as 'encoder.model: NAME', and not {', '.join(odd)}")
        return values

    @model_validator(mode="after")
    def _training_fills_the_codebooks(self) -> "Recipe":
        largest = max(self.quantizer.codebook_sizes)
        if self.training.products_max < largest:
            raise ValueError(f"training.products_max {self.training.products_max} is less than the largest codebook, {largest}")
        return self

    @model_validator(mode="after")
    def _view_shows_what_is_extracted(self) -> "Recipe":
        known = [*TextViewSettings().attributes, *self.extractor.attributes]
        strangers = [name for name in self.text_view.attributes if name not in known]
        if strangers:
            raise ValueError(f"text_view.attributes names {', '.join(strangers)}; the extractor fills {', '.join(known)}")
        return self

    @property
    def frozen_levels(self) -> int:
        """Levels at which a new release gives every product the code that its parent gives it."""
        return 2 if self.stability == "frozen_coarse" else 0
