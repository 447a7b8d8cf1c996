"""Questions that arrive together travel together, and each gets its own answer or its own call's error."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from shelfcode.serving.api.coalescing import Coalescer

PATIENCE = 20
"""Seconds after which a test that hangs fails; none waits for them."""


def run(story: Coroutine[Any, Any, None]) -> None:
    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE):
            await story

    asyncio.run(patiently())


async def settle() -> None:
    """Let everything happen that needs nobody's help."""
    for _ in range(20):
        await asyncio.sleep(0)


class Calls:
    """Calls that wait until somebody lets them go."""

    def __init__(self, most: int = 4, at_once: int = 1, linger: float = 0.0) -> None:
        self.sent: list[list[Any]] = []
        self.held: list[asyncio.Future[None]] = []
        size = lambda question: question if isinstance(question, int) else 1  # noqa: E731
        self.coalescer: Coalescer[Any] = Coalescer(self._send, most, size, at_once, linger)

    async def _send(self, questions: list[Any]) -> Sequence[Any]:
        self.sent.append(questions)
        self.held.append(asyncio.get_running_loop().create_future())
        await self.held[-1]
        return [f"answer to {question}" for question in questions]

    async def ask(self, *questions: Any) -> list["asyncio.Task[Any]"]:
        tasks = [asyncio.ensure_future(self.coalescer.ask(question)) for question in questions]
        await settle()
        return tasks

    async def let_go(self, call: int, error: BaseException | None = None) -> None:
        self.held[call].set_exception(error) if error else self.held[call].set_result(None)
        await settle()


def test_the_first_question_goes_at_once_and_those_that_come_meanwhile_go_together() -> None:
    async def story() -> None:
        calls = Calls()
        asked = await calls.ask("a")
        asked += await calls.ask("b", "c")
        assert calls.sent == [["a"]]
        await calls.let_go(0)
        assert calls.sent == [["a"], ["b", "c"]]
        await calls.let_go(1)
        assert [each.result() for each in asked] == ["answer to a", "answer to b", "answer to c"]
        await calls.ask("d")
        assert calls.sent[2:] == [["d"]]

    run(story())


def test_a_full_call_goes_though_another_is_under_way() -> None:
    async def story() -> None:
        calls = Calls(most=3)
        asked = await calls.ask("a", "b", "c", "d", "e")
        assert calls.sent == [["a"], ["b", "c", "d"]]
        await calls.let_go(1)
        assert calls.sent == [["a"], ["b", "c", "d"]]  # e waits for a: the full call was not the one that it waits for
        await calls.let_go(0)
        assert calls.sent[2:] == [["e"]]
        await calls.let_go(2)
        assert [each.result()[-1] for each in asked] == ["a", "b", "c", "d", "e"]

    run(story())


def test_calls_fill_by_the_size_of_their_questions_and_a_large_one_goes_alone() -> None:
    async def story() -> None:
        calls = Calls(most=10)
        await calls.ask(1, 4, 5, 2, 7, 3)
        assert calls.sent == [[1], [4, 5, 2], [7, 3]]
        await calls.ask(100)
        assert calls.sent[3:] == [[100]]

    run(story())


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many_calls_are_sent_before_they_are_full(at_once: int) -> None:
    async def story() -> None:
        calls = Calls(most=100, at_once=at_once)
        asked = await calls.ask(*"abcdefgh")
        assert [len(sent) for sent in calls.sent] == [1] * at_once
        await calls.let_go(0)
        assert len(calls.sent) == at_once + 1
        assert calls.sent[-1] == list("abcdefgh"[at_once:])
        for call in range(1, at_once + 1):
            await calls.let_go(call)
        assert all(each.done() for each in asked)
        assert calls.coalescer.under_way == 0

    run(story())


