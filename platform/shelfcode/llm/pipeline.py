"""A language model asked in bulk: vLLM in Ray Data, on as many engines as the settings allow and the cluster has room for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import JsonSchema, engine_arguments, engine_environment, sampling_parameters
from shelfcode.llm.prompt import TokenBudget
from shelfcode.llm.settings import ModelSettings
from shelfcode.model_source import model_path

ENGINE_STAGE = "vLLMEngineStageUDF"
"""The name under which Ray Data runs the engine."""


def ask_all(
    rows: ray.data.Dataset, settings: ModelSettings, budget: TokenBudget, schema: JsonSchema, output_tokens: int, kept: Sequence[str]
) -> ray.data.Dataset:
    """Rows with the engine's `answer`, or the `error` that kept it from answering.

    Args:
        rows: with a column `tokenized_prompt`.
        kept: the columns that come back beside the answer.
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # imports vLLM, which a job without a model can do without

    config = vLLMEngineProcessorConfig(
        model_source=model_path(f"{settings.section}.model", settings.model),
        engine_kwargs=engine_arguments(settings, budget),
        runtime_env={"env_vars": engine_environment(settings)},
        placement_group_config={"bundles": _bundles(settings)},
        concurrency=(settings.replicas_min, settings.replicas_max),
        batch_size=settings.rows_per_batch,
        max_concurrent_batches=settings.batches_at_once,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage=False, tokenize_stage=False, detokenize_stage=False,
    )  # fmt: skip
    sampling = sampling_parameters(schema, output_tokens)

    def with_answer(row: dict[str, Any]) -> dict[str, Any]:
        answer, error = row.get("answer", row.get("generated_text")), row.get("error") or row.get("__inference_error__")
        return {**{name: row[name] for name in kept}, "answer": None if error else answer, "error": error or None}

    processor = build_processor(config, preprocess=lambda row: {**row, "sampling_params": sampling}, postprocess=with_answer)
    # A row that failed bypasses the processor's own last step: hence once more after it.
    return processor(rows.repartition(target_num_rows_per_block=settings.rows_per_batch)).map(with_answer)


@contextmanager
def engines(settings: ModelSettings, hint: str) -> Iterator[None]:
    """Around the run of a plan with `ask_all`: frees what its engines held, and says why an engine did not start.

    An engine over several GPUs reserves a placement group, and Ray Data leaves it behind.

    Args:
        hint: a sentence that ends the message, on what the user can do.

    Raises:
        ShelfcodeError: an engine does not start.
    """
    earlier = _placement_groups()
    try:
        yield
    except ray.exceptions.ActorDiedError as error:
        if ENGINE_STAGE not in str(error):
            raise
        raise ShelfcodeError(f"the {settings.section}'s engine does not start: {_cause(str(error))}. {hint}") from error
    finally:
        for name in _placement_groups() - earlier:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(name)))


def _bundles(settings: ModelSettings) -> list[dict[str, float]]:
    cpus, gpus = float(settings.cpus_per_replica), settings.gpus_per_replica
    if gpus < 1:
        return [{"CPU": cpus, **({"GPU": gpus} if gpus else {})}]
    return [{"GPU": 1.0, "CPU": cpus / gpus}] * int(gpus)


def _placement_groups() -> set[str]:
    """Names of this job's own placement groups; they end with the job's id."""
    job = ray.get_runtime_context().get_job_id()
    return {name for name in placement_group_table() if name.endswith(job)}


def _cause(traceback: str) -> str:
    """The lines of a traceback that say what went wrong: those after the last frame."""
    lines = [line for line in traceback.splitlines() if line.strip()]
    frames = [place for place, line in enumerate(lines) if line.startswith((" ", "\x1b")) and ("File " in line or "^^^" in line)]
    return "; ".join(line.strip() for line in lines[frames[-1] + 1 if frames else 0 :] if "^^^" not in line)[:600]
