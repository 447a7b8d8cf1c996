"""Questions as tokens, and what an engine gave back as replies."""

import math

import pytest
from transformers import PreTrainedTokenizerFast

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.likelihood import Choice, Passage, Reply, likelihood_parameters, question_tokens, read_reply

PASSAGE = Passage(("list:", "\n-", " oat milk", "\n-", " rye bread", "\n"), (2, 4))


def test_every_token_belongs_to_the_piece_that_holds_most_of_it(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = question_tokens(tokenizer, PASSAGE)
    assert tokens.part_T[0] == -1  # what the model begins with
    written = dict.fromkeys(range(6), "")
    for token, part in zip(tokens.prompt[1:], tokens.part_T[1:], strict=True):
        written[part] += tokenizer.decode([token])
    assert [written[part] for part in range(6)] == list(PASSAGE.parts)


def test_a_reply_sums_the_tokens_of_each_piece_that_was_asked(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = question_tokens(tokenizer, PASSAGE)
    given = [None, *({token: {"logprob": -1.0}} for token in tokens.prompt[1:])]
    reply = read_reply(PASSAGE, tokens, given, None)
    assert reply.values == (-float(tokens.part_T.count(2)), -float(tokens.part_T.count(4)))
    assert reply.tokens == len(tokens.prompt)
    assert read_reply(PASSAGE, tokens, None, None).problem == "no log-probabilities of the prompt"
    broken = [None, *({token: {"logprob": math.nan}} for token in tokens.prompt[1:])]
    assert read_reply(PASSAGE, tokens, broken, None) == Reply(None, len(tokens.prompt), "a log-probability is not finite")


def test_a_choice_is_read_at_the_next_token(tokenizer: PreTrainedTokenizerFast) -> None:
    choice = Choice("judge", "which? ", ("a", "b"))
    tokens = question_tokens(tokenizer, choice)
    a, b = tokens.choices
    assert likelihood_parameters(tokens)["logprob_token_ids"] == [a, b]
    assert read_reply(choice, tokens, None, [{a: {"logprob": -0.5}, b: {"logprob": -2.0}}]).values == (-0.5, -2.0)
    assert read_reply(choice, tokens, None, [{a: {"logprob": -0.5}}]).problem == "no log-probability of b"


def test_words_of_several_tokens_cannot_be_chosen(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ShelfcodeError, match="writes 'zebra' as several tokens"):
        question_tokens(tokenizer, Choice("judge", "which?", ("zebra", "b")))


def test_equal_questions_have_equal_keys_and_others_do_not() -> None:
    assert PASSAGE.key == Passage(PASSAGE.parts, PASSAGE.asked).key
    assert len({PASSAGE.key, Passage(PASSAGE.parts, (2,)).key, Passage(("list:\n-", *PASSAGE.parts[2:]), (2, 4)).key}) == 3
