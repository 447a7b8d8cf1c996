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
        weight: its part in a blend, summing up to 1 over the targets of a request.
    """

    flavor: str
    release: str
    weight: float


def route_of(settings: SurfaceSettings, surface: str) -> RouteSettings:
    """The route of a surface, or the default one.

    Raises:
        Problem: the surface is not named and there is no default.
    """
    route = settings.surfaces.get(surface, settings.default)
    if route is None:
        known = sorted(settings.surfaces)
        raise Problem("unknown-surface", f"there is no surface {surface[:100]!r}; there are {', '.join(known)}", surfaces=known)
    return written_out(route)


def wanted_releases(settings: SurfaceSettings, flavor: str) -> list[str]:
    """Releases of a flavor that some surface names, beside the current one."""
    routes = [route for _, route in settings.routes()] + ([written_out(settings.default)] if settings.default else [])
    names = [name for route in routes if flavor in route.flavors for name in [route.release, *route.split] if name]
    return [f"{flavor}@{name}" for name in dict.fromkeys(names) if name != CURRENT]


def targets(route: RouteSettings, live: Mapping[str, str], loaded: frozenset[str], routing_key: str) -> list[Target]:
    """The flavors and releases that answer one request.

    Args:
        live: flavor -> the release that is current and loaded.
        loaded: releases that can be asked.
        routing_key: requests with equal keys get the same side of a split, as long as the split stays as it is.

    Raises:
        Problem: a flavor has no release that can be asked.
    """
    total = sum(route.blend.values()) or 1.0
    weights = {flavor: weight / total for flavor, weight in route.blend.items()} or {str(route.flavor): 1.0}
    found = []
    for flavor, weight in weights.items():
        name = _drawn(route.split, routing_key) if route.split else route.release or CURRENT
        release = f"{flavor}@{name}" if name != CURRENT else live.get(flavor)
        if release not in loaded and route.split:
            release = live.get(flavor)  # the other side of the split still stands
        if release is None or release not in loaded:
            raise Problem("not-ready", f"no release of flavor {flavor} can be served now; /v1/ready says why", flavor=flavor)
        found.append(Target(flavor, release, weight))
    return found


def _drawn(split: Mapping[str, float], routing_key: str) -> str:
    """The side of a split that a key falls on, evenly over keys and without a memory."""
    digest = hashlib.blake2b(routing_key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    place = int.from_bytes(digest, "big") / STEPS * sum(split.values())
    for name, share in split.items():
        place -= share
        if place < 0:
            return name
    return list(split)[-1]
