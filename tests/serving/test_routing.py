"""A surface's request goes where surfaces.yaml says, and a split shares keys out evenly and always in the same way."""

from collections import Counter
from typing import Any

import pytest

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.routing import RELEASE_NAME, Target, named_releases, route_of, targets
from shelfcode.serving.surface_settings import RouteSettings, SurfaceSettings

LIVE = {"precision": "precision@v0003", "discovery": "discovery@v0001"}
LOADED = frozenset({"precision@v0001", "precision@v0002", "precision@v0003", "discovery@v0001"})
SURFACES = {
    "search": "precision",
    "pinned": {"flavor": "precision", "release": "v0001"},
    "current": {"flavor": "precision", "release": "current"},
    "trial": {"flavor": "precision", "split": {"current": 0.9, "v0002": 0.1}},
    "inspiration": {"blend": {"discovery": 3, "precision": 1}},
}
KEYS = [f"customer {number}" for number in range(10_000)]


def settings(**more: Any) -> SurfaceSettings:
    return SurfaceSettings.model_validate({"surfaces": SURFACES, "auth": "none", **more})


def asked(surface: str, key: str = "", live: dict[str, str] = LIVE, loaded: frozenset[str] = LOADED) -> list[Target]:
    return targets(route_of(settings(), surface), live, loaded, key)


def split(shares: dict[str, float], loaded: frozenset[str] = LOADED) -> list[str]:
    """The release that each of 10,000 keys gets."""
    route = RouteSettings(flavor="precision", split=shares)
    return [targets(route, LIVE, loaded, key)[0].release for key in KEYS]


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        ("search", [Target("precision", "precision@v0003", 1.0)]),
        ("pinned", [Target("precision", "precision@v0001", 1.0)]),
        ("current", [Target("precision", "precision@v0003", 1.0)]),
        ("inspiration", [Target("discovery", "discovery@v0001", 0.75), Target("precision", "precision@v0003", 0.25)]),
    ],
)
def test_a_surface_gets_the_flavors_and_releases_that_it_is_routed_to(surface: str, expected: list[Target]) -> None:
    assert asked(surface) == expected


@pytest.mark.parametrize(
    "shares",
    [
        {"current": 0.9, "v0002": 0.1},
        {"current": 1, "v0001": 1},
        {"v0001": 20, "v0002": 30, "current": 50},
        {"current": 0.99, "v0002": 0.01},
    ],
)
def test_keys_are_shared_out_as_the_split_says(shares: dict[str, float]) -> None:
    counts = Counter(split(shares))
    for name, share in shares.items():
        release = "precision@v0003" if name == "current" else f"precision@{name}"
        part = share / sum(shares.values())
        assert abs(counts[release] / len(KEYS) - part) < 4 * (part * (1 - part) / len(KEYS)) ** 0.5


def test_a_key_stays_on_its_side_and_moves_only_when_the_split_does() -> None:
    tenth, fifth = split({"v0002": 0.1, "current": 0.9}), split({"v0002": 0.2, "current": 0.8})
    assert split({"v0002": 0.1, "current": 0.9}) == tenth
    assert split({"v0002": 1, "current": 9}) == tenth
    moved = [(before, after) for before, after in zip(tenth, fifth, strict=True) if before != after]
    assert set(moved) == {("precision@v0003", "precision@v0002")}


@pytest.mark.parametrize("key", ["", "\x00", "ключ", "\ud800", "k" * 100_000])
def test_any_text_is_a_routing_key(key: str) -> None:
    assert asked("trial", key)[0].release in LOADED


def test_a_side_of_a_split_that_is_not_loaded_leaves_its_keys_to_the_current_release() -> None:
    assert set(split({"current": 0.5, "v0009": 0.5})) == {"precision@v0003"}
    kept = split({"v0001": 0.5, "v0009": 0.5})
    assert set(kept) == {"precision@v0001", "precision@v0003"}
    whole = split({"v0001": 0.5, "v0002": 0.5})
    assert [each == "precision@v0001" for each in kept] == [each == "precision@v0001" for each in whole]


@pytest.mark.parametrize(
    ("surface", "live", "loaded"),
    [
        ("search", {}, LOADED),
        ("search", LIVE, frozenset()),
        ("pinned", LIVE, LOADED - {"precision@v0001"}),
        ("trial", {}, frozenset()),
        ("inspiration", {"precision": "precision@v0003"}, LOADED),
    ],
)
def test_a_surface_without_a_release_that_can_be_asked_is_not_ready(surface: str, live: dict[str, str], loaded: frozenset[str]) -> None:
    with pytest.raises(Problem, match="/v1/ready says why") as raised:
        asked(surface, live=live, loaded=loaded)
    assert (raised.value.kind, raised.value.status) == ("not-ready", 503)
    assert raised.value.more["flavor"] == ("discovery" if surface == "inspiration" else "precision")


def test_an_unknown_surface_is_told_which_there_are_unless_there_is_a_default() -> None:
    with pytest.raises(Problem, match="current, inspiration, pinned, search, trial") as raised:
        route_of(settings(), "x" * 10_000)
    assert raised.value.more["surfaces"] == sorted(SURFACES)
    assert len(raised.value.detail) < 300
    assert route_of(settings(default="discovery"), "x").flavors == ["discovery"]
    assert route_of(settings(default={"flavor": "precision", "release": "v0001"}), "x").release == "v0001"
    assert route_of(settings(default="discovery"), "search").flavors == ["precision"]


def test_releases_that_surfaces_name_are_wanted_once_each_and_current_is_not_a_name() -> None:
    more = {"surfaces": {**SURFACES, "again": {"flavor": "precision", "release": "v0002"}}}
    assert named_releases(settings(**more), "precision") == ["precision@v0001", "precision@v0002"]
    assert named_releases(settings(**more), "discovery") == []
    assert named_releases(settings(default={"flavor": "discovery", "split": {"v0001": 1, "current": 1}}), "discovery") == [
        "discovery@v0001"
    ]


@pytest.mark.parametrize("name", ["precision@v0001", "a@v12345", "my-flavor_2@v0010"])
def test_such_names_are_those_of_releases(name: str) -> None:
    assert RELEASE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["precision", "precision@current", "@v0001", "../x@v0001", "a/b@v0001", "p@v1", "p@v0001\n", "P@v0001", ""]
)
def test_no_other_text_names_a_release(name: str) -> None:
    assert not RELEASE_NAME.fullmatch(name)
