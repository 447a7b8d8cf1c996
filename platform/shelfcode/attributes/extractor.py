"""Which extractor a recipe asks for: its name in the workspace, and whether its model can be had."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfcode.attributes.prompt import PROMPT_VERSION
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.model_source import content_digest, model_path, readable_name, telling_arguments

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase


def extractor_name(settings: ExtractorSettings) -> str:
    """Name of the folder for attributes: readable, and different whenever the answers may be."""
    if settings.engine == "rules":
        told = {name: attribute.model_dump(exclude={"description"}) for name, attribute in settings.attributes.items()}
        return RULES_EXTRACTOR + (f"-{_digest(json.dumps(told, sort_keys=True))}" if told else "")
    extra = json.dumps({name: attribute.model_dump() for name, attribute in settings.attributes.items()})
    path = Path(model_path("extractor.model", settings.model))
    content = content_digest(path) if path.is_dir() else settings.model
    decides = (
        content, settings.revision, settings.dtype, PROMPT_VERSION, settings.max_input_tokens, settings.max_output_tokens,
        settings.retry_output_tokens, extra, telling_arguments(settings.engine_arguments),
    )  # fmt: skip
    return f"{readable_name(settings.model)}-{_digest(repr(decides))}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def load_tokenizer(settings: ExtractorSettings) -> "PreTrainedTokenizerBase":
    """The tokenizer of the extractor's model, with its chat template.

    Raises:
        ShelfcodeError: the model cannot be found, or cannot be talked to.
    """
    tokenizer = _load("AutoTokenizer", settings)
    if not tokenizer.chat_template:
        raise ShelfcodeError(f"extractor.model {settings.model!r} has no chat template: choose an instruct model")
    return tokenizer


def context_length(settings: ExtractorSettings) -> int | None:
    """Tokens that the model can hold; None where it does not say.

    Raises:
        ShelfcodeError: the model cannot be found.
    """
    length = getattr(_load("AutoConfig", settings).get_text_config(), "max_position_embeddings", None)
    return None if length is None else int(length)


def _load(kind: str, settings: ExtractorSettings) -> Any:
    """A part of the model, by the name of one of transformers' Auto classes."""
    import transformers

    path = model_path("extractor.model", settings.model)
    trusted = bool(settings.engine_arguments.get("trust_remote_code"))
    try:
        return getattr(transformers, kind).from_pretrained(path, revision=settings.revision, trust_remote_code=trusted)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ShelfcodeError(
            f"extractor.model {settings.model!r} cannot be loaded: {reason}. Give a folder, a name on the model hub, or package:NAME; "
            "or --set extractor.engine=rules, which needs no model"
        ) from error
