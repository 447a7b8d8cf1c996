"""Neighbours in two flavors at once, for a surface that needs both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfcode.index.code_index import Mask
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.semantic_id import Codes, shared_depth

DEEPER = 4
"""Each flavor is asked for this many times k products: one that the blend ranks first may stand lower in a single flavor."""


@dataclass(frozen=True)
class FlavorQuery:
    """What one flavor of a blend is asked for: the products near to some codes."""

    index: ReleaseIndex
    weight: float
    codes: Codes
    allowed_N: Mask | None
    exclude: frozenset[int]


@dataclass(frozen=True)
class Blended:
    """One product that a blend found: in each flavor its place (-1 where it has none) and the levels it shares, and its score in [0, 1]."""

    places: tuple[int, ...]
    levels: tuple[int, ...]
    score: float


def blend(queries: Sequence[FlavorQuery], k: int, min_level: int) -> list[Blended]:
    """The k products with the highest score over the flavors.

    A product's score is the weighted mean, over flavors, of (levels shared + 1 / (1 + distance)) / (levels + 1). Only products that are
    among the nearest 4 k of some flavor are scored.
    """
    item_ids: dict[str, None] = {}  # in order of appearance, each once
    for query in queries:
        for match in query.index.codes.similar(query.codes, DEEPER * k, min_level, query.allowed_N, query.exclude):
            item_ids[query.index.product(match.place, ())["item_id"]] = None
    scored = [_scored(queries, [query.index.place(item_id) for query in queries]) for item_id in item_ids]
    return sorted(scored, key=lambda each: -each.score)[:k]


def _scored(queries: Sequence[FlavorQuery], places: Sequence[int]) -> Blended:
    levels, score = [], 0.0
    for query, place in zip(queries, places, strict=True):
        level, nearness = (0, 0.0) if place < 0 else _closeness(query, place)
        levels.append(level)
        score += query.weight * (level + nearness) / (len(query.codes) + 1)
    return Blended(tuple(places), tuple(levels), round(score, 5))


def _closeness(query: FlavorQuery, place: int) -> tuple[int, float]:
    """Levels that a product shares with the query's codes, and 1 / (1 + distance)."""
    codes = query.index.codes
    bucket = codes.bucket_of(place)
    level = int(shared_depth(codes.codes_LB[:, bucket : bucket + 1].T, np.array([query.codes]))[0])
    return level, 1 / (1 + float(codes.distances(query.codes, bucket, bucket + 1)[0]))
