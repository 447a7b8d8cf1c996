"""Prompts as tokens: a conversation in the model's own template, with a text cut to what the model's context leaves for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.model_files import model_files
from shelfcode.llm.settings import ModelSettings
from shelfcode.text import cut
from shelfcode.workspace import Workspace

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase

LEAST_TEXT_TOKENS = 16

Messages = list[dict[str, str]]
"""A conversation: each message has a `role` (system, user) and its `content`. The model's answer is the next turn."""


@dataclass(frozen=True)
class TokenBudget:
    """How a model's context is divided, in tokens.

    Attributes:
        context: instructions, text and answer together: vLLM's max_model_len.
        text: of the text that is asked about.
    """

    context: int
    text: int


@dataclass(frozen=True)
class Prompt:
    """A prompt as tokens, and whether its text had to be cut."""

    tokens: list[int]
    truncated: bool


def load_tokenizer(settings: ModelSettings, workspace: Workspace | None = None) -> "PreTrainedTokenizerBase":
    """The model's tokenizer, with its chat template.

    Raises:
        ShelfcodeError: the model cannot be found, or has no chat template.
    """
    tokenizer = _load("AutoTokenizer", settings, workspace)
    if not tokenizer.chat_template:
        raise ShelfcodeError(f"{settings.section}.model {settings.model!r} has no chat template: choose an instruct model")
    return tokenizer


def context_length(settings: ModelSettings, workspace: Workspace | None = None) -> int | None:
    """The number of tokens the model can hold; None where it does not say.

    Raises:
        ShelfcodeError: the model cannot be found.
    """
    length = getattr(_load("AutoConfig", settings, workspace).get_text_config(), "max_position_embeddings", None)
    return None if length is None else int(length)


def token_budget(
    settings: ModelSettings, tokenizer: "PreTrainedTokenizerBase", without_text: Messages, workspace: Workspace | None = None
) -> TokenBudget:
    """Tokens for a text beside the instructions and the longest answer.

    Args:
        without_text: the conversation with an empty text.

    Raises:
        ShelfcodeError: the model cannot be found, or its context leaves next to nothing for the text.
    """
    overhead = len(prompt_tokens(tokenizer, without_text))
    reserved = overhead + settings.retry_output_tokens
    whole = reserved + settings.max_input_tokens
    context = min(whole, context_length(settings, workspace) or whole, int(settings.engine_arguments.get("max_model_len", whole)))
    if context - reserved < LEAST_TEXT_TOKENS:
        raise ShelfcodeError(
            f"{settings.section}.model {settings.model!r} has a context of {context} tokens: {overhead} for the instructions and "
            f"{settings.retry_output_tokens} for the answer ({settings.section}.retry_output_tokens) leave "
            f"{max(0, context - reserved)} for the text"
        )
    return TokenBudget(context, context - reserved)


def check_context(settings: ModelSettings, longest: int, workspace: Workspace | None = None) -> int:
    """The context that prompts of up to `longest` tokens and one token of an answer take.

    Raises:
        ShelfcodeError: the model, or its engine_arguments.max_model_len, holds less.
    """
    least = longest + 1
    there = min(context_length(settings, workspace) or least, int(settings.engine_arguments.get("max_model_len", least)))
    if there < least:
        raise ShelfcodeError(
            f"{settings.section}.model {settings.model!r} has a context of {there} tokens, and the longest question takes {least}: "
            "choose a model with a longer context, fewer products a set, or shorter titles"
        )
    return least


def write_prompt(tokenizer: "PreTrainedTokenizerBase", conversation: Callable[[str], Messages], text: str, text_tokens: int) -> Prompt:
    """The prompt about one text, cut at a word where it is longer than `text_tokens`.

    The marks of the model's own template are taken out of the text: it must not end its own turn.

    Args:
        conversation: the messages that ask about a text.
    """
    for mark in tokenizer.all_special_tokens:
        text = text.replace(mark, " ")
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    truncated = len(spans) > text_tokens
    if truncated:
        text = cut(text, min(spans[text_tokens - 1][1], spans[text_tokens][0]))  # not inside a character that is several tokens
    return Prompt(prompt_tokens(tokenizer, conversation(text)), truncated)


def prompt_text(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> str:
    """The messages as the model's own template writes them, up to where the answer begins."""
    # enable_thinking: models that would think aloud first are told not to; other templates do not know the word.
    written: str = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, enable_thinking=False)
    return written


def prompt_tokens(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> list[int]:
    """The same as tokens."""
    tokens: list[int] = tokenizer(prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"]
    return tokens


def _load(kind: str, settings: ModelSettings, workspace: Workspace | None) -> Any:
    """A part of the model, by the name of one of transformers' Auto classes."""
    import transformers

    path = model_files(settings, workspace)
    trusted = bool(settings.engine_arguments.get("trust_remote_code"))
    try:
        return getattr(transformers, kind).from_pretrained(path, revision=settings.revision, trust_remote_code=trusted)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        alternative = f"; or {settings.alternative}, which needs no model" if settings.alternative else ""
        raise ShelfcodeError(
            f"{settings.section}.model {settings.model!r} cannot be loaded: {reason}. "
            f"Give a folder, a name on the model hub, or package:NAME{alternative}"
        ) from error
