"""The transformer of an encoder in int8, run by OpenVINO: for CPUs, where it is more than twice as fast as torch. Plain, no Ray.

Only the transformer of a sentence-transformers model is replaced; its tokenizer, its pooling and whatever follows stay. Weights and
activations are quantised once, after training, and the workspace keeps the result (int8_models.py): another kind of CPU might make another
model of them. The ranges of the activations come from fixed texts and never from the catalog that is embedded: so a product keeps its
vector when the catalog around it changes.
"""

import io
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils import logging as transformers_logging

from shelfcode.embedding.int8_models import ADVICE, built_folder, calibration_texts, digest_of, fetch_model, int8_source, place
from shelfcode.embedding.prompts import document_prompt
from shelfcode.embedding.settings import EncoderSettings
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TEXTS_A_BATCH = 16
LEAST_COSINE = 0.98
"""Mean cosine to the float32 vectors below which a model is refused: its vectors would be another model's."""
OUTPUT = "last_hidden_state"

Quantiser = Callable[[torch.nn.Module, Sequence[dict[str, NDArray[Any]]]], Any]
"""A transformers model and batches of its inputs -> OpenVINO's form of it in int8."""

log = logging.getLogger(__name__)


class Int8Transformer(torch.nn.Module):
    """Stands where a transformers model stood: takes the same inputs, and gives the last hidden state."""

    def __init__(self, model: Any, threads: int, config: Any) -> None:
        """Compile a model of OpenVINO, or one in a file, for so many threads; `config` is that of the model it stands for."""
        super().__init__()
        self.compiled = _openvino().Core().compile_model(
            model,
            "CPU",
            {
                # One request at a time on all threads: with the throughput hint it would run on one of them.
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                # Pinned, the actors of a node would all sit on its first cores.
                "ENABLE_CPU_PINNING": False,
                # By default bfloat16 on CPUs that have it, for the same speed: vectors would depend on the machine.
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )  # fmt: skip
        self.request = self.compiled.create_infer_request()
        self.names = [tensor.get_any_name() for tensor in self.compiled.inputs]
        self.config, self.device, self.dtype = config, torch.device("cpu"), torch.float32

    def forward(self, **inputs: Any) -> dict[str, Tensor]:
        """The last hidden state, float32[B, T, H], under the name that transformers gives it."""
        arrays = {name: inputs[name].numpy() for name in self.names}
        return {OUTPUT: torch.from_numpy(self.request.infer(arrays, share_inputs=True)[0])}


def quantise(model: torch.nn.Module, inputs: Sequence[dict[str, NDArray[Any]]]) -> Any:
    """OpenVINO's form of a transformers model, weights and activations in int8.

    Args:
        inputs: batches of what the model is given when it embeds texts; the ranges of the activations are taken from them.
    """
    openvino, names = _openvino(), list(inputs[0])
    with _quietly(), torch.inference_mode():
        import nncf

        example = tuple(torch.from_numpy(inputs[0][name][:2]) for name in names)
        converted = openvino.convert_model(_ByPosition(model, names), example_input=example)
        for tensor, name in zip(converted.inputs, names, strict=True):
            tensor.get_tensor().set_names({name})
        return nncf.quantize(converted, nncf.Dataset(list(inputs)), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs))


def run_in_int8(
    model: "SentenceTransformer", settings: EncoderSettings, workspace: Workspace | None, prompt: str, quantise: Quantiser = quantise,
    least_cosine: float = LEAST_COSINE,
) -> None:  # fmt: skip
    """Replace the transformer of a model that was loaded in float32, with its limit of tokens set.

    Where the settings name a model that the workspace keeps, it is that one. Where they name none, as outside a job, it is one that this
    node has built.

    Args:
        workspace: that keeps models in int8, and perhaps the encoder.
        prompt: put before every text that the ranges are taken from, as before those to be embedded.
        least_cosine: a model that keeps less of its vectors, on average, is refused.

    Raises:
        ShelfcodeError: the model cannot be converted, int8 does not keep its vectors, a library is missing, or the workspace does not keep
            the model that the settings name.
    """
    transformer = _transformer(model, settings)
    config = transformer.model.config
    if settings.int8_model:
        folder = fetch_model(workspace, settings.int8_model)
    else:
        folder = build_once(model, settings, workspace, prompt, quantise, least_cosine) / "model"
    transformer.model = Int8Transformer(folder / "model.xml", settings.cpus_per_actor, config)


