"""What a language model is asked beside written answers: how likely it finds a text, and which of a few words it would say next.

Neither needs a model that can follow instructions at length: both are read off the probabilities of single tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import text_hash
from shelfcode.llm.prompt import prompt_tokens

if TYPE_CHECKING:  # transformers takes seconds to import, and every worker process imports this
    from transformers import PreTrainedTokenizerBase

MOST_CHOICES = 20
"""What endpoints give log-probabilities of at one place."""


@dataclass(frozen=True)
class Passage:
    """How likely are some parts of a text, each given all that stands before it?

    Attributes:
        parts: the text, in pieces.
        asked: places of the pieces whose log-probability is wanted.
    """

    parts: tuple[str, ...]
    asked: tuple[int, ...]

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def key(self) -> str:
        """The same for the same question."""
        return text_hash("\x1f".join(["passage", *map(str, self.asked), *self.parts]))


@dataclass(frozen=True)
class Choice:
    """Which of a few words, of one token each, comes next in a conversation?

    Attributes:
        system, user: the two messages.
        choices: the words.
    """

    system: str
    user: str
    choices: tuple[str, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]

    @property
    def key(self) -> str:
        """The same for the same question."""
        return text_hash("\x1f".join(["choice", self.system, self.user, *self.choices]))


Question = Passage | Choice


@dataclass(frozen=True)
class Reply:
    """What a model says to a question.

    Attributes:
        values: natural logarithms, one a piece that was asked or one a choice; None where there was no answer.
        tokens: of the prompt.
        problem: why there are no values.
    """

    values: tuple[float, ...] | None
    tokens: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Tokens:
    """A question as tokens.

    Attributes:
        prompt: the tokens.
        part_T: of a passage, the piece that each token belongs to; -1 for what the model puts in front.
        choices: of a choice, the token of each word.
    """

    prompt: list[int]
    part_T: tuple[int, ...] = ()
    choices: tuple[int, ...] = ()


def question_tokens(tokenizer: "PreTrainedTokenizerBase", question: Question) -> Tokens:
    """The tokens of a question. A token that reaches over the end of a piece belongs to the piece that holds most of it.

    Raises:
        ShelfcodeError: the model writes one of the choices as several tokens, so that no single probability answers.
    """
    if isinstance(question, Choice):
        return Tokens(prompt_tokens(tokenizer, question.messages), choices=_choice_tokens(tokenizer, question.choices))
    written = tokenizer(question.text, add_special_tokens=False, return_offsets_mapping=True)
    front = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    parts = part_numbers(question.parts, [(first + last) / 2 for first, last in written["offset_mapping"]])
    return Tokens([*front, *written["input_ids"]], tuple([-1] * len(front) + parts))


def part_numbers(parts: Sequence[str], places: Sequence[float]) -> list[int]:
    """The piece that each place in a text, counted in characters, lies in."""
    ends = np.cumsum([len(part) for part in parts])
    numbers = np.searchsorted(ends, np.asarray(places, dtype=np.float64), side="right")
    return np.minimum(numbers, len(parts) - 1).tolist()


def _choice_tokens(tokenizer: "PreTrainedTokenizerBase", choices: Sequence[str]) -> tuple[int, ...]:
    ids = [tokenizer(choice, add_special_tokens=False)["input_ids"] for choice in choices]
    several = [choice for choice, tokens in zip(choices, ids, strict=True) if len(tokens) != 1]
    if several:
        raise ShelfcodeError(f"the model writes {', '.join(map(repr, several))} as several tokens: choose another model to judge with")
    return tuple(tokens[0] for tokens in ids)


def likelihood_parameters(tokens: Tokens) -> dict[str, Any]:
    """Parameters of vLLM's sampling that bring back the log-probabilities of a question."""
    wanted = list(tokens.choices) or None
    return {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": None if wanted else 0, "logprob_token_ids": wanted}


def read_reply(
    question: Question, tokens: Tokens, prompt_logprobs: Sequence[Mapping[int, Any] | None] | None,
    next_logprobs: Sequence[Mapping[int, Any]] | None,
) -> Reply:  # fmt: skip
    """The reply in what vLLM gave back, whose entries are mappings from a token to an object or mapping with `logprob`."""
    if isinstance(question, Choice):
        given = {token: _logprob(entry) for token, entry in (next_logprobs[0] if next_logprobs else {}).items()}
        missing = [choice for choice, token in zip(question.choices, tokens.choices, strict=True) if token not in given]
        if missing:
            return Reply(None, len(tokens.prompt), f"no log-probability of {', '.join(missing)}")
        return _checked(tuple(given[token] for token in tokens.choices), len(tokens.prompt))
    if prompt_logprobs is None or len(prompt_logprobs) != len(tokens.prompt):
        return Reply(None, len(tokens.prompt), "no log-probabilities of the prompt")
    sums = dict.fromkeys(question.asked, 0.0)
    for token, part, entries in zip(tokens.prompt, tokens.part_T, prompt_logprobs, strict=True):
        if part in sums and entries is not None:  # the first token of all has no probability
            sums[part] += _logprob(entries[token])
    return _checked(tuple(sums[part] for part in question.asked), len(tokens.prompt))


def _checked(values: tuple[float, ...], tokens: int) -> Reply:
    if all(math.isfinite(value) for value in values):
        return Reply(values, tokens)
    return Reply(None, tokens, "a log-probability is not finite")


def _logprob(entry: Any) -> float:
    return float(entry["logprob"] if isinstance(entry, Mapping) else entry.logprob)
