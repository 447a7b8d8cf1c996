"""Which flavor and which release a request goes to."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import CURRENT, RouteSettings, SurfaceSettings, written_out

STEPS = 2**32
RELEASE_NAME = re.compile(r"[a-z][a-z0-9_-]*@v\d{4,}")


@dataclass(frozen=True)
class Target:
    """One flavor that answers a request.

    Attributes:
        release: such as `precision@v0002`.
        weight: its share in a blend; the weights of a request's targets add up to 1.
    """

    flavor: str
    release: str
    weight: float


@dataclass(frozen=True)
class RouteView:
    """Where a surface goes, as callers are told.

    Attributes:
        flavors: flavor -> its weight in a blend.
        releases: release -> its share of the traffic.
        problem: what is wrong with any of them.
    """

    surface: str
    flavors: dict[str, float]
    releases: dict[str, float]
    problem: str | None


def route_of(settings: SurfaceSettings, surface: str) -> RouteSettings:
    """The route of a surface, or the default one.

    Raises:
        Problem: surfaces.yaml does not name the surface, and has no default.
    """
    route = settings.surfaces.get(surface, settings.default)
    if route is None:
        known = sorted(settings.surfaces)
        raise Problem("unknown-surface", f"there is no surface {surface[:100]!r}; there are {', '.join(known)}", surfaces=known)
    return written_out(route)


def named_releases(settings: SurfaceSettings, flavor: str) -> list[str]:
    """Releases of a flavor that some surface names. The current one is not named."""
    routes = [route for _, route in settings.routes()] + ([written_out(settings.default)] if settings.default else [])
    names = [name for route in routes if flavor in route.flavors for name in [route.release, *route.split] if name]
    return [f"{flavor}@{name}" for name in dict.fromkeys(names) if name != CURRENT]


def targets(route: RouteSettings, live: Mapping[str, str], loaded: frozenset[str], routing_key: str) -> list[Target]:
    """The flavors and releases that answer one request.

    Args:
        live: flavor -> the release that is current and loaded.
        loaded: releases that can be asked.
        routing_key: requests with equal keys get the same side of a split, as long as the split does not change.

    Raises:
        Problem: a flavor has no release that can be asked.
    """
    chosen = []
    for flavor, weight in _weights(route).items():
        name = drawn(route.split, routing_key) if route.split else route.release or CURRENT
        release = f"{flavor}@{name}" if name != CURRENT else live.get(flavor)
        if release not in loaded and route.split:
            release = live.get(flavor)  # the rest of the split is not disturbed
        if release is None or release not in loaded:
            raise Problem("not-ready", f"no release of flavor {flavor} can be served now; /v1/ready says why", flavor=flavor)
        chosen.append(Target(flavor, release, weight))
    return chosen


def route_view(surface: str, route: RouteSettings, live: Mapping[str, str], problems: Mapping[str, str]) -> RouteView:
    """Where a surface goes.

    Args:
        live: flavor -> the release that is current and loaded.
        problems: flavor or release -> what is wrong with it.
    """
    flavors = _weights(route)
    shares = route.split or {route.release or CURRENT: 1.0}
    releases: dict[str, float] = {}
    for flavor in flavors:
        for name, share in shares.items():
            release = live.get(flavor, f"{flavor}@{CURRENT}") if name == CURRENT else f"{flavor}@{name}"
            releases[release] = releases.get(release, 0.0) + share / sum(shares.values())
    reasons = [why for name, why in problems.items() if name in flavors or name in releases]
    return RouteView(surface, flavors, releases, "; ".join(reasons) or None)


def _weights(route: RouteSettings) -> dict[str, float]:
    """The flavors of a route with their weights, which add up to 1."""
    total = sum(route.blend.values()) or 1.0
    return {flavor: weight / total for flavor, weight in route.blend.items()} or {str(route.flavor): 1.0}


def drawn(split: Mapping[str, float], routing_key: str) -> str:
    """The side of a split that a key falls on: keys are spread evenly, and nothing is remembered."""
    digest = hashlib.blake2b(routing_key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    place = int.from_bytes(digest, "big") / STEPS * sum(split.values())
    for name, share in split.items():
        place -= share
        if place < 0:
            return name
    return list(split)[-1]
