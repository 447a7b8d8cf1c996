"""A language model behind an OpenAI-compatible endpoint (vLLM's own server, for one), asked for log-probabilities.

Passages go to /v1/completions with `echo`, choices to /v1/chat/completions with `top_logprobs`. The client waits and asks again
where an endpoint answers 429 or 5xx, or is not reached.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from shelfcode.errors import ShelfcodeError
from shelfcode.llm.likelihood import MOST_CHOICES, Choice, Passage, Question, Reply, part_numbers

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NEEDS = "a judge needs log-probabilities: use vLLM's server (vllm serve MODEL), or --model with a model of your own"


class Endpoint:
    """One model behind one URL."""

    def __init__(self, url: str, model: str, key_variable: str, tries: int, at_once: int) -> None:
        """Nothing is sent yet.

        Args:
            url: such as http://host:8000/v1.
            key_variable: the environment variable that holds the key; an endpoint that wants none needs none.
            tries: how often a question is asked again after 429, 5xx or a lost connection.
            at_once: questions under way at the same time.

        Raises:
            ShelfcodeError: the client library is not installed.
        """
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise ShelfcodeError("--endpoint: the package openai is not installed; pip install openai") from error
        self._url, self._model, self._at_once = url, model, at_once

        def client() -> "AsyncOpenAI":
            return AsyncOpenAI(base_url=url, api_key=os.environ.get(key_variable) or "none", max_retries=tries, timeout=120)

        self._client = client  # one a loop: its connections belong to the loop that opened them

    def replies(self, questions: Sequence[Question], chunk: int = 64) -> Iterator[tuple[Question, Reply]]:
        """The replies, some at a time, in the order of the questions.

        Raises:
            ShelfcodeError: the endpoint is not there, refuses the key or the model, or gives no log-probabilities.
        """
        for first in range(0, len(questions), chunk):
            some = questions[first : first + chunk]
            yield from zip(some, asyncio.run(self._ask(some)), strict=True)

    async def _ask(self, questions: Sequence[Question]) -> list[Reply]:
        places = asyncio.Semaphore(self._at_once)
        async with self._client() as client:

            async def one(question: Question) -> Reply:
                async with places:
                    ask = _choice if isinstance(question, Choice) else _passage
                    return await self._told(lambda: ask(client, self._model, question))  # type: ignore[arg-type]

            return list(await asyncio.gather(*(one(question) for question in questions)))

    async def _told(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """A reply; what one question is refused for becomes its problem, and what would stop all of them an error."""
        import openai

        try:
            return await ask()
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise ShelfcodeError(f"--endpoint {self._url}: {_said(error)}. Check the key's variable, --model and the URL") from error
        except openai.BadRequestError as error:
            return Reply(None, 0, f"refused: {_said(error)}")
        except openai.APIStatusError as error:
            raise ShelfcodeError(f"--endpoint {self._url} still answers {error.status_code} after several tries: {_said(error)}") from error
        except openai.APIConnectionError as error:
            raise ShelfcodeError(f"--endpoint {self._url} cannot be reached: {error}") from error


async def _passage(client: "AsyncOpenAI", model: str, question: Passage) -> Reply:
    answer = await client.completions.create(model=model, prompt=question.text, max_tokens=1, temperature=0, echo=True, logprobs=0)
    written = answer.choices[0].logprobs
    if written is None or written.token_logprobs is None or written.text_offset is None:
        raise ShelfcodeError(f"the endpoint gives no log-probabilities of a prompt (echo); {NEEDS}")
    tokens, offsets, values = written.tokens or [], written.text_offset, written.token_logprobs
    places = [first + len(token) / 2 for first, token in zip(offsets, tokens, strict=True)]
    sums = dict.fromkeys(question.asked, 0.0)
    for place, part, value in zip(places, part_numbers(question.parts, places), values, strict=True):
        if part in sums and value is not None and place < len(question.text):
            sums[part] += value
    return Reply(tuple(sums[part] for part in question.asked), len(tokens))


async def _choice(client: "AsyncOpenAI", model: str, question: Choice) -> Reply:
    messages: Any = question.messages
    answer = await client.chat.completions.create(
        model=model, messages=messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=MOST_CHOICES
    )
    written = answer.choices[0].logprobs
    if written is None or not written.content:
        raise ShelfcodeError(f"the endpoint gives no log-probabilities; {NEEDS}")
    given = {entry.token: entry.logprob for entry in written.content[0].top_logprobs}
    tokens = answer.usage.prompt_tokens if answer.usage else 0
    if not any(choice in given for choice in question.choices):
        return Reply(None, tokens, f"none of {', '.join(question.choices)} is among its {MOST_CHOICES} most likely words")
    floor = min(given.values())  # what is not among the most likely is at most as likely as the last of them
    return Reply(tuple(given.get(choice, floor) for choice in question.choices), tokens)


def _said(error: Any) -> str:
    return str(error).strip().splitlines()[0][:300]
