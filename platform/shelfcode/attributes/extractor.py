"""Which extractor a recipe asks for: its name in the workspace, and whether its model can be run here."""

import hashlib
import json
from pathlib import Path

from shelfcode.attributes.prompt import extraction_budget, messages, prompt_version
from shelfcode.attributes.rules.extractor import RULES_EXTRACTOR
from shelfcode.attributes.settings import ExtractorSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import check_installed
from shelfcode.llm.model_files import model_files
from shelfcode.llm.prompt import load_tokenizer, prompt_text
from shelfcode.model_folder import check_model_folder
from shelfcode.model_source import WORKSPACE, content_digest, model_path, readable_name, telling_arguments
from shelfcode.workspace import Workspace


def extractor_name(settings: ExtractorSettings, version: str | None = None) -> str:
    """The name of the folder for attributes: readable, and different whenever the answers may be.

    Args:
        version: of the prompt, by default the one that the settings ask with.
    """
    ungrounded = [] if settings.grounding == "lexicon" else [f"grounding: {settings.grounding}"]
    if settings.engine == "rules":
        searched = {name: attribute.model_dump(exclude={"description", "stated"}) for name, attribute in settings.attributes.items()}
        decided = ([json.dumps(searched, sort_keys=True)] if searched else []) + ungrounded
        return RULES_EXTRACTOR + (f"-{_digest(''.join(decided))}" if decided else "")
    # What is not stated is left out, as it was before attributes could be: tables that are stored keep their names.
    told = {name: each.model_dump(exclude=None if each.stated else {"stated"}) for name, each in settings.attributes.items()}
    content = _content(settings.model)
    decides = (
        content, settings.revision, settings.chosen_dtype, version or prompt_version(settings), settings.max_input_tokens,
        settings.max_output_tokens, settings.retry_output_tokens, json.dumps(told),
        telling_arguments(settings.engine_arguments), *ungrounded,
    )  # fmt: skip
    return f"{readable_name(settings.model)}-{_digest(repr(decides))}"


def _content(model: str) -> str:
    """What tells models apart: the files of a folder; a name on the hub, and one of a workspace, whose versions never change."""
    if model.startswith(WORKSPACE):
        return model
    path = Path(model_path("extractor.model", model))
    return content_digest(path) if path.is_dir() else model


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def check_extractor(settings: ExtractorSettings, workspace: Workspace | None = None) -> None:
    """Say what is wrong with the extractor's model before any work is done.

    Raises:
        ShelfcodeError: vLLM is not installed; or the model cannot be found, is not whole, has no chat template, or a context too
            short; or it is asked for quotes, and its chat template leaves the instructions out that say so.
    """
    if settings.engine == "vllm":
        check_installed(settings)
        check_model_folder("extractor.model", settings.model, model_files(settings, workspace), settings.alternative)
        tokenizer = load_tokenizer(settings, workspace)
        if settings.asks_for_quotes and '"quote"' not in prompt_text(tokenizer, messages("", settings.attributes, quotes=True)):
            raise ShelfcodeError(
                f"extractor.quotes: {settings.model!r} cannot be asked for quotes, for its chat template leaves instructions out: it "
                "answers as it was taught. Say --set extractor.quotes=false"
            )
        extraction_budget(settings, tokenizer, workspace)
