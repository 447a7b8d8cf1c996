"""Settings of the quantizer and of its training."""

import math
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from shelfcode.settings import RUNS, Positive, Settings


class ContrastiveSettings(Settings):
    """The term that makes products of one leaf share codewords; its weight is quantizer.contrastive_weight."""

    same_leaf: float = Field(1.0, ge=0, le=1, description="strength of a pair in the same leaf")
    sibling_leaf: float = Field(0.4, ge=0, le=1, description="strength of a pair in sibling leaves")
    temperature: float = Field(0.2, gt=0, description="of the softmax over a product's pairs")
    level_weights: list[Annotated[float, Field(ge=0)]] = Field(
        [1.0, 0.5, 0.25],
        min_length=1,
        description="one per level above the last, the coarse ones first; further levels have the last weight",
    )


class NeighbourhoodSettings(Settings):
    """Smoothing of the coarse levels over each product's nearest neighbours, so that no border runs through a dense region."""

    neighbours: Positive = Field(20, description="nearest products by cosine that a product is averaged with")
    rounds: list[Annotated[int, Field(ge=0, le=1000)]] = Field(
        [30, 10, 2],
        description="rounds of averaging, one entry per level, the coarse ones first; further levels and the last see the product itself",
    )
    width: float = Field(0.25, gt=0, description="how fast a neighbour's weight falls, in units of the median distance to the last one")
    same_leaf: float = Field(1.0, ge=0, le=1, description="weight of a neighbour in the same leaf")
    sibling_leaf: float = Field(0.3, ge=0, le=1, description="weight of one in a sibling leaf, or where either has no category path")
    other: float = Field(0.1, ge=0, le=1, description="weight of any other")


class MoveSettings(Settings):
    """Moves of products between codewords after k-means, so that similar products share them and unlike ones do not."""

    sweeps: int = Field(50, ge=0, description="the most times that every product looks for a better codeword; 0 keeps those of k-means")
    neighbours: int = Field(60, ge=0, description="nearest products by cosine that a product would like to share codewords with")
    random_partners: int = Field(120, ge=0, description="products at random that it is compared with, which nearly all are unlike it")
    kinds: int = Field(
        600, ge=0, le=4096,
        description="kinds of products, alike by content, that move between first codewords as a whole before products move one by one; "
        "0: only products move",
    )  # fmt: skip
    twin_cosine: float = Field(
        0.91, gt=0, lt=1, description="products that share all codes but the last share it, too, from this mean cosine on"
    )


class EngagementSettings(Settings):
    """What customers take together, where a training is given that: kinds of products that go together come to share the first codeword."""

    weight: float = Field(2.0, ge=0, description="of engagement at the first level, relative to what pairs of products gain; 0 ignores it")
    kinds: Annotated[int, Field(ge=2, le=4096)] = Field(
        300,
        description="kinds of products that engagement is counted between, and that move as a whole in place of quantizer.moves.kinds; "
        "products without history follow their kind",
    )
    support: float = Field(
        20, ge=0, description="how often a kind must have been taken with others for its engagement to count half; seldom ones count less"
    )