@pytest.mark.parametrize("error", [ConnectionError("gone"), ValueError("odd"), KeyError("x")])
def test_an_error_reaches_the_questions_of_its_call_and_no_others(error: Exception) -> None:
    async def story() -> None:
        calls = Calls()
        first, *together = await calls.ask("a", "b", "c")
        await calls.let_go(0)
        late = (await calls.ask("d"))[0]
        await calls.let_go(1, error)
        assert [each.exception() for each in together] == [error, error]
        await calls.let_go(2)
        assert (first.result(), late.result()) == ("answer to a", "answer to d")

    run(story())


def test_a_call_that_cannot_even_be_made_is_an_error_and_the_next_one_goes() -> None:
    async def story() -> None:
        broken = [True]

        async def send(questions: list[str]) -> Sequence[str]:
            return questions

        def sometimes(questions: list[str]) -> Any:
            if broken[0]:
                raise RuntimeError("no route")
            return send(questions)

        coalescer: Coalescer[str] = Coalescer(sometimes, 4)
        with pytest.raises(RuntimeError, match="no route"):
            await coalescer.ask("a")
        broken[0] = False
        assert await coalescer.ask("b") == "b"

    run(story())


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_a_call_with_too_few_or_too_many_answers_is_an_error_of_all_its_questions(answers: int) -> None:
    async def story() -> None:
        under_way = asyncio.Event()

        async def send(questions: list[str]) -> Sequence[str]:
            await under_way.wait()
            return questions if len(questions) == 1 else ["?"] * answers

        coalescer: Coalescer[str] = Coalescer(send, 10)
        asked = [asyncio.ensure_future(coalescer.ask(question)) for question in "abc"]
        await settle()
        under_way.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert told[0] == "a"
        assert [isinstance(each, ValueError) for each in told[1:]] == [True, True]
        assert await coalescer.ask("d") == "d"

    run(story())


def test_a_question_that_nobody_waits_for_any_more_is_left_out() -> None:
    async def story() -> None:
        calls = Calls()
        first, gone, kept = await calls.ask("a", "b", "c")
        gone.cancel()
        await settle()
        await calls.let_go(0)
        assert calls.sent == [["a"], ["c"]]
        await calls.let_go(1)
        assert (first.result(), kept.result(), gone.cancelled()) == ("answer to a", "answer to c", True)

    run(story())


def test_those_who_leave_during_a_call_do_not_disturb_the_others() -> None:
    async def story() -> None:
        calls = Calls()
        first, gone, kept = await calls.ask("a", "b", "c")
        await calls.let_go(0)
        gone.cancel()
        await settle()
        await calls.let_go(1)
        assert (first.result(), kept.result()) == ("answer to a", "answer to c")
        gone, kept = await calls.ask("d", "e")
        gone.cancel()
        await settle()
        await calls.let_go(2, ConnectionError())
        await calls.let_go(3)
        assert kept.result() == "answer to e"

    run(story())


def test_when_all_that_wait_have_left_nothing_is_sent_and_the_next_question_goes_at_once() -> None:
    async def story() -> None:
        calls = Calls()
        _, gone = await calls.ask("a", "b")
        gone.cancel()
        await settle()
        await calls.let_go(0)
        assert calls.sent == [["a"]]
        await calls.ask("c")
        assert calls.sent == [["a"], ["c"]]

    run(story())


def test_where_calls_linger_what_is_asked_in_one_moment_goes_together_and_those_who_come_back_are_waited_for() -> None:
    async def story() -> None:
        calls = Calls(linger=0.02)
        await calls.ask("a", "b", "c")
        assert calls.sent == [["a", "b", "c"]]
        await calls.let_go(0)
        await calls.ask("d")
        assert len(calls.sent) == 1
        await calls.ask("e")
        await asyncio.sleep(0.05)
        assert calls.sent[1:] == [["d", "e"]]
        await calls.let_go(1)
        await asyncio.sleep(0.05)
        await calls.ask("f")
        await calls.let_go(2)
        await calls.ask("g")  # after a call of one question nobody waits
        assert calls.sent[2:] == [["f"], ["g"]]

    run(story())
