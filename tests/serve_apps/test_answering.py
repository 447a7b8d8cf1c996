"""A release is loaded everywhere before it is asked, and what keeps a deployment from starting is told and not waited for."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json
from released import Shop

from serve_apps.answering import Answering, Deployments
from serve_apps.deployments import FlavorDeployment, ItemIndexDeployment
from shelfcode.serving.api.live_releases import Unavailable
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.questions import Encoded, ItemPage, Neighbours, Prepared, ProductInput
from shelfcode.serving.api.requests import SimilarRequest
from shelfcode.serving.routing import Target
from shelfcode.serving.surface_settings import COLUMNS, SurfaceSettings

SETTINGS = SurfaceSettings.model_validate({"surfaces": {"search": "small"}, "auth": "none"})
RELEASE = "small@v0001"


class Deployment:
    """A handle of a deployment: so many replicas are there, and load when they are let."""

    def __init__(self, replicas: int, problem: str | None = None) -> None:
        self.replicas, self.problem, self.may = replicas, problem, asyncio.Event()
        self.prepare = self

    def broadcast(self, *_: str) -> "Deployment":
        return self

    async def results_async(self) -> list[Prepared]:
        return [await self.remote(RELEASE) for _ in range(self.replicas)]

    async def remote(self, release: str) -> Prepared:
        await self.may.wait()
        return Prepared(release, self.problem)


def prepare(folder: Path, index: Deployment, encoder: Deployment, blocked: str | None, looks: int = 3) -> Prepared:
    """Load a release; deployments are let load after so many looks at what blocks them."""
    seen: list[Collection[str]] = []

    def why_blocked(names: Collection[str]) -> str | None:
        seen.append(names)
        if len(seen) >= looks:
            loop.call_soon_threadsafe(index.may.set)
            loop.call_soon_threadsafe(encoder.may.set)
        return blocked

    async def once() -> Prepared:
        nonlocal loop
        loop = asyncio.get_running_loop()
        handles: Any = Deployments(index, {"small": encoder})  # type: ignore[arg-type, dict-item]
        answering = Answering(str(folder), SETTINGS, handles, why_blocked, blocked_seconds=0.001)
        async with asyncio.timeout(20):
            return await answering.releases.prepare(RELEASE)

    loop: Any = None
    told = asyncio.run(once())
    assert set(map(tuple, seen)) == {("flavor-small", "item-index")}
    return told


@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_a_release_that_loads_slowly_is_waited_for(tmp_path: Path, replicas: int) -> None:
    assert prepare(tmp_path, Deployment(1), Deployment(replicas), blocked=None) == Prepared(RELEASE)


@pytest.mark.parametrize("damaged", [0, 1])
def test_what_any_replica_cannot_load_is_refused(tmp_path: Path, damaged: int) -> None:
    deployments = [Deployment(2), Deployment(2)]
    deployments[damaged].problem = "damaged"
    assert prepare(tmp_path, *deployments, blocked=None).problem == "damaged"


def test_a_deployment_that_cannot_start_is_told_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="waits for 1 CPU"):
        prepare(tmp_path, Deployment(1), Deployment(0), blocked="deployment flavor-small waits for 1 CPU", looks=10**9)


# Questions.


class Index:
    """A handle of the index: the deployment itself, in this process."""

    def __init__(self, deployment: ItemIndexDeployment) -> None:
        self.answer, self.answer_alone = _Remote(deployment.answer), _Remote(deployment.answer_alone)
        self.prepare = _Remote(deployment.prepare)


class _Remote:
    def __init__(self, method: Any) -> None:
        self.remote, self.calls = lambda *given: self.calls.append(given) or method(*given), list[Any]()


def neighbours(release: str, **other: Any) -> Neighbours:
    return replace(Neighbours(((release, 1.0),), None, "SKU-0000011", 3, 1, (), None, (), ()), **other)


def asked(shop: Shop, story: Callable[[Answering, ItemIndexDeployment, Index], Awaitable[None]]) -> None:
    settings = SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "auth": "none"})

    async def told() -> None:
        async with asyncio.timeout(60):
            deployment = ItemIndexDeployment.__new__(ItemIndexDeployment)
            await deployment.__init__(shop.workspace.url, settings)
            handles = Deployments(index := Index(deployment), {})  # type: ignore[arg-type]
            answering = Answering(shop.workspace.url, settings, handles, lambda _: None)
            await story(answering, deployment, index)

    asyncio.run(told())


def test_what_is_current_is_loaded_before_the_index_answers_anybody(shop: Shop) -> None:
    async def story(answering: Answering, deployment: ItemIndexDeployment, index: Index) -> None:
        deployment.index.load = lambda release: pytest.fail(f"{release} is loaded while somebody waits")  # type: ignore[method-assign]
        assert len(await answering.ask(neighbours("precision@v0002"))) == 3
        assert (len(index.answer.calls), len(index.answer_alone.calls)) == (1, 0)

    asked(shop, story)


def test_nobody_waits_while_a_release_is_loaded_that_another_named(shop: Shop) -> None:
    async def story(answering: Answering, deployment: ItemIndexDeployment, index: Index) -> None:
        may, load = threading.Event(), deployment.index.load
        deployment.index.load = lambda release: (may.wait(30), load(release))[1]  # type: ignore[method-assign]
        old = asyncio.ensure_future(answering.ask(neighbours("precision@v0001")))
        beside = await asyncio.gather(*(answering.ask(neighbours("precision@v0002")) for _ in range(100)))
        assert [len(rows) for rows in beside] == [3] * 100
        page = await answering.ask(ItemPage("SKU-0000011", ("precision@v0002",), 0, 5))
        assert page["item_id"] == "SKU-0000011"
        assert not old.done()
        may.set()
        assert len(await old) == 3
        await answering.ask(neighbours("precision@v0001"))
        assert len(index.answer_alone.calls) == 2  # the page, and the old release, once

    asked(shop, story)


def test_a_question_that_cannot_be_answered_takes_no_other_with_it(shop: Shop) -> None:
    async def story(answering: Answering, deployment: ItemIndexDeployment, index: Index) -> None:
        current = "precision@v0002"
        questions = [neighbours(current), neighbours(current, fields=None), neighbours("precision@v0099"), neighbours(current, item_id="x")]
        answers = await asyncio.gather(*(answering.ask(each) for each in questions), return_exceptions=True)
        assert len(answers[0]) == 3
        assert [each.kind for each in answers[1:]] == ["internal", "unknown-release", "unknown-item"]

    asked(shop, story)


# Releases that are mapped into the ingress.


def similar(**request: Any) -> SimilarRequest:
    return SimilarRequest.model_validate({"item_id": "SKU-0000011", "k": 5, **request})


def test_what_is_light_is_answered_here_and_as_the_index_answers_it(shop: Shop) -> None:
    async def story(answering: Answering, deployment: ItemIndexDeployment, index: Index) -> None:
        current, targets = "precision@v0002", [Target("precision", "precision@v0002", 1.0)]
        requests = [similar(), similar(k=1), similar(fields=["title", "brand"]), similar(fields=[]), similar(exclude=["SKU-0000012", "x"])]
        by_calls = [await answering.neighbours(targets, each, COLUMNS) for each in requests]
        assert len(index.answer.calls) == len(requests)
        assert [json.loads(await answering.neighbours_json(targets, each, COLUMNS)) for each in requests] == by_calls
        answering._map(["/nowhere", str(deployment.index.prepared[current].folder)])
        index.answer.calls.clear()
        assert [await answering.neighbours(targets, each, COLUMNS) for each in requests] == by_calls
        written = [await answering.neighbours_json(targets, each, COLUMNS) for each in requests]
        assert [json.loads(each) for each in written] == by_calls
        assert written[0] == to_json(by_calls[0])  # to the letter
        assert (index.answer.calls, index.answer_alone.calls) == ([], [])
        filtered = similar(attributes={"brand": by_calls[2][0]["brand"]}, fields=["brand"])
        assert len(await answering.neighbours(targets, filtered, COLUMNS)) == 5
        assert len(index.answer_alone.calls) == 1
        for request, columns in ((similar(item_id="nobody"), COLUMNS), (similar(), ("brand",)), (similar(fields=["cost"]), COLUMNS)):
            with pytest.raises(Problem):
                await answering.neighbours_json(targets, request, columns)

    asked(shop, story)


def test_a_release_that_is_not_on_this_node_is_asked_for(shop: Shop) -> None:
    async def story(answering: Answering, deployment: ItemIndexDeployment, index: Index) -> None:
        answering._map(["/nowhere"])
        assert len(await answering.ask(neighbours("precision@v0002"))) == 3
        assert len(index.answer.calls) == 1

    asked(shop, story)


# What stands behind.


def test_an_encoder_has_loaded_what_is_current_when_it_is_ready_and_one_product_that_makes_it_fail_fails_alone(shop: Shop) -> None:
    settings = SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "auth": "none"})

    async def story() -> None:
        deployment = FlavorDeployment.__new__(FlavorDeployment)
        await deployment.__init__(shop.workspace.url, "precision", settings)
        assert list(deployment.encoder.releases) == ["precision@v0002"]
        encode = deployment.encoder.encode

        def choosy(release: str, products: Sequence[ProductInput]) -> list[Any]:
            if any(product.title == "poison" for product in products):
                raise RuntimeError("a fault that nobody foresaw")
            return encode(release, products)

        deployment.encoder.encode = choosy  # type: ignore[method-assign]
        titles = ["oat drink", "poison", "rye bread"]
        calls = [("precision@v0002", [ProductInput(title, None, None)]) for title in titles]
        answers = [answer for (answer,) in await deployment.encode([*calls, ("precision@v0099", [ProductInput("oat drink", None, None)])])]
        assert [isinstance(each, Encoded) for each in answers] == [True, False, True, False]
        assert [each.kind for each in answers if isinstance(each, Problem)] == ["internal", "not-ready"]

    asyncio.run(story())
