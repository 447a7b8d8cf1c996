"""The recipe of a retriever: what it is shown, how large it is, and how it is trained; validated."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shelfcode.interactions.settings import InteractionSettings
from shelfcode.recipe_file import apply_overrides, named_file, read_yaml, validate_settings
from shelfcode.settings import RUNS, Positive, Settings

Share = Annotated[float, Field(ge=0, lt=1)]
Segment = Literal["retailer", "surface", "weekday", "hour"]


class SplitSettings(Settings):
    """Which interactions are learnt from, and which are measured on."""

    kind: Literal["leave_one_out", "time", "users"] = Field(
        "time",
        description="time: sessions before one moment are learnt from, and those after it measured on. leave_one_out: of each user the "
        "last product is tested, and the one before it validated. users: some are kept apart with all their sessions",
    )
    test_share: Share = Field(0.0, description="of `users`: part of them that is kept apart for a test; a session without a user is one")
    validation_from: datetime | None = Field(None, description="of `time`, UTC; left out: the last sessions of some users are kept apart")
    test_from: datetime | None = Field(
        None, description="of `time`, UTC: sessions from then on are kept out of training and validation; left out: nothing is"
    )


class PromptSettings(Settings):
    """What a prompt is made of."""

    segments: list[Segment] = Field(["retailer", "surface", "weekday", "hour"], description="tokens that a prompt begins with")
    history_products: int = Field(40, ge=0, description="of a user's past products, the most frequent ones that are shown")
    session_products: Positive = Field(50, description="the latest products of a session or cart that are shown")
    token_dropout: Share = Field(0.1, description="share of the history's products that training leaves out at random")
    segment_dropout: Share = Field(0.1, description="how often training leaves out the history, the retailer, the surface or the time")
    cuts: Positive = Field(1, description="where the order means nothing: carts that are made of a session, each time it comes up")
    targets_per_cut: Positive = Field(8, description="products after the cut that are to be predicted")
    masked_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="of a scoring model with `objective: masked`: products that are hidden"
    )


class ModelSettings(Settings):
    """Sizes of the transformer."""

    width: Positive = Field(128, description="of a token's vector")
    layers: Positive = 2
    heads: Positive = 4
    hidden: Positive = Field(344, description="width of the gated linear unit")
    dropout: Share = 0.25

    @model_validator(mode="after")
    def _even_heads(self) -> "ModelSettings":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} has no even shares for {self.heads} heads")
        return self


class Worth(Settings):
    """How much more it is worth to have shown what was taken, where that is hard to find; 1: no more than anything else."""

    new_to_user: float = Field(1.0, ge=1, description="a product that the user never had")
    seldom_sold: float = Field(1.0, ge=1, description="one of the 80% of products that sell least, of those that were sold")
    never_sold: float = Field(1.0, ge=1, description="a product that nobody bought yet; a scoring model answers with none")

    @property
    def even(self) -> bool:
        """Whether everything is worth the same."""
        return self.new_to_user == self.seldom_sold == self.never_sold == 1


class GeneratorWorth(Worth):
    """The same of a generator, which is there to find what is not bought anyway."""

    new_to_user: float = Field(1.5, ge=1, description="a product that the user never had")
    seldom_sold: float = Field(2.0, ge=1, description="one of the 80% of products that sell least, of those that were sold")
    never_sold: float = Field(33.0, ge=1, description="a product that nobody bought yet")


class ScoringSettings(Settings):
    """Of a scoring model (CR)."""

    objective: Literal["causal", "masked"] = Field(
        "causal", description="causal: each product from what came before it. masked: hidden products from both sides, as BERT is trained"
    )
    learning_rate: float = Field(1e-3, gt=0, description="at its height; it warms up, then falls along a cosine")
    full_softmax_up_to: Positive = Field(
        200_000,
        description="products; above, each step scores a sample of them, and their logits are corrected for how likely each was drawn",
    )
    sampled_products: Positive = Field(16_384, description="of a catalog above it")
    label_smoothing: Share = Field(0.0, description="share of each target that goes to all products alike")
    start: Literal["known", "random"] = Field(
        "known", description="the vectors of products before training; known: half by what each is bought with, half by its embedding"
    )
    worth: Worth = Worth()


class GeneratorSettings(Settings):
    """Of a generator."""

    learning_rate: float = Field(2e-3, gt=0, description="at its height; it warms up, then falls along a cosine")
    start: Literal["codebooks", "random"] = Field("codebooks", description="what the vectors of codewords are before training")
    worth: GeneratorWorth = GeneratorWorth()


class AnswerSettings(Settings):
    """How candidates become lists."""

    ranker: bool = Field(True, description="whether candidates are ranked anew by counts, fitted on the validation cases")
    never_sold: bool = Field(True, description="whether a generator learns which products that nobody bought yet are bought first")


class RetrieverTraining(Settings):
    """How a retriever is trained, in Ray Train."""

    seed: int = Field(0, ge=0, description="of the weights, the batches and dropout")
    workers: Positive = Field(1, description="Ray Train workers; a batch is shared out among them", json_schema_extra=RUNS)
    cpus_per_worker: Positive = Field(2, description="CPU cores, and torch threads, per worker", json_schema_extra=RUNS)
    use_gpu: bool = Field(False, description="one GPU per worker", json_schema_extra=RUNS)
    backend: Literal["auto", "gloo", "nccl"] = Field(
        "auto", description="of torch.distributed; auto: nccl with GPUs, gloo without", json_schema_extra=RUNS
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the forward pass; auto: bfloat16 where the GPU or the processor computes in it, else float32"
    )
    epochs: Positive = Field(20, description="times that every session comes up, at the most")
    steps_max: Positive = Field(7000, description="batches at the most, however many sessions there are")
    sessions_per_batch: Positive = Field(64, description="over all workers")
    warmup_share: float = Field(0.05, ge=0, le=1, description="part of the steps until the learning rate is at its height")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW")
    evaluations: Positive = Field(5, description="times that the validation cases are answered, evenly over the steps")
    validation_cases: Positive = Field(2000, description="at the most")
    patience: Positive = Field(3, description="evaluations without a better one, after which training stops")
    checkpoint_every: Positive = Field(
        500, description="steps, besides one per evaluation; a killed run goes on from the last", json_schema_extra=RUNS
    )
    max_failures: int = Field(
        3, ge=-1, description="times that Ray Train starts again after a worker died; -1: for ever", json_schema_extra=RUNS
    )

    @model_validator(mode="after")
    def _equal_shares(self) -> "RetrieverTraining":
        if self.sessions_per_batch % self.workers:
            raise ValueError(f"sessions_per_batch {self.sessions_per_batch} has no equal shares for {self.workers} workers")
        return self


class RetrieverRecipe(Settings):
    """All that makes a retriever what it is."""

    interactions: InteractionSettings = InteractionSettings()
    split: SplitSettings = SplitSettings()
    prompt: PromptSettings = PromptSettings()
    model: ModelSettings = ModelSettings()
    scoring: ScoringSettings = ScoringSettings()
    generator: GeneratorSettings = GeneratorSettings()
    answers: AnswerSettings = AnswerSettings()
    training: RetrieverTraining = RetrieverTraining()


def load_retriever_recipe(name: str, folder: Path, overrides: Sequence[str] = ()) -> RetrieverRecipe:
    """Read a recipe by name (a YAML file in `folder`) or by path, apply `key.sub=value` overrides, validate.

    Raises:
        ShelfcodeError: no such file, not YAML, or a field that is unknown or out of range; the message names it.
    """
    path = named_file("--recipe", name, folder)
    return validate_settings(RetrieverRecipe, apply_overrides(read_yaml(path), overrides), f"recipe {path}")
