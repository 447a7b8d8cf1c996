"""Settings of a language model: which one, how many tokens it is given, and the hardware it runs on."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from shelfcode.hardware import Precision, reserved_device, usual_precision
from shelfcode.settings import RUNS, Positive, Settings


class ModelSettings(Settings):
    """A language model that vLLM runs. A component that asks one has settings of its own that extend these.

    Attributes:
        section: where a recipe holds these settings; error messages name fields by it.
        alternative: what a user can do who has no model, for error messages; empty where there is nothing.
    """

    section: ClassVar[str] = "model"
    alternative: ClassVar[str] = ""

    model: str = Field(
        "Qwen/Qwen3-4B-Instruct-2507",
        description="a hub name, a folder, package:NAME (a model shipped as a Python package), or workspace:extractors/NAME@v0001",
    )
    revision: str | None = Field(None, description="of a hub model")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on GPUs, float32 without; float16 for GPUs that know no bfloat16"
    )
    gpus_per_replica: float = Field(0, ge=0, description="GPUs per engine; a fraction shares one")
    tensor_parallel: Positive = Field(1, description="GPUs that the layers of one engine are split over", json_schema_extra=RUNS)
    cpus_per_replica: Positive = Field(1, description="CPU cores per engine", json_schema_extra=RUNS)
    replicas_min: Positive = Field(1, description="engines that are always kept", json_schema_extra=RUNS)
    replicas_max: Positive = Field(8, description="the most engines, as the cluster has room", json_schema_extra=RUNS)
    max_input_tokens: Positive = Field(1024, description="of a text; a longer one is cut at a word and marked")
    max_output_tokens: Positive = Field(256, description="of an answer")
    retry_output_tokens: Positive = Field(768, description="of the second try, where the first answer could not be used")
    rows_per_batch: Positive = Field(64, description="prompts handed to an engine together", json_schema_extra=RUNS)
    batches_at_once: Positive = Field(8, description="batches that an engine works on", json_schema_extra=RUNS)
    restarts_per_engine: int = Field(
        3, ge=0, description="how often one engine is started again after it died, before the job fails", json_schema_extra=RUNS
    )
    restarts_in_all: int = Field(20, ge=0, description="the same of all engines together", json_schema_extra=RUNS)
    engine_arguments: dict[str, Any] = Field({}, description="any further argument of vLLM's engine, by its name there")
    environment: dict[str, str] = Field(
        {}, description="environment variables of the engine, such as VLLM_CPU_KVCACHE_SPACE", json_schema_extra=RUNS
    )

    @property
    def chosen_dtype(self) -> Precision:
        """What `auto` stands for, found from the settings alone: two engines of one job must not answer differently."""
        return usual_precision(reserved_device(self.gpus_per_replica)) if self.dtype == "auto" else self.dtype

    @model_validator(mode="after")
    def _limits_agree(self) -> "ModelSettings":
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