def build_once(
    model: "SentenceTransformer", settings: EncoderSettings, workspace: Workspace | None, prompt: str, quantise: Quantiser = quantise,
    least_cosine: float = LEAST_COSINE,
) -> Path:  # fmt: skip
    """The folder in which this node keeps the quantised model (`int8_models.place`); built where it is not whole.

    Processes that ask at the same time wait for the first. Arguments and errors as those of `run_in_int8`.
    """
    folder = built_folder(int8_source(settings, document_prompt(settings, {}), workspace))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if digest_of(folder) is None:
            log.info(f"{settings.model} is quantised to int8, once for this node")
            _keep(_build(model, settings, prompt, quantise, least_cosine), folder)
    return folder


def _transformer(model: "SentenceTransformer", settings: EncoderSettings) -> Any:
    """The module that holds the transformer, where it is one that gives hidden states of text."""
    first: Any = model[0]
    text = getattr(first, "modality_config", {}).get("text", {})
    if text.get("method") != "forward" or text.get("method_output_name") not in (OUTPUT, (OUTPUT,), [OUTPUT]):
        raise ShelfcodeError(f"encoder.model {settings.model!r}: {type(first).__name__} cannot be run in int8; {ADVICE}")
    return first


def _build(model: "SentenceTransformer", settings: EncoderSettings, prompt: str, quantise: Quantiser, least_cosine: float) -> Any:
    """The model's transformer, quantised, in OpenVINO's form; the model's own is gone afterwards."""
    texts, others = calibration_texts()
    inputs, expected_ND = _watched_inputs(model, texts, prompt), _vectors(model, others, prompt)
    transformer: Any = model[0]
    try:
        quantised = quantise(transformer.model, inputs)
    except Exception as error:  # the two libraries raise all sorts of errors at an architecture that they do not know
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ShelfcodeError(f"encoder.model {settings.model!r} cannot be converted to int8: {reason}; {ADVICE}") from error
    transformer.model = Int8Transformer(quantised, settings.cpus_per_actor, transformer.model.config)
    cosine = float((expected_ND * _vectors(model, others, prompt)).sum(axis=1).mean())
    if not cosine >= least_cosine:
        raise ShelfcodeError(
            f"encoder.model {settings.model!r} loses too much in int8: mean cosine {cosine:.3f} to its float32 vectors, "
            f"at least {least_cosine} is wanted; {ADVICE}"
        )
    return quantised


def _keep(quantised: Any, folder: Path) -> str:
    """Write a quantised model; the folder appears whole or not at all. The model's digest."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _openvino().save_model(quantised, draft / "model.xml", compress_to_fp16=False)
    return place(draft, folder)


def _watched_inputs(model: "SentenceTransformer", texts: Sequence[str], prompt: str) -> list[dict[str, NDArray[Any]]]:
    """What the transformer is given when the model embeds texts, batch by batch."""
    first: Any = model[0]
    width, seen = first.get_embedding_dimension(), []

    def watch(**inputs: Any) -> dict[str, Tensor]:
        seen.append({name: value.numpy() for name, value in inputs.items() if isinstance(value, Tensor)})
        return {OUTPUT: torch.zeros(*inputs["input_ids"].shape, width)}  # nobody looks at what comes of it

    first.model.forward = watch  # no hook: sentence-transformers calls this method and not the module
    _vectors(model, texts, prompt)
    del first.model.forward
    return seen


def _vectors(model: "SentenceTransformer", texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
    return np.asarray(
        model.encode(
            list(texts), prompt=prompt, batch_size=TEXTS_A_BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
    )


class _ByPosition(torch.nn.Module):
    """A transformers model whose inputs have an order, and which gives nothing but the last hidden state."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        hidden_BTH: Tensor = self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=True)[OUTPUT]
        return hidden_BTH


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the libraries say on the way. NNCF would say it on what is stdout when it is imported, and that is a job's result."""
    verbosity = transformers_logging.get_verbosity()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        transformers_logging.set_verbosity_error()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)


def _openvino() -> Any:
    """OpenVINO; it and NNCF report their use to their makers, by network, wherever this one package can be imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
