"""A language model asked in bulk: vLLM in Ray Data, on as many engines as the settings allow and the cluster has room for."""

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import JsonSchema, engine_arguments, engine_environment, sampling_parameters
from shelfcode.llm.likelihood import Question, Reply, likelihood_parameters, question_tokens, read_reply
from shelfcode.llm.model_files import model_files
from shelfcode.llm.prompt import TokenBudget, check_context, load_tokenizer
from shelfcode.llm.settings import ModelSettings
from shelfcode.model_source import WORKSPACE
from shelfcode.workspace import Workspace

ENGINE_STAGE = "vLLMEngineStageUDF"
"""The name under which Ray Data runs the engine."""

ERROR_LINE = re.compile(r"(?:^|[\s\]])([A-Za-z_.]*(?:Error|Exception|Interrupt|Exit)\b: .*)$", re.MULTILINE)
LOG_BYTES_READ = 65_536


def ask_all(
    rows: ray.data.Dataset, settings: ModelSettings, budget: TokenBudget, schema: JsonSchema, output_tokens: int, kept: Sequence[str],
    workspace: Workspace | None = None,
) -> ray.data.Dataset:  # fmt: skip
    """Rows with the engine's `answer`, or the `error` that kept it from answering.

    Args:
        rows: with a column `tokenized_prompt`.
        kept: the columns that come back beside the answer.
        workspace: which keeps the model, where `settings.model` names one of a workspace.
    """
    sampling = sampling_parameters(schema, output_tokens)

    def with_answer(row: dict[str, Any]) -> dict[str, Any]:
        answer, error = row.get("answer", row.get("generated_text")), row.get("error") or row.get("__inference_error__")
        return {**{name: row[name] for name in kept}, "answer": None if error else answer, "error": error or None}

    return _run(rows, settings, budget.context, lambda row: {**row, "sampling_params": sampling}, with_answer, workspace)


def ask_likelihoods(
    questions: Sequence[Question], settings: ModelSettings, workspace: Workspace | None = None
) -> Iterator[tuple[Question, Reply]]:
    """The replies to questions, each with its question, as they come.

    Raises:
        ShelfcodeError: the model cannot be found, or its context is too short for the longest question.
    """
    tokenizer = load_tokenizer(settings, workspace)
    tokens = [question_tokens(tokenizer, question) for question in questions]
    context = check_context(settings, max(len(each.prompt) for each in tokens), workspace)
    rows = [
        {"number": number, "tokenized_prompt": each.prompt, "sampling_params": likelihood_parameters(each)}
        for number, each in enumerate(tokens)
    ]

    def with_logprobs(row: dict[str, Any]) -> dict[str, Any]:
        if "reply" in row:
            return {"number": row["number"], "reply": row["reply"]}
        error = row.get("error") or row.get("__inference_error__") or None
        reply = pickle.dumps((row.get("prompt_logprobs"), row.get("logprobs"), error))
        return {"number": row["number"], "reply": reply}

    with engines(settings, "What was answered is kept: the same command asks only for the rest."):
        answered = _run(ray.data.from_items(rows), settings, context, lambda row: row, with_logprobs, workspace)
        for row in answered.iter_rows():
            prompt_logprobs, next_logprobs, error = pickle.loads(row["reply"])
            question, asked = questions[row["number"]], tokens[row["number"]]
            reply = Reply(None, len(asked.prompt), error) if error else read_reply(question, asked, prompt_logprobs, next_logprobs)
            yield question, reply


