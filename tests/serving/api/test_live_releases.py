"""A promotion is followed when everybody has loaded the release, and nothing that is damaged or out of reach ends what is served."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shelfcode.releases.release import Manifest
from shelfcode.serving.api.live_releases import LiveReleases, Unavailable, prepare_for_requests
from shelfcode.serving.api.questions import Prepared
from shelfcode.serving.surface_settings import SurfaceSettings
from shelfcode.versions import current_of, move_current
from shelfcode.workspace import Workspace

PATIENCE = 20
FOLDER = "releases/small"


class Deployments:
    """Load whatever is not damaged, at once or when they are let."""

    def __init__(self) -> None:
        self.damaged: set[str] = set()
        self.asked: list[str] = []
        self.down: Exception | None = None
        self.may: asyncio.Event | None = None

    async def prepare(self, release: str) -> Prepared:
        self.asked.append(release)
        if self.may:
            await self.may.wait()
        if self.down:
            raise self.down
        return Prepared(release, "its model is damaged" if release in self.damaged else None, "attributes")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path))


@pytest.fixture
def publish(workspace: Workspace, publish_small: Callable[..., Manifest]) -> Callable[..., str]:
    return lambda make_current=True: publish_small(workspace, make_current).name


@pytest.fixture
def deployments() -> Deployments:
    return Deployments()


@pytest.fixture
def following(workspace: Workspace, deployments: Deployments) -> LiveReleases:
    return follow(workspace, deployments)


def follow(workspace: Workspace, deployments: Deployments, **surfaces: Any) -> LiveReleases:
    settings = SurfaceSettings.model_validate({"surfaces": {"search": "small", **surfaces}, "auth": "none", "poll_seconds": 0.001})
    return LiveReleases(workspace, settings, deployments.prepare, retry_seconds=0)


def refresh(*following: LiveReleases) -> None:
    async def once() -> None:
        async with asyncio.timeout(PATIENCE):
            for each in following:
                await each.refresh()

    asyncio.run(once())


def test_without_a_release_nothing_is_ready_and_the_problem_says_what_to_do(following: LiveReleases, deployments: Deployments) -> None:
    refresh(following)
    assert not following.ready
    assert (following.live, following.askable, deployments.asked) == ({}, frozenset(), [])
    assert "no current release of small: train it" in following.problems["small"]


def test_the_first_release_makes_it_ready(following: LiveReleases, publish: Callable[..., str], deployments: Deployments) -> None:
    refresh(following)
    publish(make_current=False)
    refresh(following)
    assert not following.ready
    first = publish()
    refresh(following, following)
    assert following.ready
    assert (following.live, following.askable, following.problems) == ({"small": first}, {first}, {})
    assert {name: prepared.view for name, prepared in following.loaded.items()} == {first: "attributes"}
    assert deployments.asked == [first]


def test_a_promotion_is_followed_when_everybody_has_loaded_it_and_not_before(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    first = publish()
    refresh(following)
    second = publish()

    async def story() -> None:
        async with asyncio.timeout(PATIENCE):
            deployments.may = asyncio.Event()
            refreshing = asyncio.ensure_future(following.refresh())
            while deployments.asked[-1] != second:
                await asyncio.sleep(0)
            assert (following.live, following.askable) == ({"small": first}, {first})
            deployments.may.set()
            await refreshing
            assert (following.live, following.askable) == ({"small": second}, {first, second})

    asyncio.run(story())


def test_a_release_that_is_promoted_again_is_prepared_again(
    workspace: Workspace, following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    """Meanwhile it may have made way for others, and the first request to it would wait until it is loaded."""
    first, second = publish(), publish()
    refresh(following)
    move_current(workspace, FOLDER, "v0001", "rolled back")
    refresh(following, following)
    move_current(workspace, FOLDER, "v0002", "promoted")
    refresh(following, following)
    assert following.live == {"small": second}
    assert deployments.asked == [second, first, second]


def test_a_release_that_is_promoted_again_and_cannot_be_loaded_any_more_does_not_become_live(
    workspace: Workspace, following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    first, second = publish(), publish()
    refresh(following)
    move_current(workspace, FOLDER, "v0001", "rolled back")
    refresh(following)
    deployments.damaged = {second}
    move_current(workspace, FOLDER, "v0002", "promoted")
    refresh(following)
    assert (following.live, following.askable) == ({"small": first}, {first})
    assert second in following.problems["small"]


def test_a_damaged_release_leaves_the_one_before_until_it_is_mended(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    first = publish()
    refresh(following)
    second = publish()
    deployments.damaged = {second}
    refresh(following)
    assert following.ready
    assert (following.live, following.askable) == ({"small": first}, {first})
    assert following.problems == {"small": f"{second} was refused: its model is damaged"}
    deployments.damaged = set()
    refresh(following)
    assert (following.live, following.problems) == ({"small": second}, {})


def test_a_release_that_was_refused_is_not_tried_at_every_look(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    following.retry_seconds = 1e9
    first = publish()
    refresh(following)
    second = publish()
    deployments.damaged = {second}
    refresh(following, following, following)
    assert deployments.asked == [first, second]
    assert second in following.problems["small"]
    third = publish()
    refresh(following)
    assert (following.live, following.problems) == ({"small": third}, {})


def test_a_process_that_starts_while_current_is_damaged_serves_the_newest_that_is_not(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    releases = [publish() for _ in range(4)]
    deployments.damaged = {releases[2], releases[3]}
    refresh(following)
    assert following.live == {"small": releases[1]}
    assert deployments.asked == [releases[3], releases[2], releases[1]]
    assert following.problems["small"].startswith(releases[3])
    deployments.damaged = {releases[2]}
    refresh(following)
    assert (following.live, following.problems) == ({"small": releases[3]}, {})


def test_where_every_release_is_damaged_nothing_is_ready_and_the_problem_is_that_of_current(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    first, second = publish(), publish()
    deployments.damaged = {first, second}
    refresh(following)
    assert not following.ready
    assert following.problems["small"].startswith(second)


def test_a_current_that_names_no_release_is_as_good_as_a_damaged_one(
    workspace: Workspace, following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    first = publish()
    workspace.write_json(f"{FOLDER}/CURRENT", {"version": "v0009", "previous": "v0001"})
    deployments.damaged = {"small@v0009"}
    refresh(following)
    assert following.live == {"small": first}


@pytest.mark.parametrize("damage", [b"", b'{"version": ', b"[]", b"\xff"])
def test_a_current_that_cannot_be_read_keeps_what_is_served(
    workspace: Workspace, following: LiveReleases, publish: Callable[..., str], damage: bytes
) -> None:
    first = publish()
    refresh(following)
    whole = workspace.read_bytes(f"{FOLDER}/CURRENT")
    workspace.write_bytes(f"{FOLDER}/CURRENT", damage)
    refresh(following)
    assert following.live == {"small": first}
    assert following.problems["small"].startswith("the workspace cannot be read")
    workspace.write_bytes(f"{FOLDER}/CURRENT", whole)
    refresh(following)
    assert (following.live, following.problems) == ({"small": first}, {})


def test_deployments_that_are_down_are_asked_again(following: LiveReleases, publish: Callable[..., str], deployments: Deployments) -> None:
    deployments.down = ConnectionError("gone")
    first = publish()
    refresh(following)
    assert not following.ready
    assert "ConnectionError" in following.problems["small"]
    deployments.down = None
    refresh(following)
    assert (following.live, following.problems) == ({"small": first}, {})


def test_a_deployment_that_is_not_up_is_told_with_what_it_waits_for(
    following: LiveReleases, publish: Callable[..., str], deployments: Deployments
) -> None:
    deployments.down = Unavailable("deployment flavor-small waits for 1 CPU")
    first = publish()
    refresh(following)
    assert (following.ready, following.problems) == (False, {"small": "deployment flavor-small waits for 1 CPU"})
    deployments.down = None
    refresh(following)
    assert (following.live, following.problems) == ({"small": first}, {})


def test_following_goes_on_when_the_workspace_is_out_of_reach(following: LiveReleases, publish: Callable[..., str]) -> None:
    first = publish()
    refresh(following)
    second, looks = publish(), []

    def unreachable(*of: Any) -> str | None:
        looks.append(of)
        if len(looks) <= 3:
            raise OSError("no route to the bucket")
        return current_of(*of)

    following.read_current = unreachable

    async def story() -> None:
        async with asyncio.timeout(PATIENCE):
            task = asyncio.ensure_future(following.follow())
            while following.live != {"small": second}:
                assert following.live == {"small": first}
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(story())
    assert len(looks) >= 4
    assert following.problems == {}


def test_releases_that_surfaces_name_are_loaded_beside_the_current_one(
    workspace: Workspace, publish: Callable[..., str], deployments: Deployments
) -> None:
    first, second, third = publish(), publish(), publish()
    routes = {"pinned": {"flavor": "small", "release": "v0001"}, "trial": {"flavor": "small", "split": {"current": 1, "v0002": 1}}}
    following = follow(workspace, deployments, **routes)
    deployments.damaged = {second}
    refresh(following)
    assert (following.live, following.askable) == ({"small": third}, {first, third})
    assert following.ready
    assert list(following.problems) == [second]
    deployments.damaged = set()
    refresh(following)
    assert (following.askable, following.problems) == ({first, second, third}, {})
    deployments.asked.clear()
    fourth = publish()
    refresh(following)
    assert deployments.asked == [fourth, first, second]  # so that neither makes way for it


def prepared_for_requests(workspace: Workspace, deployments: Deployments, **surfaces: Any) -> list[str]:
    """What a replica that starts loads before requests come to it, in order."""
    settings = SurfaceSettings.model_validate({"surfaces": {"search": "small", **surfaces}, "auth": "none"})
    asyncio.run(prepare_for_requests(deployments.prepare, workspace, settings, "small"))
    return deployments.asked


def test_a_replica_that_starts_loads_what_it_will_be_asked_for(
    workspace: Workspace, publish: Callable[..., str], deployments: Deployments
) -> None:
    first, second = publish(), publish()
    assert prepared_for_requests(workspace, deployments) == [second]
    deployments.asked.clear()
    assert prepared_for_requests(workspace, deployments, pinned={"flavor": "small", "release": "v0001"}) == [first, second]


def test_a_replica_that_starts_while_current_is_damaged_loads_the_one_that_is_live(
    workspace: Workspace, publish: Callable[..., str], deployments: Deployments
) -> None:
    first, second, third = publish(), publish(), publish()
    deployments.damaged = {second, third}
    assert prepared_for_requests(workspace, deployments) == [third, second, first]


def test_a_replica_starts_whatever_is_wrong(workspace: Workspace, publish: Callable[..., str], deployments: Deployments) -> None:
    assert prepared_for_requests(workspace, deployments) == []
    release = publish()
    deployments.down = MemoryError("no room")
    assert prepared_for_requests(workspace, deployments) == [release]
    workspace.write_bytes(f"{FOLDER}/CURRENT", b"{")
    assert prepared_for_requests(workspace, deployments) == [release]


def test_one_flavor_without_a_release_does_not_hold_up_the_other(
    workspace: Workspace, publish: Callable[..., str], deployments: Deployments
) -> None:
    following = follow(workspace, deployments, homepage="discovery")
    first = publish()
    refresh(following)
    assert (following.live, following.ready) == ({"small": first}, False)
    assert list(following.problems) == ["discovery"]


# Retrievers.


def test_another_version_of_a_retriever_is_loaded_with_the_release_that_is_live(
    workspace: Workspace, publish: Callable[..., str], deployments: Deployments
) -> None:
    following = follow(workspace, deployments, home={"flavor": "small", "retrieve": {"blend": {"generator": 1, "cr@v0001": 1}}})
    first = publish()
    refresh(following, following)
    assert deployments.asked == [first]
    workspace.write_json("retrievers/generator/CURRENT", {"version": "v0001", "previous": None})
    refresh(following, following)
    assert deployments.asked == [first] * 2
    deployments.damaged.add(first)
    workspace.write_json("retrievers/generator/CURRENT", {"version": "v0002", "previous": "v0001"})
    refresh(following)
    assert (following.live, following.askable) == ({"small": first}, {first})  # with the retrievers that it has
    assert "damaged" in following.problems["small"]
    deployments.damaged.clear()
    refresh(following, following)
    assert deployments.asked == [first] * 4
    assert following.problems == {}


def test_retrievers_that_do_not_answer_are_told(workspace: Workspace, publish: Callable[..., str], deployments: Deployments) -> None:
    following = follow(workspace, deployments, home={"flavor": "small", "retrieve": {"split": {"generator": 1, "cr": 1, "other": 1}}})
    release = publish()
    refresh(following)
    following.loaded[release] = Prepared(release, retrievers={"generator": "generator@v0001"}, without={"cr": "train it"})
    assert following.retrievers == {"generator": "generator@v0001"}
    assert list(following.without) == ["cr", "other"]
    assert following.without["cr"] == "train it"
    assert "a flavor that no surface goes to" in following.without["other"]
