"""Neighbours in two flavors at once, for a surface that needs both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfcode.index.code_index import Mask
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.semantic_id import Codes, shared_depth

DEEPER = 4
"""Times k that each flavor is asked for: a product that one flavor ranks first may stand lower in the other."""


@dataclass(frozen=True)
class Part:
    """One flavor of a blend, asked for what is near to codes."""

    index: ReleaseIndex
    weight: float
    codes: Codes
    allowed_N: Mask | None
    exclude: frozenset[int]


@dataclass(frozen=True)
class Blended:
    """One product that a blend found: its place in each part, -1 where it is not there, its levels, and its score in [0, 1]."""

    places: tuple[int, ...]
    levels: tuple[int, ...]
    score: float


def blend(parts: Sequence[Part], k: int, min_level: int) -> list[Blended]:
    """The k products with the highest score over the parts.

    A product's score is the weighted mean, over flavors, of (levels shared + 1 / (1 + distance)) / (levels + 1). Only products that are
    among the nearest 4 k of some flavor are scored.
    """
    item_ids: dict[str, None] = {}
    for part in parts:
        for found in part.index.codes.similar(part.codes, DEEPER * k, min_level, part.allowed_N, part.exclude):
            item_ids[part.index.product(found.place, ())["item_id"]] = None
    scored = [_scored(parts, [part.index.place(item_id) for part in parts]) for item_id in item_ids]
    return sorted(scored, key=lambda each: -each.score)[:k]


def _scored(parts: Sequence[Part], places: Sequence[int]) -> Blended:
    levels, score = [], 0.0
    for part, place in zip(parts, places, strict=True):
        level, nearness = (0, 0.0) if place < 0 else _closeness(part, place)
        levels.append(level)
        score += part.weight * (level + nearness) / (len(part.codes) + 1)
    return Blended(tuple(places), tuple(levels), round(score, 5))


def _closeness(part: Part, place: int) -> tuple[int, float]:
    """Levels that a product shares with what was asked for, and 1 / (1 + distance)."""
    codes = part.index.codes
    bucket = codes.bucket_of(place)
    level = int(shared_depth(codes.codes_LB[:, bucket : bucket + 1].T, np.array([part.codes]))[0])
    return level, 1 / (1 + float(codes.distances(part.codes, bucket, bucket + 1)[0]))
