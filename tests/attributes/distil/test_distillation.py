"""A student learns what it is taught, from batches that depend on nothing but the recipe."""

from collections import Counter

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from shelfcode.attributes.distil.distillation import (
    BATCHES_SORTED_TOGETHER,
    IGNORED,
    AnswerLoss,
    Lesson,
    Teaching,
    batch_rows,
    lessons,
    padded,
    start_teaching,
    teach,
)
from shelfcode.attributes.distil.student import StudentRecipe, answer_all, new_student
from shelfcode.attributes.schema import parse_answer
from shelfcode.optimisation import Worker

CPU = torch.device("cpu")


@pytest.fixture
def taught(short_pairs: list[tuple[str, str]], tiny_tokenizer: PreTrainedTokenizerFast) -> list[Lesson]:
    return lessons(short_pairs, tiny_tokenizer, {}, 512)[0]


def lesson(length: int) -> Lesson:
    return Lesson(np.arange(1, length + 1, dtype=np.int32), 1)


def start(recipe: StudentRecipe, tokenizer: PreTrainedTokenizerFast) -> Teaching:
    torch.manual_seed(recipe.seed)
    return start_teaching(recipe, new_student(recipe, tokenizer), CPU)


# Lessons


def test_a_lesson_is_the_prompt_the_answer_and_the_end(short_pairs: list[tuple[str, str]], tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    (text, answer), *_ = short_pairs
    (only,), too_long = lessons([(text, answer)], tiny_tokenizer, {}, 512)
    assert too_long == 0
    assert tiny_tokenizer.decode(only.tokens_T[: only.answer_from]) == f"<bos>{text.lower()}<answer>"
    assert tiny_tokenizer.decode(only.tokens_T[only.answer_from :]) == f"{answer}<eos>"


def test_pairs_that_are_too_long_are_left_out_and_counted(pairs: list[tuple[str, str]], tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = [len(lesson.tokens_T) for lesson in lessons(pairs, tiny_tokenizer, {}, 512)[0]]
    limit = sorted(lengths)[len(lengths) // 2]
    made, too_long = lessons(pairs, tiny_tokenizer, {}, limit)
    assert [len(lesson.tokens_T) for lesson in made] == [length for length in lengths if length <= limit]
    assert too_long == len(pairs) - len(made) > 0


ANSWER = '{"product_type":"soap","key_ingredients":["oats","salt"],"dietary_tags":[],"format":"bar"}'


def taught_text(known: tuple[str, ...], tokenizer: PreTrainedTokenizerFast) -> tuple[str, str]:
    """What of an answer is read, and what of that is learnt."""
    (made,), _ = lessons([("title: soap", ANSWER)], tokenizer, {}, 512, [known])
    learnt = [token for place, token in enumerate(made.tokens_T) if place >= made.answer_from and place not in made.left_out]
    return tokenizer.decode(made.tokens_T[made.answer_from :]), tokenizer.decode(learnt)


def test_a_teacher_that_knows_everything_is_taught_to_the_end(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    known = ("product_type", "key_ingredients", "dietary_tags", "format")
    assert taught_text(known, tiny_tokenizer) == (f"{ANSWER}<eos>", f"{ANSWER}<eos>")


def test_an_answer_ends_with_the_last_value_that_is_known(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """And the end of that value is learnt: it is where a type ends that a student must know."""
    assert taught_text(("product_type",), tiny_tokenizer) == ('{"product_type":"soap"', '{"product_type":"soap"')
    head = ANSWER.removesuffix(',"dietary_tags":[],"format":"bar"}')
    assert taught_text(("product_type", "key_ingredients"), tiny_tokenizer) == (head, head)


def test_a_value_between_that_is_not_known_is_read_and_not_learnt(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    read, learnt = taught_text(("product_type", "format"), tiny_tokenizer)
    assert read == f"{ANSWER}<eos>"
    assert "oats" not in learnt
    assert "[]" not in learnt, "that there are no tags is not known either"
    assert learnt.startswith('{"product_type":"soap"')
    assert learnt.endswith(',"format":"bar"}<eos>')


def test_what_is_left_out_is_no_target() -> None:
    tokens_BT, target_BT = padded([Lesson(np.array([1, 5, 3, 7, 8, 2], np.int32), 3, (4,)), Lesson(np.array([1, 3, 2], np.int32), 2)])
    assert tokens_BT.tolist() == [[1, 5, 3, 7, 8], [1, 3, 0, 0, 0]]
    assert target_BT.tolist() == [[IGNORED, IGNORED, 7, IGNORED, 2], [IGNORED, 2, IGNORED, IGNORED, IGNORED]]


# Batches


@pytest.mark.parametrize(("count", "batch_size"), [(32, 32), (32, 4), (1000, 8), (512, 16), (64, 1)])
def test_batches_take_every_pair_once_an_epoch(count: int, batch_size: int) -> None:
    taught = [lesson(2 + row % 17) for row in range(count)]
    window = min(BATCHES_SORTED_TOGETHER, count // batch_size)
    epochs = window  # so many epochs are a whole number of windows
    seen = Counter(row for step in range(epochs * count // batch_size) for row in batch_rows(taught, batch_size, 0, step).tolist())
    assert seen == dict.fromkeys(range(count), epochs)


def test_the_pairs_of_a_small_catalog_are_mixed_and_not_repeated_in_a_batch() -> None:
    taught = [lesson(2 + row) for row in range(32)]
    for step in range(20):
        assert len(set(batch_rows(taught, 16, 0, step).tolist())) == 16


def test_pairs_of_like_length_come_together_and_the_lengths_in_any_order() -> None:
    lengths = np.random.default_rng(0).integers(2, 200, 1024)
    taught = [lesson(length) for length in lengths]
    batches = [lengths[batch_rows(taught, 16, 0, step)] for step in range(BATCHES_SORTED_TOGETHER)]
    assert np.mean([batch.max() - batch.min() for batch in batches]) < 30
    means = [batch.mean() for batch in batches]
    assert means != sorted(means)


def test_batches_depend_on_the_seed_and_the_step_alone() -> None:
    taught = [lesson(2 + row % 7) for row in range(100)]
    one, again = batch_rows(taught, 16, 0, 5), batch_rows(taught, 16, 0, 5)
    np.testing.assert_array_equal(one, again)
    assert one.tolist() != batch_rows(taught, 16, 1, 5).tolist()
    assert one.tolist() != batch_rows(taught, 16, 0, 6).tolist()


def test_fewer_pairs_than_a_batch_takes_are_repeated_in_it() -> None:
    assert Counter(batch_rows([lesson(5), lesson(3), lesson(4)], 6, 0, 0).tolist()) == {0: 2, 1: 2, 2: 2}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_out_the_same_batches(
    taught: list[Lesson], tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast, workers: int
) -> None:
    """What each worker is given, with nothing between them that would want a network."""
    recipe, seen = tiny_recipe.model_copy(update={"steps": 2}), list[list[list[int]]]()
    for rank in range(workers):
        state = start(recipe, tiny_tokenizer)
        with torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, given: seen[-1].extend(given[0].tolist()) if isinstance(module, AnswerLoss) else None
        ):
            seen.append([])
            list(teach(recipe, taught, state, Worker(rank, workers), distribute=lambda module: module))
    share = 16 // workers
    dealt = [row for step in range(2) for given in seen for row in given[step * share : (step + 1) * share]]
    expected = [taught[row].tokens_T[:-1].tolist() for step in range(2) for row in batch_rows(taught, 16, recipe.seed, step)]
    assert [row[: len(tokens)] for row, tokens in zip(dealt, expected, strict=True)] == expected


# Targets and loss


def test_targets_are_the_next_tokens_and_only_where_the_answer_is() -> None:
    tokens_BT, target_BT = padded([Lesson(np.array([1, 5, 3, 7, 8, 2], np.int32), 3), Lesson(np.array([1, 3, 2], np.int32), 2)])
    assert tokens_BT.tolist() == [[1, 5, 3, 7, 8], [1, 3, 0, 0, 0]]
    assert target_BT.tolist() == [[IGNORED, IGNORED, 7, 8, 2], [IGNORED, 2, IGNORED, IGNORED, IGNORED]]


def test_padding_does_not_change_the_loss(
    taught: list[Lesson], tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    loss = AnswerLoss(start(tiny_recipe, tiny_tokenizer).model)
    tokens_BT, target_BT = padded(taught[:1])
    longer_BT = torch.nn.functional.pad(tokens_BT, (0, 9)), torch.nn.functional.pad(target_BT, (0, 9), value=IGNORED)
    with torch.no_grad():
        logits_TV = loss.model(input_ids=tokens_BT).logits[0]
        expected = torch.nn.functional.cross_entropy(logits_TV, target_BT[0], ignore_index=IGNORED)
        assert float(loss(tokens_BT, target_BT)) == pytest.approx(float(expected), rel=1e-5)
        assert float(loss(*longer_BT)) == pytest.approx(float(expected), rel=1e-5)


# Training


@pytest.mark.live  # it trains
def test_a_student_answers_what_it_was_taught(
    short_pairs: list[tuple[str, str]], taught: list[Lesson], tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    few, recipe = taught[:8], tiny_recipe.model_copy(update={"steps": 60, "batch_size": 8})
    state, progress = start(recipe, tiny_tokenizer), list[int]()
    losses = [loss for _, loss in teach(recipe, few, state, Worker())]
    assert losses[-1] < 0.05 < 1 < losses[0]
    found = answer_all(state.model, tiny_tokenizer, [text for text, _ in short_pairs[:8]], {}, progress.append)
    assert found == [parse_answer(answer, {}) for _, answer in short_pairs[:8]]
    assert progress == [8]


def test_an_answer_that_cannot_be_read_counts_as_empty(tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    untaught = start(tiny_recipe, tiny_tokenizer).model
    assert [
        found.columns() for found in answer_all(untaught, tiny_tokenizer, ["title: oat milk"], {}, lambda _: None, answer_tokens=8)
    ] == [{"product_type": "", "key_ingredients": [], "dietary_tags": [], "format": ""}]


@pytest.mark.live
def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_weights(
    taught: list[Lesson], tiny_recipe: StudentRecipe, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = tiny_recipe.model_copy(update={"steps": 8, "weight_decay": 0.1})
    whole = start(recipe, tiny_tokenizer)
    steps = [step for step, _ in teach(recipe, taught, whole, Worker())]
    assert (steps, whole.step) == (list(range(1, 9)), 8)

    broken_off = start(recipe, tiny_tokenizer)
    for step, _ in teach(recipe, taught, broken_off, Worker()):
        if step == 3:
            break
    checkpoint = tmp_path_factory.mktemp("checkpoint") / "state.pt"
    torch.save(broken_off.state(), checkpoint)
    resumed = start(recipe.model_copy(update={"seed": 9}), tiny_tokenizer)  # its own weights are overwritten
    resumed.load(torch.load(checkpoint, weights_only=True))
    assert [step for step, _ in teach(recipe, taught, resumed, Worker())] == list(range(4, 9))
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=0, atol=0, msg=name)
