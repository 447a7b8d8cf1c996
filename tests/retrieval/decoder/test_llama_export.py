"""The exported model is a Llama model: transformers loads it, and after the same vectors it says what the generator says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_generator import MARKS, RECIPE, SIZES, some_contexts, some_tokens, untrained_generator
from transformers import LlamaForCausalLM

from shelfcode.retrieval.decoder.llama_export import SPECIAL_TOKENS, Vocabulary, export_llama, tokens_at_most
from shelfcode.retrieval.examples import prompts_of, tokens_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_llama(untrained_generator(), folder, tokens_at_most(RECIPE.prompt, len(SIZES)))
    return folder


def test_every_codeword_of_every_level_has_a_token_of_its_own() -> None:
    vocabulary = Vocabulary(SIZES)
    tokens = [token for level in range(len(SIZES)) for token in range(len(vocabulary))[vocabulary.codewords(level)]]
    tokens += [vocabulary.special(name) for name in SPECIAL_TOKENS]
    assert tokens == list(range(len(vocabulary)))
    assert [len(range(*vocabulary.codewords(level).indices(len(vocabulary)))) for level in range(len(SIZES))] == list(SIZES)


def test_a_reader_finds_the_levels_in_the_folder_and_vectors_of_codewords_as_they_are_used(folder: Path) -> None:
    generator, vocabulary = untrained_generator(), Vocabulary(SIZES)
    assert json.loads((folder / "config.json").read_text())["codeword_sizes"] == list(SIZES)
    weights = load_file(folder / "model.safetensors")
    for level, size in enumerate(SIZES):
        expected_KD = generator.vectors_of(level, torch.arange(size))
        torch.testing.assert_close(weights["model.embed_tokens.weight"][vocabulary.codewords(level)], expected_KD)


def test_transformers_says_what_the_generator_says_and_has_no_weight_too_few_or_too_many(folder: Path) -> None:
    llama, loaded = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(loaded[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    generator, tokens, vocabulary = untrained_generator(), some_tokens(4), Vocabulary(SIZES)
    with torch.inference_mode():
        x_RTD = generator.prompt(tokens, generator.product_vectors(tokens.product_RT))
        h_RTD = generator.transformer(x_RTD, torch.arange(x_RTD.shape[1]).expand(x_RTD.shape[:2]))
        for row, length in enumerate(tokens.length_R.tolist()):
            logits_V = llama(inputs_embeds=x_RTD[row : row + 1, :length]).logits[0, -1]
            for level in range(len(SIZES)):
                expected_K = generator.output[level].logits(h_RTD[row, length - 1]) - generator.output[level].bias
                torch.testing.assert_close(logits_V[vocabulary.codewords(level)], expected_K, atol=1e-4, rtol=1e-4)
    assert logits_V[vocabulary.special("end")] == 0


def test_the_longest_prompt_and_a_semantic_id_after_it_fit() -> None:
    full = RECIPE.prompt.history_products + RECIPE.prompt.session_products
    tokens = tokens_of(prompts_of(some_contexts(1, history=3 * full, cart=3 * full), MARKS, RECIPE.prompt), MARKS, RECIPE.prompt)
    assert tokens_at_most(RECIPE.prompt, len(SIZES)) == int(np.max(tokens.length_R)) + len(SIZES)
