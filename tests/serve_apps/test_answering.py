"""A release is loaded everywhere before it is asked, and what keeps a deployment from starting is told and not waited for."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from serve_apps.answering import Answering
from shelfcode.serving.api.live_releases import Unavailable
from shelfcode.serving.api.questions import Prepared
from shelfcode.serving.surface_settings import SurfaceSettings

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
        handles: Any = index, {"small": encoder}
        answering = Answering(str(folder), SETTINGS, *handles, None, why_blocked, blocked_seconds=0.001)
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
