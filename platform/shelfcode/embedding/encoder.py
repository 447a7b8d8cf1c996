"""Text -> embedding: a sentence-transformers model, fed by token budget. Plain class, no Ray."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import EncoderSettings, TextViewSettings
from shelfcode.model_source import model_path, readable_name, telling_arguments

E5 = re.compile(r"(^|[-/])e5-(small|base|large)(?!.*instruct)")


class TextEncoder(Protocol):
    """Whatever turns texts into embeddings."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[N, d], unit norm, in the order of the texts; a row that is not finite is left for the caller to reject."""


class Encoder:
    """A loaded model. `embed` gives unit-norm float32 vectors in the order of the texts."""

    def __init__(self, settings: EncoderSettings) -> None:
        """Load the model onto its device.

        Raises:
            ShelfcodeError: the model cannot be found, or gives fewer dimensions than asked for.
        """
        # Seconds to import: only the actors that embed pay for it, not every task that handles a text.
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(settings.cpus_per_actor)
        device = settings.device if settings.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = settings.dtype if settings.dtype != "auto" else ("bfloat16" if device == "cuda" else "float32")
        path = model_path("encoder.model", settings.model)
        try:
            self.model = SentenceTransformer(
                path, device=device, backend=settings.backend, revision=settings.revision,
                truncate_dim=settings.dimensions, model_kwargs={"dtype": getattr(torch, dtype)},
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShelfcodeError(
                f"encoder.model {settings.model!r} cannot be loaded: {reason}. Give a folder, a name on the model hub, or package:NAME"
            ) from error
        limit = self.model.max_seq_length
        self.model.max_seq_length = min(settings.max_tokens, limit) if limit else settings.max_tokens
        self.prompt = document_prompt(settings, {name: text or "" for name, text in self.model.prompts.items()})
        self.tokens_per_batch = settings.tokens_per_batch
        width = self.model.get_embedding_dimension()
        if settings.dimensions and width and width < settings.dimensions:
            raise ShelfcodeError(f"encoder.dimensions {settings.dimensions}: {settings.model} has only {width}")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of texts: float32[N, d], unit norm; a row that is not finite is left for the caller to reject."""
        if not texts:
            return np.empty((0, self.model.get_embedding_dimension() or 0), np.float32)
        rows: list[NDArray[np.float32] | None] = [None] * len(texts)
        for group in token_batches(self._token_counts(texts), self.tokens_per_batch):
            vectors = self.model.encode(
                [texts[i] for i in group], prompt=self.prompt, batch_size=len(group), show_progress_bar=False, convert_to_numpy=True
            )
            for i, vector in zip(group, np.asarray(vectors, dtype=np.float32), strict=True):
                rows[i] = vector
        x_ND = np.stack(rows)  # type: ignore[arg-type]
        return unit_rows(x_ND)

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        limit = self.model.max_seq_length
        tokens = self.model.tokenizer([self.prompt + text for text in texts], truncation=True, max_length=limit)
        return [len(ids) for ids in tokens["input_ids"]]


def unit_rows(x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of unit norm; one of zeros, or that is not finite, becomes one that is not finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit_ND: NDArray[np.float32] = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    return unit_ND


def token_batches(token_counts: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions grouped by length, longest first, so that a group's padded size stays within the budget of tokens.

    A single text longer than the budget is a group of its own.
    """
    order = np.argsort(np.asarray(token_counts), kind="stable")[::-1]
    group: list[int] = []
    for position in order:
        longest = token_counts[group[0]] if group else token_counts[position]
        if group and longest * (len(group) + 1) > budget:
            yield group
            group = []
        group.append(int(position))
    if group:
        yield group


def document_prompt(settings: EncoderSettings, known: dict[str, str]) -> str:
    """What stands before every text: the recipe's own, else the model's document prompt, else none."""
    if settings.prompt != "auto":
        return settings.prompt
    for name in ("document", "passage", "Retrieval-document"):
        if known.get(name):
            return known[name]
    return "passage: " if E5.search(settings.model.lower()) else ""


def encoder_name(encoder: EncoderSettings, view: TextViewSettings) -> str:
    """Name of the folder for embeddings: readable, and different whenever the vectors would be."""
    parts = (
        encoder.model, encoder.revision, encoder.engine, telling_arguments(encoder.engine_arguments), encoder.backend, encoder.dtype,
        encoder.prompt, encoder.dimensions, encoder.max_tokens, view.kind, view.columns if view.kind == "raw" else None,
        view.max_characters,
    )  # fmt: skip
    return f"{readable_name(encoder.model)}-{view.kind}-{hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()}"
