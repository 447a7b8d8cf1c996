"""Neighbours in two flavors at once, for a surface that needs both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

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
    allowed: BitMap | None
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
    found = [np.empty((0, len(queries)), np.int64)]
    for number, query in enumerate(queries):
        near = query.index.codes.similar(query.codes, DEEPER * k, min_level, query.allowed, query.exclude)
        found.append(_places(queries, number, np.array([match.place for match in near], np.int64)))
    place_CQ = np.array(list(dict.fromkeys(map(tuple, np.concatenate(found).tolist()))), np.int64).reshape(-1, len(queries))
    level_CQ, score_C = np.zeros_like(place_CQ), np.zeros(len(place_CQ))
    for number, query in enumerate(queries):
        here_C = place_CQ[:, number] >= 0
        level_H, nearness_H = _closeness(query, place_CQ[here_C, number])
        level_CQ[here_C, number] = level_H
        score_C[here_C] += query.weight * (level_H + nearness_H) / (len(query.codes) + 1)
    rows = zip(place_CQ.tolist(), level_CQ.tolist(), score_C.tolist(), strict=True)
    scored = [Blended(tuple(places), tuple(levels), round(score, 5)) for places, levels, score in rows]
    return sorted(scored, key=lambda each: -each.score)[:k]


def _places(queries: Sequence[FlavorQuery], number: int, place_M: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where products that one flavor found stand in each flavor: int64[products, flavors]; -1 where it does not have one.

    By their rows, where two releases share an item store, else by their item_ids.
    """
    index = queries[number].index
    row_M, item_ids = index.codes.row_N[place_M], None
    columns = []
    for query in queries:
        if query.index is index:
            columns.append(place_M)
        elif query.index.items.name == index.items.name:
            columns.append(query.index.place_of_row[row_M].astype(np.int64))
        else:
            item_ids = item_ids or [index.items.value(row, "item_id") for row in row_M.tolist()]
            columns.append(query.index.places_of(item_ids))
    return np.stack(columns, axis=1)


def _closeness(query: FlavorQuery, place_H: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Levels that products share with the query's codes, and 1 / (1 + distance)."""
    codes = query.index.codes
    bucket_H = codes.buckets_of(place_H)
    level_H = shared_depth(codes.codes_LB[:, bucket_H].T, np.array([query.codes]))
    return level_H, 1 / (1 + codes.distances(query.codes, bucket_H).astype(np.float64))
