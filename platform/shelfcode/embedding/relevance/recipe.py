"""The recipe of a relevance encoder: which model learns from judgments, from what, and how; validated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from shelfcode.catalog.settings import CatalogSettings
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.recipe_file import apply_overrides, named_file, read_yaml, validate_settings
from shelfcode.settings import RUNS, Positive, Settings


class DataSettings(Settings):
    """Which judgments are learnt from."""

    validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="part of the queries that is only measured on, to stop early; at least two of them"
    )
    unknown_products_max: float = Field(
        0.1, ge=0, le=1, description="share of judgments for products that the catalog lacks; more is refused"
    )


class ObjectiveSettings(Settings):
    """The loss: order within a query, its Exacts against all else in the batch, and product against product."""

    gains: list[Annotated[float, Field(ge=0)]] = Field(
        [1.0, 0.5, 0.2, 0.0], min_length=4, max_length=4,
        description="of Exact, Substitute, Complement, Irrelevant; a pair weighs the difference of its two",
    )  # fmt: skip
    scale: float = Field(20.0, gt=0, description="inverse temperature: a cosine is multiplied by it")
    order_weight: float = Field(1.0, gt=0, description="of the order of a query's own products")
    in_batch_weight: float = Field(0.05, ge=0, description="of its Exacts against products of other queries and hard negatives")
    product_weight: float = Field(
        0.1, ge=0, description="of product against product: two Exacts closer than an Exact and a Complement or an Irrelevant"
    )

    @field_validator("gains")
    @classmethod
    def _fall(cls, gains: list[float]) -> list[float]:
        if sorted(gains, reverse=True) != gains or gains[0] == gains[-1]:
            raise ValueError(f"gains must fall from Exact to Irrelevant: {gains}")
        return gains


class HardNegativeSettings(Settings):
    """Products that the encoder itself takes for matches, and nobody judged so."""

    per_query: int = Field(4, ge=0, description="drawn for a query, each time it comes up; 0: none are mined")
    candidates: Positive = Field(
        50, description="kept per query: the nearest products of the catalog, without judged ones and those in an Exact's leaf"
    )
    margin: float = Field(
        0.05, ge=0, le=1, description="a product less than this share below the query's Exacts may be an unjudged match: left out"
    )
    products_max: Positive = Field(200_000, description="of a larger catalog, mine in a random sample")


class TuningSettings(Settings):
    """How the model is trained, in Ray Train."""

    seed: int = Field(0, ge=0, description="of the split, the batches and dropout")
    workers: Positive = Field(1, description="Ray Train workers; a batch's queries are shared out among them", json_schema_extra=RUNS)
    cpus_per_worker: Positive = Field(2, description="CPU cores, and torch threads, per worker", json_schema_extra=RUNS)
    use_gpu: bool = Field(False, description="one GPU per worker", json_schema_extra=RUNS)
    backend: Literal["auto", "gloo", "nccl"] = Field(
        "auto", description="of torch.distributed; auto: nccl with GPUs, gloo without", json_schema_extra=RUNS
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the forward pass; bfloat16 for a GPU")
    epochs: Positive = Field(4, description="times that every query comes up, at the most")
    queries_per_batch: Positive = Field(8, description="over all workers")
    products_per_query: Annotated[int, Field(ge=2)] = Field(16, description="judged products drawn for a query, each time it comes up")
    learning_rate: float = Field(2e-4, gt=0, description="at its height; it warms up, then falls along a cosine")
    warmup_share: float = Field(0.1, ge=0, le=1, description="part of the steps until the learning rate is at its height")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    frozen_layers: int = Field(
        3, ge=0, description="lowest transformer layers that keep the base's weights, with the token embeddings; 0: none"
    )
    base_share: float = Field(0.3, ge=0, lt=1, description="part of the base's weights in the published ones (a weighted average)")
    evaluations: Positive = Field(4, description="times that the validation queries are measured, evenly over the steps")
    patience: Positive = Field(3, description="evaluations worse than the best by more than chance, after which training stops")
    checkpoint_every: Positive = Field(
        200, description="steps, besides one per evaluation; a killed run goes on from the last", json_schema_extra=RUNS
    )
    max_failures: int = Field(
        3, ge=-1, description="times that Ray Train starts again after a worker died; -1: for ever", json_schema_extra=RUNS
    )

    @model_validator(mode="after")
    def _equal_shares(self) -> "TuningSettings":
        if self.queries_per_batch % self.workers:
            raise ValueError(f"queries_per_batch {self.queries_per_batch} has no equal shares for {self.workers} workers")
        return self


class RelevanceRecipe(Settings):
    """All that makes a relevance encoder what it is; catalog, text_view and encoder are a flavor's own, and mean the same."""

    catalog: CatalogSettings = CatalogSettings()
    text_view: TextViewSettings = TextViewSettings()
    encoder: EncoderSettings = Field(EncoderSettings(), description="the base model, and how texts are given to it")
    data: DataSettings = DataSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    hard_negatives: HardNegativeSettings = HardNegativeSettings()
    training: TuningSettings = TuningSettings()

    @model_validator(mode="after")
    def _can_be_trained(self) -> "RelevanceRecipe":
        if self.text_view.kind != "raw":
            raise ValueError("text_view.kind: an encoder is trained on raw text; judgments say nothing of attributes")
        if self.encoder.engine != "sentence-transformers" or self.encoder.dimensions:
            raise ValueError("encoder.engine and encoder.dimensions: the whole model is trained, by sentence-transformers")
        return self


def load_relevance_recipe(name: str, folder: Path, overrides: Sequence[str] = ()) -> RelevanceRecipe:
    """Read a recipe by name (a YAML file in `folder`) or by path, apply `key.sub=value` overrides, validate.

    Raises:
        ShelfcodeError: no such file, not YAML, or a field that is unknown or out of range; the message names it.
    """
    path = named_file("--recipe", name, folder)
    return validate_settings(RelevanceRecipe, apply_overrides(read_yaml(path), overrides), f"recipe {path}")
