"""What stands before a text and before a query: some encoders were trained with a word or an instruction there, and are worse without it.

The recipe's own counts first, then what the model's folder says, then what is known of a family of models by its name.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shelfcode.embedding.settings import EncoderSettings
from shelfcode.model_source import WORKSPACE

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

E5 = re.compile(r"(^|[-/])e5-(small|base|large)(?!.*instruct)")
QUERY, DOCUMENT = "query", "document"
"""Names of prompts that sentence-transformers' encode_query and encode_document look for."""


def prompts(settings: EncoderSettings, model: "SentenceTransformer") -> tuple[str, str]:
    """What stands before every text of a product, and before every query."""
    known = {name: text or "" for name, text in model.prompts.items()}
    return document_prompt(settings, known), query_prompt(settings, known)


def set_prompts(settings: EncoderSettings, model: "SentenceTransformer") -> None:
    """Write into a model what it is trained with, so that its folder says so, whatever it is called from then on."""
    document, query = prompts(settings, model)
    model.prompts = {**model.prompts, QUERY: query, DOCUMENT: document}


def document_prompt(settings: EncoderSettings, known: dict[str, str]) -> str:
    """What stands before every text: the recipe's own, else the model's document prompt, else none."""
    if settings.prompt != "auto":
        return settings.prompt
    return _known_prompt(known, ("document", "passage", "Retrieval-document")) or ("passage: " if _is_plain_e5(settings, known) else "")


def query_prompt(settings: EncoderSettings, known: dict[str, str]) -> str:
    """What stands before every query: the recipe's own, else the model's query prompt, else none."""
    if settings.query_prompt != "auto":
        return settings.query_prompt
    return _known_prompt(known, ("query", "Retrieval-query")) or ("query: " if _is_plain_e5(settings, known) else "")


def _is_plain_e5(settings: EncoderSettings, known: dict[str, str]) -> bool:
    """Whether a model is one of the e5 family, by its name, that does not itself say what it wants before a text.

    Encoders that a workspace keeps always say so: they were saved with the prompts that they were trained with, or with none.
    """
    return not settings.model.startswith(WORKSPACE) and not any(known.values()) and bool(E5.search(settings.model.lower()))


def _known_prompt(known: dict[str, str], names: Sequence[str]) -> str:
    return next((known[name] for name in names if known.get(name)), "")
