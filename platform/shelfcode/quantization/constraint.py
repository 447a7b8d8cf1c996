"""A constraint: products that differ in a column never share a first codeword, so that a beam can be restricted at its first step.

Products are grouped by what the column says of them. Each group gets codewords of its own at the first level, as many as suits its share
of the catalog, and a product gets the nearest one of its group: the first level keeps groups apart by construction, whatever the
embeddings tell of them.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shelfcode.catalog.cells.category_paths import name_key
from shelfcode.errors import ShelfcodeError

NO_GROUP = -1
"""Of a product whose value no product had when the constraint was learnt. It may have any codeword."""

UNKNOWN = "unknown"
"""The group of products of which the column says nothing."""

BANDS = 4
"""Numbers fall into so many groups of about equal count."""


@dataclass(frozen=True)
class Grouped:
    """Products in groups: the group of each, int64[N], and how many groups there are, with those that none of these products is in."""

    of_N: NDArray[np.int64]
    groups: int

    def of(self, positions_M: NDArray[np.integer]) -> "Grouped":
        """The same groups with some of the products."""
        return replace(self, of_N=self.of_N[positions_M])


class Constraint(BaseModel):
    """How products are grouped.

    Attributes:
        column: as the recipe names it; `column.value` groups lists by whether they hold a value.
        value: the value that lists, or texts, are asked for; None where each value is a group of its own.
        groups: the group of each number; the last one is UNKNOWN where some products say nothing.
        edges: of numbers, the upper end of each band but the last; None for what is no number.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    value: str | None
    groups: tuple[str, ...]
    edges: tuple[float, ...] | None = None


def learn_constraint(column: str, value: str | None, cells: pa.ChunkedArray) -> Constraint:
    """The groups of a catalog's products.

    Args:
        cells: the column, a row per product.

    Raises:
        ShelfcodeError: the column holds lists, and no value is named; or it holds what is neither text, number, yes or no nor a list.
    """
    kind = cells.type
    edges: tuple[float, ...] | None = None
    if value is not None:
        names = [value, f"not {value}"]
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        edges = _edges(cells)
        names = [*(f"up to {edge:g}" for edge in edges), f"above {edges[-1]:g}" if edges else "any number"]
    elif _is_list(kind):
        raise ShelfcodeError(
            f"quantizer.constraint {column}: the column holds lists; name one of their values, as in {_example(column, cells)}"
        )
    elif _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        names = _spellings(cells)
    else:
        raise ShelfcodeError(f"quantizer.constraint {column}: the column holds {kind}; give one of text, numbers, true and false, or lists")
    constraint = Constraint(column=column, value=value, groups=(*names, UNKNOWN), edges=edges)
    # Groups that no product has would take codewords from the others.
    count_G = np.bincount(group_numbers(constraint, cells), minlength=len(constraint.groups))
    if value is not None or edges is not None:
        return constraint if count_G[-1] else constraint.model_copy(update={"groups": constraint.groups[:-1]})
    return constraint.model_copy(update={"groups": tuple(name for name, count in zip(constraint.groups, count_G, strict=True) if count)})


def group_numbers(constraint: Constraint, cells: pa.ChunkedArray) -> NDArray[np.int64]:
    """The group of each product: int64[N], NO_GROUP where the constraint has none for it.

    Raises:
        ShelfcodeError: the constraint is by bands of numbers, and a cell is none.
    """
    unknown = constraint.groups.index(UNKNOWN) if UNKNOWN in constraint.groups else NO_GROUP
    if constraint.value is not None:
        holds_N = _holds(constraint.value, cells)
        return np.where(cells.is_null(), unknown, np.where(holds_N, 0, 1)).astype(np.int64)
    if constraint.edges is not None:
        numbers_N = pc.fill_null(_numbers(constraint.column, cells), float("nan")).to_numpy()
        return np.where(np.isnan(numbers_N), unknown, np.searchsorted(constraint.edges, numbers_N, side="left")).astype(np.int64)
    place_of = {name: place for place, name in enumerate(map(name_key, constraint.groups)) if place != unknown}
    keys = [None if cell is None else name_key(_text(cell)) for cell in cells.to_pylist()]
    return np.array([place_of.get(key, NO_GROUP) if key and key != UNKNOWN else unknown for key in keys], np.int64)


def codewords_of_groups(grouped: Grouped, codewords: int, column: str) -> NDArray[np.int64]:
    """The group that each codeword of the first level belongs to, in rising order: int64[K].

    Every group has one codeword; the others go to groups by their share of the products (Sainte-Laguë's method of seats).

    Raises:
        ShelfcodeError: there are more groups than codewords.
    """
    group_N, groups = grouped.of_N, grouped.groups
    if groups > codewords:
        raise ShelfcodeError(
            f"quantizer.constraint {column} makes {groups:,} groups of products, and the first level has {codewords} codewords. Choose a "
            "column with fewer values, name one value (column.value), or raise the first of quantizer.codebook_sizes"
        )
    count_G = np.bincount(group_N[group_N != NO_GROUP], minlength=groups)
    given_G = np.ones(groups, np.int64)
    for _ in range(codewords - groups):
        quotient_G = np.where(given_G < count_G, count_G / (2 * given_G + 1), -1.0)  # no more codewords than products
        given_G[quotient_G.argmax()] += 1
    return np.repeat(np.arange(groups), given_G)


def _numbers(column: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return cells.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ShelfcodeError(f"quantizer.constraint {column} is by bands of numbers, and the column holds {cells.type}: {error}") from error


def _edges(cells: pa.ChunkedArray) -> tuple[float, ...]:
    numbers_N = cells.cast(pa.float64()).drop_null().to_numpy()
    numbers_N = numbers_N[np.isfinite(numbers_N)]
    if not len(numbers_N):
        return ()
    edges = np.quantile(numbers_N, np.arange(1, BANDS) / BANDS, method="lower")
    return tuple(float(edge) for edge in np.unique(edges) if edge < numbers_N.max())


def _spellings(cells: pa.ChunkedArray) -> list[str]:
    """The distinct texts, those alike but for case and white space as one, in alphabetical order."""
    texts = [_text(cell) for cell in pc.unique(cells).to_pylist() if cell is not None]
    named = {key: text for text in sorted(texts, reverse=True) if (key := name_key(text)) and key != UNKNOWN}
    return [named[key].strip() for key in sorted(named)]


def _holds(value: str, cells: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether the list of a product holds a value, or its text is one."""
    wanted, kind = name_key(value), cells.type
    if not _is_list(kind):
        return np.array([cell is not None and name_key(_text(cell)) == wanted for cell in cells.to_pylist()], bool)
    return np.array([any(name_key(_text(each)) == wanted for each in cell or () if each is not None) for cell in cells.to_pylist()], bool)


def _text(cell: object) -> str:
    return ("true" if cell else "false") if isinstance(cell, bool) else str(cell)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _example(column: str, cells: pa.ChunkedArray) -> str:
    """The column with the value that most lists hold."""
    held = Counter(str(each) for cell in cells.to_pylist() for each in cell or ())
    return f"{column}.{held.most_common(1)[0][0] if held else 'VALUE'}"
