"""Products with their scores, as arrays and as a table that waits in the workspace until all products are scored."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shelfcode.audit.scoring.scores import LabelScores, View

_VIEWS = b"views"


@dataclass(frozen=True)
class ScoredProducts:
    """N products of a release, by their place in it, and what is known of each.

    Attributes:
        place_N: int64.
        margin_N: how much nearer the chosen codeword is than the next, the least over levels.
        title_key_N: findings/same_products.py: title_keys.
        words_N: number of words in the text.
        popularity_N: NaN where it is not known.
    """

    place_N: NDArray[np.int64]
    scores: LabelScores
    margin_N: NDArray[np.float32]
    title_key_N: NDArray[np.int64]
    words_N: NDArray[np.int32]
    popularity_N: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.place_N)


def scored_table(scored: ScoredProducts) -> pa.Table:
    """Rows that `scored_products` reads back."""
    scores, views = scored.scores, scored.scores.views
    columns: dict[str, NDArray[Any]] = {
        "place": scored.place_N, "margin": scored.margin_N, "title_key": scored.title_key_N, "words": scored.words_N,
        "popularity": scored.popularity_N, "p_wrong": scores.p_wrong_N, "score": scores.score_N, "given_p": scores.given_p_N,
        "best_leaf": scores.best_leaf_NK, "best_p": scores.best_p_NK, "nearest": scores.nearest_NJ,
        "nearest_cosine": scores.nearest_cosine_NJ,
        "view_given_p": _beside([view.given_p_N for view in views], len(scored)),
        "view_leaf": _beside([view.best_leaf_N for view in views], len(scored)),
        "view_p": _beside([view.best_p_N for view in views], len(scored)),
    }  # fmt: skip
    table = pa.table({name: _column(values) for name, values in columns.items()})
    return table.replace_schema_metadata({_VIEWS: json.dumps([view.name for view in views]).encode()})


def scored_products(table: pa.Table) -> ScoredProducts:
    """What `scored_table` was given."""
    column = {name: _values(table[name]) for name in table.column_names}
    names = json.loads((table.schema.metadata or {})[_VIEWS])
    views = tuple(
        View(name, column["view_given_p"][:, number], column["view_leaf"][:, number], column["view_p"][:, number])
        for number, name in enumerate(names)
    )
    scores = LabelScores(
        column["p_wrong"], column["score"], column["given_p"], column["best_leaf"], column["best_p"], views, column["nearest"],
        column["nearest_cosine"],
    )  # fmt: skip
    return ScoredProducts(column["place"], scores, column["margin"], column["title_key"], column["words"], column["popularity"])


def _beside(columns: list[NDArray[Any]], rows: int) -> NDArray[Any]:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0), np.float32)


def _column(values_NX: NDArray[Any]) -> pa.Array:
    if values_NX.ndim == 1:
        return pa.array(np.ascontiguousarray(values_NX))
    if not values_NX.shape[1]:  # Arrow has no lists of no length
        return pa.nulls(len(values_NX))
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values_NX).reshape(-1)), values_NX.shape[1])


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column.combine_chunks()
    if pa.types.is_null(array.type):
        return np.zeros((len(array), 0), np.int64)
    if not pa.types.is_fixed_size_list(array.type):
        return array.to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
