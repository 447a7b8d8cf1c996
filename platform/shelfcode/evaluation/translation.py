"""Old prefixes in terms of new ones, with weights: for a model that was trained on the codes of another release.

A retrained quantizer draws other borders, so an old prefix has no single new name: its products are spread over some. The
table says how, at every depth and in both directions.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.semantic_id import SEPARATOR, format_many, prefix

Direction = Literal["old_to_new", "new_to_old"]

TRANSLATION_SCHEMA = pa.schema([
    ("level", pa.uint8()), ("old", pa.string()), ("new", pa.string()), ("products", pa.int64()),
    ("old_to_new", pa.float64()), ("new_to_old", pa.float64()),
])  # fmt: skip


def prefix_translation(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer]) -> pa.Table:
    """Every pair of an old and a new prefix of one depth that some product has, from the codes of the same N products.

    Returns:
        Rows of `translation.parquet`: level (from 1), old, new, products that have both, and their share of all products of the
        old prefix (`old_to_new`) and of the new one (`new_to_old`). A prefix's weights add up to 1 in its own direction.
    """
    levels = min(old_NL.shape[1], new_NL.shape[1])
    return pa.concat_tables(
        [TRANSLATION_SCHEMA.empty_table(), *(_of_level(old_NL[:, :level], new_NL[:, :level]) for level in range(1, levels + 1))]
    )


def _of_level(old_NL: NDArray[np.integer], new_NL: NDArray[np.integer]) -> pa.Table:
    level = old_NL.shape[1]
    pairs_P, products_P = np.unique(np.hstack([old_NL, new_NL]).astype(np.int64), axis=0, return_counts=True)
    sides = []
    for codes_PL in (pairs_P[:, :level], pairs_P[:, level:]):
        _, number_P = np.unique(codes_PL, axis=0, return_inverse=True)
        number_P = number_P.reshape(-1)
        sides.append((pa.array(format_many(codes_PL), pa.string()), products_P / np.bincount(number_P, products_P)[number_P]))
    (old, old_to_new_P), (new, new_to_old_P) = sides
    return pa.table([np.full(len(pairs_P), level, np.uint8), old, new, products_P, old_to_new_P, new_to_old_P], TRANSLATION_SCHEMA)


def translate(table: pa.Table, prefixes: Iterable[str], direction: Direction = "old_to_new") -> dict[str, list[tuple[str, float]]]:
    """Prefixes of one release in the codes of the other: prefix -> (prefix of the same depth, weight), the heaviest first.

    A prefix that no product of both releases has is looked for one level shallower, and so on; the answer is then shallower too.
    It is empty where not even the first level is known.
    """
    wanted = dict.fromkeys(prefixes)
    shortened = {prefix(each, depth) for each in wanted for depth in range(1, each.count(SEPARATOR) + 2)}
    source, target = direction.split("_to_")
    rows = table.filter(pc.is_in(table[source], pa.array(sorted(shortened), pa.string())))
    found: dict[str, list[tuple[str, float]]] = {}
    for row in rows.sort_by([(direction, "descending"), (target, "ascending")]).to_pylist():
        found.setdefault(row[source], []).append((row[target], row[direction]))
    return {each: _deepest(found, each) for each in wanted}


def _deepest(found: Mapping[str, list[tuple[str, float]]], whole: str) -> list[tuple[str, float]]:
    depths = range(whole.count(SEPARATOR) + 1, 0, -1)
    return next((found[prefix(whole, depth)] for depth in depths if prefix(whole, depth) in found), [])
