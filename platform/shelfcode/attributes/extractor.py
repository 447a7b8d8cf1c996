"""Which extractor a recipe asks for: its name in the workspace, and whether its model can be run here."""

import hashlib
import json
from pathlib import Path

from shelfcode.attributes.prompt import PROMPT_VERSION, extraction_budget
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.llm.engine import check_installed
from shelfcode.llm.prompt import load_tokenizer
from shelfcode.model_folder import check_model_folder
from shelfcode.model_source import content_digest, model_path, readable_name, telling_arguments


def extractor_name(settings: ExtractorSettings, prompt_version: str = PROMPT_VERSION) -> str:
    """The name of the folder for attributes: readable, and different whenever the answers may be."""
    if settings.engine == "rules":
        searched = {name: attribute.model_dump(exclude={"description"}) for name, attribute in settings.attributes.items()}
        return RULES_EXTRACTOR + (f"-{_digest(json.dumps(searched, sort_keys=True))}" if searched else "")
    extra = json.dumps({name: attribute.model_dump() for name, attribute in settings.attributes.items()})
    path = Path(model_path("extractor.model", settings.model))
    content = content_digest(path) if path.is_dir() else settings.model
    decides = (
        content, settings.revision, settings.chosen_dtype, prompt_version, settings.max_input_tokens, settings.max_output_tokens,
        settings.retry_output_tokens, extra, telling_arguments(settings.engine_arguments),
        *([] if settings.grounding == "lexicon" else [settings.grounding]),
    )  # fmt: skip
    return f"{readable_name(settings.model)}-{_digest(repr(decides))}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def check_extractor(settings: ExtractorSettings) -> None:
    """Say what is wrong with the extractor's model before any work is done.

    Raises:
        ShelfcodeError: vLLM is not installed; or the model cannot be found, is not whole, has no chat template, or a context too short.
    """
    if settings.engine == "vllm":
        check_installed(settings)
        check_model_folder("extractor.model", settings.model, model_path("extractor.model", settings.model), settings.alternative)
        extraction_budget(settings, load_tokenizer(settings))
