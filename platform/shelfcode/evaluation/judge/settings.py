"""Settings of a judge: the model, how many clusters and controls, and which instruments."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from shelfcode.llm.settings import ModelSettings
from shelfcode.settings import RUNS, Positive

Dimension = Literal["functional", "purchase", "journey"]
InstrumentName = Literal["pmi", "rating", "intruder", "triplets"]


class JudgeSettings(ModelSettings):
    """A language model that judges clusters: run by vLLM in Ray Data, or asked at an OpenAI-compatible endpoint."""

    section: ClassVar[str] = "judge"

    endpoint: str | None = Field(
        None, description="URL of an OpenAI-compatible endpoint, such as http://host:8000/v1, in place of an engine"
    )
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds the endpoint's key", json_schema_extra=RUNS)
    tries: Positive = Field(
        6, description="how often an endpoint is asked again after 429, 5xx or a lost connection", json_schema_extra=RUNS
    )
    at_once: Positive = Field(16, description="questions that an endpoint is asked at the same time", json_schema_extra=RUNS)
    instruments: list[InstrumentName] = Field(
        ["pmi", "rating", "intruder", "triplets"],
        min_length=1,
        description="what is asked; pmi alone suits a model that follows no instructions",
    )
    dimensions: list[Dimension] = Field(
        ["functional", "purchase", "journey"], min_length=1, description="what clusters are judged by; functional is always among them"
    )
    clusters: Positive = Field(120, description="clusters per release, spread evenly over the levels")
    products: int = Field(8, ge=6, le=12, description="products of a cluster that are shown")
    draws: Literal[1, 2] = Field(2, description="disjoint draws of products per cluster")
    controls: int = Field(40, ge=10, description="leaves of the catalog behind the controls")
    title_characters: int = Field(120, ge=20, description="of a title that are shown")
    theme_column: str = Field("theme", description="column of --themes that holds a product's themes", json_schema_extra=RUNS)
    seed: int = Field(0, description="of what is drawn")

    @field_validator("dimensions")
    @classmethod
    def _with_the_functional_one(cls, dimensions: list[Dimension]) -> list[Dimension]:
        if "functional" not in dimensions:
            raise ValueError("functional has to be among them: the catalog's own leaves control it, and so the judge")
        return dimensions

    @field_validator("instruments")
    @classmethod
    def _one_that_is_functional(cls, instruments: list[InstrumentName]) -> list[InstrumentName]:
        if not {"pmi", "rating", "intruder"} & set(instruments):
            raise ValueError("one of pmi, rating and intruder has to be among them: triplets ask nothing functional")
        return instruments
