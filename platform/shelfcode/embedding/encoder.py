"""Text -> embedding: a sentence-transformers model, fed by token budget. Plain class, no Ray."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shelfcode.embedding.prompts import prompts
from shelfcode.embedding.published_encoder import encoder_path
from shelfcode.embedding.settings import EncoderSettings, TextViewSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.flavor import Recipe
from shelfcode.hardware import torch_device
from shelfcode.model_folder import check_model_folder
from shelfcode.model_source import content_digest, readable_name, telling_arguments
from shelfcode.workspace import Workspace

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

INT8_VECTORS = 1
"""Hashed into the name of embeddings made in int8. Raise it with whatever changes them: calibration texts, settings, versions of NNCF."""


class TextEncoder(Protocol):
    """Anything that turns texts into embeddings."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[N, d], unit norm, in the order of the texts; a row that is not finite is left for the caller to reject."""

    def cuts(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text has more tokens than the encoder reads."""


LoadEncoder = Callable[[EncoderSettings, Workspace], TextEncoder]
"""Settings of an encoder, and the workspace that may keep it -> the encoder, ready to embed."""


class Encoder:
    """A loaded model. `embed` gives unit-norm float32 vectors in the order of the texts."""

    def __init__(self, settings: EncoderSettings, workspace: Workspace | None = None) -> None:
        """Load the model onto its device.

        Args:
            workspace: keeps the encoder, where the settings name one of a workspace.

        Raises:
            ShelfcodeError: the model cannot be found, or cannot be run by its backend, or gives fewer dimensions than asked for.
        """
        import torch  # seconds to import: only the actors that embed pay for it, not every task that handles a text

        torch.set_num_threads(settings.cpus_per_actor)
        device = torch_device(settings.chosen_device, "encoder.gpus_per_actor")
        path = encoder_path(settings.model, workspace)
        self.model = load_model(settings, path, device, getattr(torch, settings.chosen_dtype))
        limit_tokens(self.model, settings.max_tokens)
        self.prompt, self.query_prompt = prompts(settings, self.model)
        if settings.chosen_backend == "int8":
            from shelfcode.embedding.int8 import run_in_int8

            run_in_int8(self.model, settings, workspace, self.prompt)
        self.tokens_per_batch = settings.tokens_per_batch
        width = self.model.get_embedding_dimension()
        if settings.dimensions and width and width < settings.dimensions:
            raise ShelfcodeError(f"encoder.dimensions {settings.dimensions}: {settings.model} has only {width}")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of products' texts: float32[N, d], unit norm; a row that is not finite is left for the caller to reject."""
        return embed_texts(self.model, texts, self.prompt, self.tokens_per_batch)

    def cuts(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text, with its prompt, has more tokens than the encoder reads."""
        return longer_than(self.model.tokenizer, [self.prompt + text for text in texts], self.model.max_seq_length)

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of queries: as `embed`, with the prompt that the model wants before a query."""
        return embed_texts(self.model, queries, self.query_prompt, self.tokens_per_batch)


def load_encoder(settings: EncoderSettings, workspace: Workspace | None = None) -> TextEncoder:
    """The encoder that settings name, hosted by the engine that they name.

    Raises:
        ShelfcodeError: as `Encoder`, or as `VllmEncoder`.
    """
    if settings.engine == "vllm":
        from shelfcode.embedding.vllm_encoder import VllmEncoder  # which builds on this module

        return VllmEncoder(settings, workspace)
    return Encoder(settings, workspace)


def load_model(settings: EncoderSettings, path: str, device: "torch.device", dtype: "torch.dtype") -> "SentenceTransformer":
    """The model of a folder or hub name, in torch.

    Raises:
        ShelfcodeError: it cannot be found or loaded, or its folder is not whole.
    """
    from sentence_transformers import SentenceTransformer

    check_model_folder("encoder.model", settings.model, path)
    try:
        model = SentenceTransformer(
            path, device=str(device), revision=settings.revision, truncate_dim=settings.dimensions, model_kwargs={"dtype": dtype}
        )
    except Exception as error:  # the libraries raise kinds of their own for each way in which a model can be damaged
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ShelfcodeError(
            f"encoder.model {settings.model!r} cannot be loaded: {reason}. Give a folder, a name on the model hub, or package:NAME"
        ) from error
    return model


def limit_tokens(model: "SentenceTransformer", max_tokens: int) -> None:
    """Cut texts at so many tokens, or where the model itself cuts them if that is earlier."""
    limit = model.max_seq_length
    model.max_seq_length = min(max_tokens, limit) if limit else max_tokens


def embed_texts(model: "SentenceTransformer", texts: Sequence[str], prompt: str, tokens_per_batch: int) -> NDArray[np.float32]:
    """Embeddings of texts, fed by token budget: float32[N, d], unit norm, in the order of the texts."""
    if not texts:
        return np.empty((0, model.get_embedding_dimension() or 0), np.float32)
    rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
    for group in token_batches(token_counts(model, texts, prompt), tokens_per_batch):
        vectors = model.encode(
            [texts[i] for i in group], prompt=prompt, batch_size=len(group), show_progress_bar=False, convert_to_numpy=True
        )
        for i, vector in zip(group, np.asarray(vectors, dtype=np.float32), strict=True):
            rows[i] = vector
    return unit_rows(np.stack(rows))


def token_counts(model: "SentenceTransformer", texts: Sequence[str], prompt: str) -> list[int]:
    """Tokens of each text with its prompt, as the model will see it."""
    tokens = model.tokenizer([prompt + text for text in texts], truncation=True, max_length=model.max_seq_length)
    return [len(ids) for ids in tokens["input_ids"]]


def longer_than(tokenizer: Any, texts: Sequence[str], max_tokens: int | None) -> list[bool]:
    """Whether each text has more tokens than these."""
    if max_tokens is None:
        return [False] * len(texts)
    tokens = tokenizer(list(texts), truncation=True, max_length=max_tokens + 1)
    return [len(ids) > max_tokens for ids in tokens["input_ids"]]


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


def encoder_name(encoder: EncoderSettings, view: TextViewSettings) -> str:
    """Name of the folder for embeddings: readable, and different whenever the vectors would be.

    It depends on the settings alone, and on no hardware that one actor finds and another does not. A model's folder counts by its content.
    """
    folder = Path(encoder.model)
    model = content_digest(folder) if folder.is_dir() else encoder.model
    int8 = encoder.chosen_backend == "int8"
    precision = "int8" if int8 else encoder.chosen_dtype
    parts = (
        model, encoder.revision, encoder.engine, telling_arguments(encoder.engine_arguments), precision,
        (INT8_VECTORS, encoder.int8_model) if int8 else None, encoder.prompt, encoder.dimensions, encoder.max_tokens, view.kind,
        view.columns if view.kind == "raw" else None, view.max_characters,
    )  # fmt: skip
    return f"{readable_name(encoder.model)}-{view.kind}-{precision}-{hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()}"


def name_before_pinning(encoder: EncoderSettings, view: TextViewSettings) -> str:
    """The name that releases of before gave to the embeddings of these settings: it said `auto` where an actor chose the precision."""
    folder, backend = Path(encoder.model), "int8 1" if encoder.chosen_backend == "int8" else encoder.chosen_backend
    parts = (
        content_digest(folder) if folder.is_dir() else encoder.model, encoder.revision, encoder.engine,
        telling_arguments(encoder.engine_arguments), backend, encoder.dtype, encoder.prompt, encoder.dimensions, encoder.max_tokens,
        view.kind, view.columns if view.kind == "raw" else None, view.max_characters,
    )  # fmt: skip
    return f"{readable_name(encoder.model)}-{view.kind}-{hashlib.blake2b(repr(parts).encode(), digest_size=4).hexdigest()}"


def embeddings_folder(recipe: Recipe) -> str:
    """Where the embeddings of a recipe's encoder and text view are, within the workspace."""
    return f"embeddings/{encoder_name(recipe.encoder, recipe.text_view)}"
