"""The deployment that answers carts: all retrievers that surfaces name, in each of its replicas, over what retailers have at the moment."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.serve import metrics
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from serve_apps.stock_following import StockFollower
from shelfcode.errors import ShelfcodeError
from shelfcode.serving.api.coalescing import Coalescer
from shelfcode.serving.api.item_index import item_index
from shelfcode.serving.api.live_releases import prepare_for_requests
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Prepared, Retrieve
from shelfcode.serving.api.retriever_choice import choose_retrievers
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

LINGER_SECONDS = 0.005
"""Time in which those who were answered together come back; a batch of eight takes a fifth of the time of eight alone."""
BATCH_BOUNDARIES = [1, 2, 4, 8, 16, 32, 64, 128]


class RetrievalDeployment:
    """Answers contexts. Those that wait for the models go through them together, up to a budget of tokens."""

    async def __init__(self, workspace: str, settings: SurfaceSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        import torch

        from shelfcode.serving.api.retrieving import Retrieving

        run = settings.retrieval
        threads = max(1, math.floor(run.cpus))
        torch.set_num_threads(threads)
        threadpool_limits(threads)  # numpy's: with one a core in each replica, they wait for each other more than they compute
        self.workspace, self.settings, self.loading = Workspace(workspace), settings, asyncio.Lock()
        device = torch.device("cuda" if run.gpus else "cpu")
        self.retrieving = Retrieving(self.workspace, item_index(workspace, settings), device, run.tokens_per_batch, run.translate)
        self.stock = StockFollower(self.retrieving.index, self.workspace, settings)
        await self.stock.start()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="retrieval")  # one: a batch uses all threads that torch has
        self.calls: Coalescer[Retrieve] = Coalescer(self._answer, run.tokens_per_batch, _tokens, linger_seconds=LINGER_SECONDS)
        self.batch_size = metrics.Histogram(
            "shelfcode_batch_contexts", description="Contexts answered together.", boundaries=BATCH_BOUNDARIES, tag_keys=()
        )
        for flavor in settings.flavor_names:
            await prepare_for_requests(self.prepare, self.workspace, settings, flavor)

    async def prepare(self, release: str, labels: Mapping[str, str] | None = None) -> Prepared:
        """Load retrievers for a release, where they are not loaded; a damaged file changes nothing.

        Args:
            labels: name -> version; left out by a replica that starts, which finds out by itself.
        """
        try:
            if labels is None:
                choice = await asyncio.to_thread(
                    choose_retrievers, self.workspace, self.settings.retriever_names, release, self.settings.retrieval.translate
                )
                if choice.refusal:
                    return Prepared(release, choice.refusal)
                labels = choice.labels
            await self._load(release, list(labels.values()))
        except ShelfcodeError as error:
            return Prepared(release, str(error))
        return Prepared(release, retrievers=labels)

    async def _load(self, release: str, labels: Sequence[str]) -> None:
        """One after the other, since each takes much memory meanwhile; requests are answered in between."""
        async with self.loading:
            await asyncio.to_thread(self.retrieving.load, release, labels)

    async def catch_up(self) -> int:
        """Take up what has changed at retailers, now."""
        return await self.stock.catch_up()

    async def retrieve(self, questions: list[Retrieve]) -> list[dict[str, Any] | Problem]:
        """The answer to each question, or its Problem."""
        for question in questions:
            if not self.retrieving.has(question):  # a replica that has just started, or a release that is on its way out
                try:
                    await self._load(question.release, [label for label, _, _ in question.parts])
                except ShelfcodeError as error:
                    log.warning("%s cannot be asked: %s", question.release, error)
        return list(await asyncio.gather(*(self.calls.ask(question) for question in questions)))

    async def _answer(self, questions: list[Retrieve]) -> list[dict[str, Any] | Problem]:
        self.batch_size.observe(len(questions))
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._answer_now, questions)

    def _answer_now(self, questions: Sequence[Retrieve]) -> list[dict[str, Any] | Problem]:
        """Answers, but to those whom nobody waits for any more."""
        now = time.time()
        waited_for = iter(self.retrieving.answer([question for question in questions if question.until > now]))
        late = Problem("unavailable", "the answer would have come too late")
        return [next(waited_for) if question.until > now else late for question in questions]


def _tokens(question: Retrieve) -> int:
    return question.tokens
