from dataclasses import replace

import numpy as np
import pytest
import torch
from small_log import PRODUCTS, SIZES, small_codebooks, small_codes, small_log, small_recipe

from shelfcode.retrieval.decoder.allowed import allowed_where, stack_sets
from shelfcode.retrieval.decoder.beam_search import beam_search
from shelfcode.retrieval.decoder.trie import build_trie
from shelfcode.retrieval.examples import Marks, sample_batch
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.recipe import RetrieverRecipe

MARKS = Marks(retailers=2, surfaces=0)


def a_generator(recipe: RetrieverRecipe) -> Generator:
    torch.manual_seed(1)
    model = Generator(recipe, MARKS, small_codebooks()).with_codes(small_codes()).eval()
    with torch.no_grad():
        for weight in model.parameters():  # so that no part of the model says nothing
            weight.add_(0.3 * torch.randn_like(weight))
    return model


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_learnt_in_one_pass_is_what_decoding_writes_step_by_step(ordered: bool) -> None:
    recipe = small_recipe(prompt={"token_dropout": 0.0, "segment_dropout": 0.0})
    log, model = small_log(ordered), a_generator(recipe)
    sampled = sample_batch(log, np.array([1, 2, 5, 8]), MARKS, recipe.prompt, np.random.default_rng(0))
    tokens, targets = on_device(sampled.tokens, torch.device("cpu")), sampled.targets
    row_M, position_M, product_M = (torch.from_numpy(array) for array in (targets.row_M, targets.position_M, targets.product_M))
    with torch.no_grad():
        losses_ML = model.target_losses(tokens, row_M, position_M, product_M)
        for target in range(0, len(row_M), 3):
            row, end = int(row_M[target]), int(position_M[target]) + 1
            decoding = model.decoding(cut(tokens, row, end))
            codes = model.codes_of(product_M[target])
            logits = decoding.start()
            stepwise = [-logits.log_softmax(-1)[0, codes[0]]]
            for level in range(1, len(SIZES)):
                logits = decoding.step(level, torch.zeros((1, 1), dtype=torch.int64), codes[level - 1].view(1, 1))
                stepwise.append(-logits.log_softmax(-1)[0, 0, codes[level]])
            torch.testing.assert_close(torch.stack(stepwise), losses_ML[target], atol=1e-4, rtol=1e-4)


def cut(tokens: TokenTensors, row: int, end: int) -> TokenTensors:
    """One prompt as it is after so many of its tokens."""
    one = slice(row, row + 1)
    return TokenTensors(
        tokens.mark_RT[one, :end], tokens.product_RT[one, :end], tokens.count_RT[one, :end], tokens.age_RT[one, :end],
        tokens.session_R[one], torch.tensor([end]), tokens.own_RO[one], tokens.own_count_RO[one], tokens.own_age_RO[one],
    )  # fmt: skip


def test_beams_are_the_best_of_all_ids_in_a_batch_of_prompts_of_different_lengths() -> None:
    recipe = small_recipe()
    log, model = small_log(ordered=False), a_generator(recipe)
    tokens = on_device(sample_batch(log, np.array([0, 5, 17]), MARKS, recipe.prompt, np.random.default_rng(0)).tokens, torch.device("cpu"))
    trie = build_trie(small_codes(), SIZES)
    allowed = stack_sets([allowed_where(trie, np.ones(PRODUCTS, bool))]).requests(np.zeros(3, np.int64))
    with torch.no_grad():
        beams = beam_search(model.decoding(tokens), trie.to("cpu"), allowed, trie.leaves)
        alone = [
            beam_search(model.decoding(cut(tokens, row, int(tokens.length_R[row]))), trie.to("cpu"),
                        stack_sets([allowed_where(trie, np.ones(PRODUCTS, bool))]).requests(np.zeros(1, np.int64)), trie.leaves)
            for row in range(3)
        ]  # fmt: skip
    for row in range(3):
        torch.testing.assert_close(beams.log_probability_RW[row], alone[row].log_probability_RW[0], atol=1e-4, rtol=1e-4)
    total = beams.log_probability_RW.exp().sum(1)
    assert (total <= 1.0001).all()
    assert (total > 0).all()


def test_a_bought_product_makes_the_codewords_that_lead_to_it_likelier() -> None:
    recipe, log = small_recipe(), small_log(ordered=False)
    model = a_generator(recipe)
    tokens = on_device(sample_batch(log, np.array([2]), MARKS, recipe.prompt, np.random.default_rng(0)).tokens, torch.device("cpu"))
    product = int(tokens.own_RO[0, 0])
    nothing = torch.full_like(tokens.own_RO, -1)
    one = nothing.clone()
    one[0, 0] = product
    with torch.no_grad():
        liked, plain = (model.decoding(replace(tokens, own_RO=own_RO)).start()[0].softmax(-1) for own_RO in (one, nothing))
    code = int(model.codes_NL[product, 0])
    assert liked[code] > plain[code]
    assert (torch.cat([liked[:code], liked[code + 1 :]]) < torch.cat([plain[:code], plain[code + 1 :]])).all()


def test_ids_that_do_not_exist_have_no_probability_and_those_that_do_have_all_of_it() -> None:
    recipe, log = small_recipe(), small_log(ordered=False)
    model = a_generator(recipe)
    tokens = on_device(sample_batch(log, np.array([4]), MARKS, recipe.prompt, np.random.default_rng(0)).tokens, torch.device("cpu"))
    trie = build_trie(small_codes(), SIZES)
    everything = stack_sets([allowed_where(trie, np.ones(PRODUCTS, bool))]).requests(np.zeros(1, np.int64))
    with torch.no_grad():
        beams = beam_search(model.decoding(tokens), trie.to("cpu"), everything, trie.leaves)
    assert float(beams.log_probability_RW.exp().sum()) == pytest.approx(1, abs=1e-4)


def test_codewords_that_nothing_was_learnt_of_start_near_those_beside_them() -> None:
    books = small_codebooks()
    books[0][1] = books[0][0] + 0.01
    torch.manual_seed(0)
    vectors = Generator(small_recipe(), MARKS, books).codeword[0].weight()
    assert torch.cosine_similarity(vectors[0], vectors[1], dim=0) > 0.5 > torch.cosine_similarity(vectors[0], vectors[2], dim=0)


def test_tables_that_are_fixed_change_no_answer_and_are_forgotten_when_training_goes_on() -> None:
    recipe, log = small_recipe(), small_log(ordered=False)
    model = a_generator(recipe)
    tokens = on_device(sample_batch(log, np.array([4]), MARKS, recipe.prompt, np.random.default_rng(0)).tokens, torch.device("cpu"))
    with torch.no_grad():
        before = model.decoding(tokens).start()
        fixed = model.fix_tables()
        torch.testing.assert_close(fixed.decoding(tokens).start(), before, atol=0, rtol=0)
        assert not any("fixed" in name for name in fixed.state_dict())
        model.train()
        for weight in model.parameters():
            weight.add_(0.1)
        after = model.eval().decoding(tokens).start()
    assert not torch.allclose(before, after)


def test_codes_above_half_of_what_two_bytes_hold_are_read_as_they_are() -> None:
    model = a_generator(small_recipe())
    codes_NL = np.array([[0, 40_000, 65_535]], np.uint16)
    model.codes_NL = torch.from_numpy(codes_NL.view(np.int16))
    assert model.codes_of(torch.tensor([0])).tolist() == codes_NL.tolist()
