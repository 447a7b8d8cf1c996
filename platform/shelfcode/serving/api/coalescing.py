"""Questions that arrive together travel together: a call between processes costs more than most answers.

A question that arrives while no call is under way is sent at once, alone. Those that arrive meanwhile wait, and go together when the call
returns, or as soon as they fill one. So nobody waits for a timer, calls grow with the load by themselves, and when one replica is no longer
enough, full calls pile up, which the autoscaler sees. With two calls under way at once, one is answered while the other is being written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")


class Coalescer(Generic[Q]):
    """Sends questions in calls of up to `most` units.

    Args:
        send: makes a call: questions -> their answers, in order. When it raises, each of its questions raises the same.
        most: units per call.
        size: units of a question; one that is larger than a call goes alone.
        at_once: how many calls that were sent before they were full may be under way.
        linger_seconds: after a call of several questions, the next one waits so long: those who asked ask again, and would find that one of
            them has gone ahead alone. For calls of which a large one takes little longer than a small one.
    """

    def __init__(
        self, send: Callable[[list[Q]], Awaitable[Sequence[Any]]], most: int, size: Callable[[Q], int] = lambda _: 1, at_once: int = 1,
        linger_seconds: float = 0.0,
    ) -> None:  # fmt: skip
        self.send, self.most, self.size, self.at_once, self.linger_seconds = send, most, size, at_once, linger_seconds
        self.waiting: list[tuple[Q, asyncio.Future[Any]]] = []
        self.units = 0
        self.under_way = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> Any:
        """The answer to a question."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((question, future))
        self.units += self.size(question)
        if self.units >= self.most:
            self._go(small=False)
        elif self.linger_seconds:
            asyncio.get_running_loop().call_soon(self._go_if_free)  # with all that are asked in this moment
        else:
            self._go_if_free()
        return await future

    def _go_if_free(self) -> None:
        if self.under_way < self.at_once:
            self._go(small=True)

    def _go(self, small: bool) -> None:
        """Send the questions that wait; `small`: although they do not fill a call."""
        batch, self.waiting, self.units = [each for each in self.waiting if not each[1].cancelled()], [], 0
        if not batch:
            return
        self.under_way += small
        task = asyncio.ensure_future(self._call(batch, small))
        self.tasks.add(task)  # a task that nobody holds may be collected before it is done
        task.add_done_callback(self.tasks.discard)

    async def _call(self, batch: list[tuple[Q, "asyncio.Future[Any]"]], small: bool) -> None:
        try:
            answers = await self.send([question for question, _ in batch])
            answered = list(zip(batch, answers, strict=True))  # too few would leave somebody waiting for ever
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in answered:
                if not future.done():
                    future.set_result(answer)
        finally:
            if small:
                if self.linger_seconds and len(batch) > 1:
                    await asyncio.sleep(self.linger_seconds)
                self.under_way -= 1
                self._go_if_free()
