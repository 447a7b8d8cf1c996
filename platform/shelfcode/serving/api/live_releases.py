"""Which releases can be asked now: what one process knows of them, and how it learns of a promotion."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shelfcode.serving.api.questions import Prepared
from shelfcode.serving.routing import named_releases
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.versions import current_of, published_versions
from shelfcode.workspace import Workspace

log = logging.getLogger("ray.serve")

RETRY_SECONDS = 30.0
"""Time until a release that was refused is tried again: its files may have been mended."""


class Unavailable(Exception):  # noqa: N818  a state that passes, not a fault
    """A deployment that should load a release has no replica that answers; the message says why."""


async def prepare_for_requests(
    prepare: Callable[[str], Awaitable[Prepared]], workspace: Workspace, settings: SurfaceSettings, flavor: str
) -> None:
    """Load what requests will go to, before any comes: a flavor's current release and those that surfaces name.

    Where the current one is damaged, the newest that is not: it is the one that is live. Nothing is raised: without a release, or with a
    workspace that cannot be read now, a replica starts all the same, and `LiveReleases` tells what is wrong.
    """
    for release in named_releases(settings, flavor):
        await _tried(prepare, release)
    folder = f"releases/{flavor}"
    try:
        current = await asyncio.to_thread(current_of, workspace, folder)
        if current is None or await _tried(prepare, f"{flavor}@{current}"):
            return
        for version in reversed(await asyncio.to_thread(published_versions, workspace, folder)):
            if version != current and await _tried(prepare, f"{flavor}@{version}"):
                return
    except Exception as error:
        log.warning("flavor %s: nothing is loaded beforehand: %s: %s", flavor, type(error).__name__, error)


async def _tried(prepare: Callable[[str], Awaitable[Prepared]], release: str) -> bool:
    try:
        problem = (await prepare(release)).problem
    except Exception as error:  # damage of a kind that nobody foresaw
        problem = f"{type(error).__name__}: {error}"
    if problem:
        log.warning("%s is not loaded beforehand: %s", release, problem)
    return problem is None


@dataclass
class LiveReleases:
    """The releases that can be asked.

    A release becomes live when every deployment has loaded it, and not before. Until then the one before it stays live; where the files of
    the new one are damaged, it stays for good.

    Attributes:
        prepare: has a release loaded wherever it will be asked for; raises Unavailable.
        retry_seconds: time until a release that was refused is tried again.
        read_current: workspace, folder of a flavor -> the version that its CURRENT names.
        retrievers_of: flavor -> the versions of retrievers that were current when its release was loaded.
        live: flavor -> its current release, once it is loaded.
        loaded: every release that can be asked, with its text view.
        problems: flavor or release -> why its release is not the one that it should be.
        refused: release -> why it was, and when it is tried again.
    """

    workspace: Workspace
    settings: SurfaceSettings
    prepare: Callable[[str], Awaitable[Prepared]]
    retry_seconds: float = RETRY_SECONDS
    read_current: Callable[[Workspace, str], str | None] = current_of
    retrievers_of: dict[str, tuple[str | None, ...]] = field(default_factory=dict)
    live: dict[str, str] = field(default_factory=dict)
    loaded: dict[str, Prepared] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether every flavor has a release."""
        return all(flavor in self.live for flavor in self.settings.flavor_names)

    @property
    def askable(self) -> frozenset[str]:
        """The releases that can be asked."""
        return frozenset(self.loaded)

    @property
    def retrievers(self) -> dict[str, str]:
        """The retrievers that answer: name of surfaces.yaml -> version."""
        return {name: label for release in self.live.values() for name, label in self.loaded[release].retrievers.items()}

    @property
    def without(self) -> dict[str, str]:
        """The retrievers that surfaces name and that do not answer, and why."""
        there = self.retrievers
        why = {name: why for release in self.live.values() for name, why in self.loaded[release].without.items()}
        missing = [name for name in self.settings.retriever_names if name not in there]
        return {name: why.get(name, "it is of a flavor that no surface goes to, or its release is not loaded yet") for name in missing}

    async def follow(self) -> None:
        """Look at CURRENT again and again, for ever."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Look at CURRENT of every flavor once, and at the releases that surfaces name."""
        await asyncio.gather(*(self._refresh(flavor) for flavor in self.settings.flavor_names))

    async def _refresh(self, flavor: str) -> None:
        try:
            promoted = await self._follow_current(flavor)
            for release in named_releases(self.settings, flavor):  # prepared after a promotion, too, so that none makes way for it
                await self._load(release, release, again=promoted)
        except Unavailable as error:
            self.problems[flavor] = str(error)
            log.warning("flavor %s: %s", flavor, error)
        except Exception as error:  # a store that cannot be reached now must not end `follow`
            self.problems[flavor] = f"the workspace cannot be read: {type(error).__name__}: {error}"
            log.warning("flavor %s: %s", flavor, self.problems[flavor])

    async def _follow_current(self, flavor: str) -> bool:
        """Make what CURRENT names live, and say whether that is another release than before."""
        version = await asyncio.to_thread(self.read_current, self.workspace, f"releases/{flavor}")
        if version is None:
            self.problems[flavor] = f"{self.workspace.url} has no current release of {flavor}: train it, or promote one"
            return False
        before, release = self.live.get(flavor), f"{flavor}@{version}"
        retrievers = await asyncio.to_thread(self._current_retrievers)
        if await self._load(release, flavor, again=release != before or retrievers != self.retrievers_of.get(flavor)):
            self.live[flavor], self.retrievers_of[flavor] = release, retrievers
        elif before is None:
            await self._fall_back(flavor, version)
        return self.live.get(flavor) != before

    def _current_retrievers(self) -> tuple[str | None, ...]:
        bases = dict.fromkeys(name.partition("@")[0] for name in self.settings.retriever_names)
        return tuple(self.read_current(self.workspace, f"retrievers/{base}") for base in bases)

    async def _fall_back(self, flavor: str, refused: str) -> None:
        """A process that starts while CURRENT is damaged serves the newest release that is not."""
        problem_of_current = self.problems[flavor]
        for version in reversed(await asyncio.to_thread(published_versions, self.workspace, f"releases/{flavor}")):
            if version != refused and await self._load(f"{flavor}@{version}", flavor):
                self.live[flavor] = f"{flavor}@{version}"
                break
        self.problems[flavor] = problem_of_current  # whatever else was tried

    async def _load(self, release: str, subject: str, again: bool = False) -> bool:
        """Have a release loaded, and say whether it is; why not becomes the subject's problem.

        Args:
            again: although it was loaded before: since then it may have made way for others.
        """
        if release in self.loaded and not again:
            self.problems.pop(subject, None)
            return True
        why, not_before = self.refused.get(release, ("", 0.0))
        if time.monotonic() < not_before:
            self.problems[subject] = why
            return False
        prepared = await self.prepare(release)
        if prepared.problem:
            self.problems[subject] = f"{release} was refused: {prepared.problem}"
            self.refused[release] = (self.problems[subject], time.monotonic() + self.retry_seconds)
            log.warning("%s", self.problems[subject])
            if release not in self.live.values():  # what is live stays so, with the retrievers that it has
                self.loaded.pop(release, None)
            return False
        self.loaded[release] = prepared
        self.problems.pop(subject, None)
        log.info("%s is loaded", release)
        return True
