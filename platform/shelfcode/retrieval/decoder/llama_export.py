"""A generator as a Llama model, in a folder that vLLM and transformers load.

The generator's transformer is Llama's. What Llama has in other places or not at all:

- The vocabulary is the codewords of all levels, one level after the other, and behind them a few tokens that engines ask for. Vectors of
  codewords are written as they are used, the codebook's part and the learnt part added up.
- A token of a prompt is no token of the vocabulary (a product is the sum of its codewords' vectors), so prompts are given as vectors.
- All levels share one output, of which a reader takes the part of the level. Llama has no biases: those of the codewords, and what makes
  log-probabilities of the logits, are added by whoever reads them (vllm_decoding.py).
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here V tokens of the vocabulary, D width.

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from shelfcode.retrieval.generator import CodewordVectors, Generator
from shelfcode.retrieval.recipe import PromptSettings
from shelfcode.retrieval.transformer import EPSILON, ROTARY_BASE, Shape

SPECIAL_TOKENS = ("pad", "begin", "end")
"""Tokens behind the codewords, with vectors of zeros; a generator never reads or writes them."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of the exported model.

    Attributes:
        sizes: codewords per level.
    """

    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.sizes) + len(SPECIAL_TOKENS)

    def codewords(self, level: int) -> slice:
        """The tokens of a level: codeword k is the k-th of them."""
        first = sum(self.sizes[:level])
        return slice(first, first + self.sizes[level])

    def special(self, name: str) -> int:
        """One of SPECIAL_TOKENS."""
        return sum(self.sizes) + SPECIAL_TOKENS.index(name)


def export_llama(generator: Generator, folder: Path, max_tokens: int) -> Vocabulary:
    """Write `config.json` and `model.safetensors`, in float32. There is no tokenizer: prompts are no text.

    Args:
        folder: made where there is none.
        max_tokens: of a prompt and the codewords after it.
    """
    vocabulary = Vocabulary(generator.sizes)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(llama_config(generator.transformer.shape, vocabulary, max_tokens), indent=2)
    (folder / "config.json").write_text(config + "\n")
    save_file(llama_weights(generator), folder / "model.safetensors", metadata={"format": "pt"})
    return vocabulary


def tokens_at_most(prompt: PromptSettings, levels: int) -> int:
    """Tokens of the longest prompt, marks and products, and of a whole semantic ID after it."""
    return 3 + len(prompt.segments) + prompt.history_products + prompt.session_products + levels


def llama_config(shape: Shape, vocabulary: Vocabulary, max_tokens: int) -> dict[str, Any]:
    """What `LlamaConfig` reads, and `codeword_sizes`, by which a reader finds the levels."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "hidden_act": "silu",
        "rms_norm_eps": EPSILON,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROTARY_BASE},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "max_position_embeddings": max_tokens,
        "pad_token_id": vocabulary.special("pad"),
        "bos_token_id": vocabulary.special("begin"),
        "eos_token_id": vocabulary.special("end"),
        "dtype": "float32",
        "codeword_sizes": list(vocabulary.sizes),
    }


@torch.no_grad()
def llama_weights(generator: Generator) -> dict[str, Tensor]:
    """The weights by their names in `LlamaForCausalLM`, on the CPU."""
    found = {
        "model.embed_tokens.weight": _all_levels(generator.codeword),
        "lm_head.weight": _all_levels(generator.output),
        **{f"model.{_llama_name(name)}": weight for name, weight in generator.transformer.state_dict().items()},
    }
    return {name: weight.detach().float().cpu().contiguous() for name, weight in found.items()}


def _all_levels(levels: Iterable[Any]) -> Tensor:
    """The vectors of all codewords, and of the special tokens: [V, D]."""
    vectors: list[Tensor] = [level.weight() for level in levels if isinstance(level, CodewordVectors)]
    return torch.cat([*vectors, vectors[0].new_zeros(len(SPECIAL_TOKENS), vectors[0].shape[1])])


def _llama_name(name: str) -> str:
    """Llama keeps the gated linear unit of a block in a module of its own."""
    *module, layer, weight = name.split(".")
    return ".".join([*module, "mlp", layer, weight]) if layer in ("gate_proj", "up_proj", "down_proj") else name
