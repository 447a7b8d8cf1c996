"""Products as requests to an LLM: a prompt of tokens that fits the model's context, and how the answer is to be sampled."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfcode.attributes.extractor import context_length, load_tokenizer
from shelfcode.attributes.prompt import conversation, product_text
from shelfcode.attributes.schema import ExtraAttributes, json_schema
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.text import cut

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase

LEAST_TEXT_TOKENS = 16


@dataclass(frozen=True)
class Room:
    """How a model's context is shared out, in tokens.

    Attributes:
        context: instructions, text and answer together: vLLM's max_model_len.
        text: of a product.
    """

    context: int
    text: int


def share_out(settings: ExtractorSettings) -> Room:
    """Room for a product's text beside the instructions and the longest answer.

    Raises:
        ShelfcodeError: the model cannot be found, or its context leaves next to nothing for the text.
    """
    overhead = len(_prompt(load_tokenizer(settings), "", settings.attributes))
    reserved = overhead + settings.retry_output_tokens
    wanted = reserved + settings.max_input_tokens
    limits = [wanted, context_length(settings) or wanted, int(settings.engine_arguments.get("max_model_len", wanted))]
    context = min(limits)
    if context - reserved < LEAST_TEXT_TOKENS:
        raise ShelfcodeError(
            f"extractor.model {settings.model!r} has a context of {context} tokens: {overhead} for the instructions and "
            f"{settings.retry_output_tokens} for the answer (extractor.retry_output_tokens) leave {max(0, context - reserved)} for the text"
        )
    return Room(context, context - reserved)


@dataclass(frozen=True)
class Prompt:
    """A prompt as tokens, and whether the product's text had to be cut."""

    tokens: list[int]
    truncated: bool


def write_prompt(
    tokenizer: "PreTrainedTokenizerBase", title: str, description: str | None, brand: str | None, extra: ExtraAttributes, text_tokens: int
) -> Prompt:
    """The prompt of one product.

    Marks that the model's own template is made of are taken out of the text: a product must not end its own turn.
    """
    text = product_text(title, description, brand)
    for mark in tokenizer.all_special_tokens:
        text = text.replace(mark, " ")
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    truncated = len(spans) > text_tokens
    if truncated:
        text = cut(text, min(spans[text_tokens - 1][1], spans[text_tokens][0]))  # not inside a sign that is several tokens
    return Prompt(_prompt(tokenizer, text, extra), truncated)


def _prompt(tokenizer: "PreTrainedTokenizerBase", text: str, extra: ExtraAttributes) -> list[int]:
    tokens: list[int] = tokenizer(conversation(tokenizer, text, extra), add_special_tokens=False)["input_ids"]
    return tokens


def sampling_parameters(extra: ExtraAttributes, output_tokens: int) -> dict[str, Any]:
    """Greedy, and held to the schema. The schema goes as text: as a dict, Arrow would give all objects in it the same keys."""
    return {"temperature": 0.0, "max_tokens": output_tokens, "structured_outputs": {"json": json.dumps(json_schema(extra))}}


def engine_arguments(settings: ExtractorSettings, room: Room) -> dict[str, Any]:
    """vLLM's engine arguments: what the recipe's fields say, under what its engine_arguments say."""
    cpu = settings.gpus_per_replica == 0
    chosen: dict[str, Any] = {
        "dtype": "float32" if cpu and settings.dtype == "auto" else settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel,
        "enforce_eager": cpu,  # compiling pays on a GPU only
        "enable_prefix_caching": True,  # all prompts begin with the same instructions
        # White space between values is the grammar's to forbid, or a weak model writes nothing else.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "disable_log_stats": True,
        "stream_interval": settings.retry_output_tokens,  # nobody reads an answer before it is whole
        **({"revision": settings.revision} if settings.revision else {}),
    }
    return chosen | settings.engine_arguments | {"max_model_len": room.context}


def engine_environment(settings: ExtractorSettings) -> dict[str, str]:
    """Environment variables of an engine: defaults for the CPU, under what the recipe says."""
    defaults = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if settings.gpus_per_replica == 0:
        defaults |= {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(settings.cpus_per_replica),
        }
    return defaults | settings.environment