class QuantizerSettings(Settings):
    """Embedding -> semantic ID."""

    objective: Literal["neighbourhood", "rqvae"] = Field(
        "neighbourhood",
        description="what training aims at. neighbourhood: codes found for the whole catalog at once, which the encoder learns; rqvae: "
        "reconstruction, commitment and contrast, as published",
    )
    codebook_sizes: list[Annotated[int, Field(ge=2, le=65536)]] = Field(
        [24, 800, 584, 640], min_length=2, max_length=8, description="codewords per level, coarse to fine; about 2,000 in all"
    )
    hidden_sizes: list[Positive] = Field([1024, 1024], description="layers of the encoder, reversed in the decoder")
    latent_size: Positive = Field(128, description="dimensions in which the codewords lie")
    neighbourhood: NeighbourhoodSettings = NeighbourhoodSettings()
    moves: MoveSettings = MoveSettings()
    engagement: EngagementSettings = EngagementSettings()
    target_temperature: float = Field(
        0.05, gt=0, validation_alias=AliasChoices("target_temperature", "commitment_temperature"),
        description="of the softmax over codewords, in units of a level's mean squared distance to the codeword; neighbourhood only",
    )  # fmt: skip
    input_noise: float = Field(0.5, ge=0, description="the most noise that is added to an embedding in training, as a share of its length")
    commitment_weight: float = Field(0.25, gt=0, description="pull of a product towards the codewords that it chose; rqvae only")
    contrastive_weight: float | None = Field(
        None, ge=0, description="lambda; 0 turns the contrastive term off. When left out, 0 for neighbourhood and 0.01 for rqvae"
    )
    contrastive: ContrastiveSettings = ContrastiveSettings()
    constraint: str | None = Field(
        None, min_length=1,
        description="a column whose values the first level keeps apart, each in codewords of its own: one of the catalog, or an attribute "
        "that this flavor extracts. column.value asks whether its text is the value, or its list holds it. Numbers fall into four bands",
    )  # fmt: skip
    kmeans_sample: Positive = Field(65536, description="the most products that k-means sees when it sets up the codebooks")
    kmeans_iterations: Positive = Field(20, description="the most iterations of k-means")

    @property
    def chosen_contrastive_weight(self) -> float:
        """lambda, whether or not the recipe gives it."""
        if self.contrastive_weight is None:
            return 0.01 if self.objective == "rqvae" else 0.0
        return self.contrastive_weight

    @property
    def rounds_of_levels(self) -> list[int]:
        """Rounds of smoothing of each level: those that the recipe gives, none below them, and none at the last."""
        above = len(self.codebook_sizes) - 1
        return [*self.neighbourhood.rounds[:above], *[0] * (above - len(self.neighbourhood.rounds)), 0]

    @property
    def contrast_of_levels(self) -> list[float]:
        """Weight of the contrastive term at each level above the last: those that the recipe gives, and below them the last of these."""
        above, given = len(self.codebook_sizes) - 1, self.contrastive.level_weights
        return [*given[:above], *[given[-1]] * (above - len(given))]

    @model_validator(mode="after")
    def _some_level_contrasts(self) -> "QuantizerSettings":
        if not any(self.contrast_of_levels):
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
    workers: Positive = Field(1, description="Ray Train workers; the batch is shared out among them", json_schema_extra=RUNS)
    cpus_per_worker: Positive = Field(2, description="CPU cores, and torch threads, per worker", json_schema_extra=RUNS)
    use_gpu: bool = Field(False, description="one GPU per worker", json_schema_extra=RUNS)
    backend: Literal["auto", "gloo", "nccl"] = Field(
        "auto", description="of torch.distributed; auto: nccl with GPUs, gloo without", json_schema_extra=RUNS
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the forward pass; bfloat16 needs a GPU")
    epochs: float = Field(20, gt=0, description="times that a product is seen, on average; how many steps that is follows from the catalog")
    steps_min: Positive = Field(200, description="a small catalog is seen more often, so that there are at least so many steps")
    steps_max: Positive = Field(10_000, description="a large catalog is seen less often, so that there are at most so many steps")
    steps: Positive | None = Field(None, description="batches in all, whatever epochs, steps_min and steps_max say")
    batch_size: Annotated[int, Field(ge=4)] = Field(1024, description="products per batch, over all workers")
    batches: Literal["auto", "uniform", "hierarchical"] = Field(
        "auto", description="uniform: any products; hierarchical: part of them below one parent category; auto: hierarchical for rqvae only"
    )
    parent_share: float = Field(0.5, ge=0, le=1, description="part of a hierarchical batch that comes from the children of one parent")
    products_per_slot: Positive = Field(4, description="products drawn together from one leaf")
    anchor_every: Positive = Field(16, description="one product in this many is decoded, and contrasted with all others of its batch")
    products_max: Positive = Field(
        1_000_000, description="of a larger catalog, train on a random sample; the rest is coded like new products"
    )
    learning_rate: float = Field(2e-3, gt=0, description="at its height; it warms up, then falls along a cosine")
    warmup_steps: int = Field(50, ge=0, description="until the learning rate is at its height")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    checkpoint_every: Positive = Field(250, description="steps; a killed run goes on from the last checkpoint", json_schema_extra=RUNS)
    max_failures: int = Field(
        3, ge=-1, description="times that Ray Train starts again after a worker died; -1: without end", json_schema_extra=RUNS
    )

    def steps_for(self, products: int) -> int:
        """Batches in all of a training on so many products."""
        return self.steps or min(self.steps_max, max(self.steps_min, math.ceil(self.epochs * products / self.batch_size)))

    @model_validator(mode="after")
    def _bounds_of_steps(self) -> "TrainingSettings":
        if self.steps_min > self.steps_max:
            raise ValueError(f"steps_min {self.steps_min} is more than steps_max {self.steps_max}")
        return self

    @model_validator(mode="after")
    def _equal_shares(self) -> "TrainingSettings":
        if over := self.batch_size % self.workers:
            lower, higher = self.batch_size - over, self.batch_size - over + self.workers
            raise ValueError(f"batch_size {self.batch_size} has no equal shares for {self.workers} workers; {lower} and {higher} have")
        return self
