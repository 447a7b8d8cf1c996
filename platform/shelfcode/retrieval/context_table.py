"""Requests that were written elsewhere, from a table with a row each; cases for an evaluation have the same columns and some more."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, V values of a list column.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import NO_TIME
from shelfcode.keys import KeyIndex, item_keys
from shelfcode.retrieval.contexts import Contexts

CASE_ID = "case_id"
LISTS = ("history", "cart")

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The row and the place of each value of a list column, [V] each; the place of a product that the assortment lacks is -1."""


@dataclass(frozen=True)
class NamedContexts:
    """R requests with the names by which they are answered.

    Attributes:
        case_ids: string[R].
        unknown_products: values of histories and carts that the assortment lacks; they were left out.
        unknown_retailer_R: bool, whether a request names a retailer that was not trained on.
    """

    case_ids: pa.StringArray
    contexts: Contexts
    unknown_products: int
    unknown_retailer_R: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.case_ids)


def contexts_from_table(table: pa.Table, place_of: KeyIndex, retailers: Sequence[str] = (), surfaces: Sequence[str] = ()) -> NamedContexts:
    """Requests as a table has them: `case_id`, and `history` and `cart` as lists of item_ids, `retailer_id`, `surface` and `at`.

    All but `case_id` may be missing; other columns are passed over.

    Args:
        place_of: item key -> place in the assortment.
        retailers, surfaces: those that were trained on, in the order of their numbers.

    Raises:
        ShelfcodeError: there is no `case_id`, or a row has none; a column holds no lists, or `at` holds no times.
    """
    if CASE_ID not in table.column_names:
        raise ShelfcodeError(f"contexts: there is no column {CASE_ID!r}; there are {', '.join(table.column_names)}")
    check_lists(table, LISTS, "contexts")
    case_ids = table[CASE_ID].combine_chunks().cast(pa.string())
    if case_ids.null_count:
        raise ShelfcodeError(f"contexts: column {CASE_ID!r} is empty in row {case_ids.is_null().index(True).as_py() + 1}")
    history, cart = (list_places(table, name, place_of) for name in LISTS)
    contexts = contexts_of(table, history, cart, retailers, surfaces, "contexts")
    unknown = int((history[1] < 0).sum() + (cart[1] < 0).sum())
    return NamedContexts(case_ids, contexts, unknown, _named(table, "retailer_id") & (contexts.retailer_R < 0))


def contexts_of(table: pa.Table, history: Places, cart: Places, retailers: Sequence[str], surfaces: Sequence[str], what: str) -> Contexts:
    """The requests of a table whose lists were looked up. Products that the assortment lacks are left out.

    Args:
        what: the rows are, for messages.

    Raises:
        ShelfcodeError: `at` holds no times.
    """
    return Contexts(
        *ragged(*_known(*history), len(table)), *ragged(*_known(*cart), len(table)), numbers(table, "retailer_id", retailers),
        numbers(table, "surface", surfaces), _seconds(table, what),
    )  # fmt: skip


def check_lists(table: pa.Table, names: Sequence[str], what: str) -> None:
    """Refuse columns of something else than lists.

    Raises:
        ShelfcodeError: names the column.
    """
    for name in names:
        kind = table.schema.field(name).type if name in table.column_names else pa.list_(pa.string())
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            raise ShelfcodeError(f"{what}: column {name!r} holds {kind}; it has to hold lists of item_ids")


def list_places(table: pa.Table, name: str, place_of: KeyIndex) -> Places:
    """The values of a list column, looked up; none where the column is missing."""
    if name not in table.column_names:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    length_R = pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy().astype(np.int64)
    return np.repeat(np.arange(len(table)), length_R), place_of.get(item_keys(pc.list_flatten(table[name])))


def _known(row_V: NDArray[np.int64], place_V: NDArray[np.int64]) -> Places:
    return row_V[place_V >= 0], place_V[place_V >= 0]


def ragged(row_V: NDArray[np.int64], place_V: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Values in the order of their rows as ragged rows: where each row begins, int64[rows + 1], and the values."""
    first_R = np.zeros(rows + 1, np.int64)
    np.cumsum(np.bincount(row_V, minlength=rows), out=first_R[1:])
    return first_R, place_V.astype(np.int32)


def numbers(table: pa.Table, name: str, known: Sequence[str]) -> NDArray[np.int32]:
    """The place of each value among the known ones: int32[R]; -1 for others, for nulls, and where the column is missing."""
    if name not in table.column_names:
        return np.full(len(table), -1, np.int32)
    place_R = pc.index_in(table[name].cast(pa.string()), pa.array(known, pa.string()))
    return pc.fill_null(place_R, -1).to_numpy().astype(np.int32)


def _named(table: pa.Table, name: str) -> NDArray[np.bool_]:
    """Whether each row has a value in a column."""
    return table[name].is_valid().to_numpy() if name in table.column_names else np.zeros(len(table), bool)


def _seconds(table: pa.Table, what: str) -> NDArray[np.int64]:
    """Times as seconds since 1970: int64[R]; numbers are seconds already."""
    if "at" not in table.column_names:
        return np.full(len(table), NO_TIME, np.int64)
    kind = table.schema.field("at").type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise ShelfcodeError(f"{what}: column 'at' holds {kind}; it has to hold timestamps, or seconds since 1970 as whole numbers")
    times = table["at"].cast(pa.timestamp("s", kind.tz), safe=False) if pa.types.is_timestamp(kind) else table["at"]
    return pc.fill_null(times.cast(pa.int64()), int(NO_TIME)).to_numpy()
