"""A search over the exported model finds what a search over the generator finds. vLLM itself: tests/benchmarks/vllm_decoding.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small_generator import PRODUCTS, RECIPE, SIZES, codes, some_tokens, untrained_generator
from torch import Tensor
from transformers import LlamaForCausalLM

from shelfcode.retrieval.decoder.allowed import AllowedSets, allowed_set, stack_sets
from shelfcode.retrieval.decoder.beam_search import beam_search
from shelfcode.retrieval.decoder.llama_export import export_llama, tokens_at_most
from shelfcode.retrieval.decoder.trie import CodeTrie, build_trie
from shelfcode.retrieval.decoder.vllm_decoding import LlamaDecoding, LogitsOf

RETAILERS = (3, 40, PRODUCTS)
"""Products that each has."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LogitsOf:
    """Answers as vLLM does, prompt by prompt."""
    folder: Path = tmp_path_factory.mktemp("exported")
    export_llama(untrained_generator(), folder, tokens_at_most(RECIPE.prompt, len(SIZES)))
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def logits_of(prompts: Sequence[Tensor], wanted: slice) -> Tensor:
        return torch.stack([model(inputs_embeds=x_TD[None]).logits[0, -1, wanted] for x_TD in prompts])

    return logits_of


def retailers() -> tuple[CodeTrie, AllowedSets]:
    random, trie = np.random.default_rng(2), build_trie(codes(), SIZES)
    return trie, stack_sets([allowed_set(trie, random.choice(PRODUCTS, size, replace=False)) for size in RETAILERS])


def test_both_models_lead_to_the_same_products_with_the_same_probabilities(llama: LogitsOf) -> None:
    (trie, sets), generator, tokens = retailers(), untrained_generator(), some_tokens(3)
    allowed = sets.requests(np.arange(3))
    expected = beam_search(generator.decoding(tokens), trie.to("cpu"), allowed, 8)
    found = beam_search(LlamaDecoding(llama, generator, tokens), trie.to("cpu"), allowed, 8)
    assert found.leaf_RW.tolist() == expected.leaf_RW.tolist()
    assert (expected.leaf_RW[0] >= 0).sum() == RETAILERS[0]  # a retailer that has fewer semantic IDs than beams
    torch.testing.assert_close(found.log_probability_RW, expected.log_probability_RW, atol=1e-4, rtol=1e-4)


def test_a_search_begins_again_at_the_prompt(llama: LogitsOf) -> None:
    (trie, sets), tokens = retailers(), some_tokens(3)
    model, allowed = LlamaDecoding(llama, untrained_generator(), tokens), sets.requests(np.arange(3))
    first, second = (beam_search(model, trie.to("cpu"), allowed, 4) for _ in range(2))
    assert first.leaf_RW.tolist() == second.leaf_RW.tolist()


def test_beams_that_change_places_take_their_codewords_along(llama: LogitsOf) -> None:
    generator, tokens = untrained_generator(), some_tokens(2)
    ours, theirs = generator.decoding(tokens), LlamaDecoding(llama, generator, tokens)
    code_RW, parent_RW = torch.tensor([[1, 4, 0], [2, 2, 3]]), torch.tensor([[2, 0, 0, 1], [1, 2, 1, 0]])
    next_RW = torch.tensor([[7, 1, 11, 0], [3, 3, 5, 2]])
    with torch.inference_mode():
        for model in (ours, theirs):
            model.start()
            model.step(1, torch.zeros_like(code_RW), code_RW)
        torch.testing.assert_close(theirs.step(2, parent_RW, next_RW), ours.step(2, parent_RW, next_RW), atol=1e-4, rtol=1e-4)