def _run(
    rows: ray.data.Dataset, settings: ModelSettings, context: int, preprocess: Callable[[dict[str, Any]], dict[str, Any]],
    postprocess: Callable[[dict[str, Any]], dict[str, Any]], workspace: Workspace | None,
) -> ray.data.Dataset:  # fmt: skip
    """Rows through engines: with `tokenized_prompt` and, after the preprocess, `sampling_params`."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # imports vLLM, which a job without a model can do without

    config = vLLMEngineProcessorConfig(
        model_source=model_files(settings, workspace),
        engine_kwargs=engine_arguments(settings, context),
        runtime_env={"env_vars": engine_environment(settings)},
        placement_group_config={"bundles": _bundles(settings)},
        concurrency=(settings.replicas_min, settings.replicas_max),
        batch_size=settings.rows_per_batch,
        max_concurrent_batches=settings.batches_at_once,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage=False, tokenize_stage=False, detokenize_stage=False,
    )  # fmt: skip
    processor = build_processor(config, preprocess=preprocess, postprocess=postprocess)
    stage = processor.get_stage_by_name(ENGINE_STAGE.removesuffix("UDF"))
    # Nothing is assigned to the stage: it would work out its resources anew, and by now without the bundles that it was given.
    stage.map_batches_kwargs.update(max_restarts=settings.restarts_per_engine)
    object.__setattr__(stage, "fn", watched(stage.fn, settings, workspace))
    # A row that failed bypasses the processor's own last step: hence once more after it.
    return processor(rows.repartition(target_num_rows_per_block=settings.rows_per_batch)).map(postprocess)


class EngineDeaths:
    """Counts how often engines were started again, and keeps what the last one said. An actor, since engines run on many nodes."""

    def __init__(self) -> None:
        self.restarts, self.words = 0, ""

    def note(self, words: str) -> None:
        self.words = words

    def restart(self) -> int:
        self.restarts += 1
        return self.restarts

    def story(self) -> tuple[int, str]:
        return self.restarts, self.words


_deaths: dict[str, ray.actor.ActorHandle] = {}
"""The count of the plan that this driver runs now, by the id of its job."""


def watched(engine: type[Any], settings: ModelSettings, workspace: Workspace | None = None) -> type[Any]:
    """The class of Ray's engine actors, which Ray starts again whenever one dies; this one counts that, and stops where it is too often.

    An engine's process that dies leaves an error in the actor around it, which then ends itself. The error is kept before it does.
    """
    job = ray.get_runtime_context().get_job_id()
    deaths = _deaths.setdefault(job, ray.remote(EngineDeaths).options(num_cpus=0).remote())

    class Watched(engine):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            again = ray.get_runtime_context().was_current_actor_reconstructed
            if again and ray.get(deaths.restart.remote()) > settings.restarts_in_all:
                raise RuntimeError(f"engines were started again more than {settings.restarts_in_all} times")
            if settings.model.startswith(WORKSPACE):
                options["model"] = model_files(settings, workspace)  # of this node
            super().__init__(*arguments, **options)
            generate = self.llm.generate_async

            async def noting_its_death(row: dict[str, Any]) -> Any:
                try:
                    return await generate(row)
                except Exception as error:
                    if type(error).__name__ == "EngineDeadError":
                        await deaths.note.remote(_last_error() or str(error))
                    raise

            self.llm.generate_async = noting_its_death

    Watched.__name__ = Watched.__qualname__ = engine.__name__  # by which the actor, and an error about it, are known
    return Watched


def _last_error() -> str:
    """The last error in this process's own log, where the engine's process writes too; empty where there is none."""
    log = Path("/proc/self/fd/2")
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_BYTES_READ))
            text = file.read().decode(errors="replace")
    except OSError:  # no file, or no /proc
        return ""
    errors = [found[1] for found in ERROR_LINE.finditer(text) if "EngineDeadError" not in found[1]]
    return errors[-1][:600] if errors else ""


@contextmanager
def engines(settings: ModelSettings, hint: str) -> Iterator[None]:
    """Around the making and the run of a plan with `ask_all`: frees what its engines held, and says why an engine did not start or live.

    An engine over several GPUs reserves a placement group, and Ray Data leaves it behind.

    Args:
        hint: a sentence that ends the message, on what the user can do.

    Raises:
        ShelfcodeError: an engine does not start, or engines died more often than the settings allow.
    """
    earlier = _placement_groups()
    try:
        yield
    except ray.exceptions.ActorDiedError as error:
        if ENGINE_STAGE not in str(error):
            raise
        raise ShelfcodeError(f"{_what_happened(settings, str(error))} {hint}") from error
    finally:
        _deaths.pop(ray.get_runtime_context().get_job_id(), None)
        for name in _placement_groups() - earlier:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(name)))


def _what_happened(settings: ModelSettings, traceback: str) -> str:
    deaths = _deaths.get(ray.get_runtime_context().get_job_id())
    restarts, words = ray.get(deaths.story.remote()) if deaths else (0, "")
    if not restarts and not words:
        return f"the {settings.section}'s engine does not start: {_cause(traceback)}."
    return (
        f"the {settings.section}'s engines died {restarts + 1} times, and {settings.section}.restarts_per_engine "
        f"{settings.restarts_per_engine} and restarts_in_all {settings.restarts_in_all} allow no more. The last one said: "
        f"{words or _cause(traceback)}. What was extracted is kept."
    )


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
