"""Cases that were made elsewhere, from a table with a row each."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R cases, V values of a list column.

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.keys import Keys, index_keys
from shelfcode.retrieval.context_table import Places, check_lists, contexts_of, list_places, numbers, ragged
from shelfcode.retrieval.evaluation.cases import Cases

_NEEDED = ("cart", "targets")


def cases_from_table(
    table: pa.Table, keys_N: Keys, retailers: Sequence[str] = (), surfaces: Sequence[str] = (), users: Sequence[str] | None = None
) -> Cases:
    """Cases as a table has them: `cart` and `targets`, lists of item_ids.

    `history`, `user_id`, `retailer_id`, `surface` and `at` may be missing. Products that the assortment lacks are left out of carts and
    histories. As targets they stay, as -1: they were taken, and nobody finds them. A target that is in the cart, or named before, is none.

    Args:
        table: in the order that answers are to have.
        keys_N: of the item_ids of the assortment.
        retailers, surfaces: those that were trained on, in the order of their numbers.
        users: the same; when left out, users are numbered in the order of their ids.

    Raises:
        ShelfcodeError: a column is missing, holds no lists, or `at` holds no times.
    """
    for name in _NEEDED:
        if name not in table.column_names:
            raise ShelfcodeError(f"cases: there is no column {name!r}; there are {', '.join(table.column_names)}")
    check_lists(table, ("history", *_NEEDED), "cases")
    place_of = index_keys(keys_N)
    history, cart, targets = (list_places(table, name, place_of) for name in ("history", *_NEEDED))
    contexts = contexts_of(table, history, cart, retailers, surfaces, "cases")
    known_users = users if users is not None else _distinct(table, "user_id")
    return Cases(contexts, *ragged(*_new(*targets, cart, len(keys_N)), len(table)), numbers(table, "user_id", known_users))


def _new(row_V: NDArray[np.int64], place_V: NDArray[np.int64], cart: Places, products: int) -> Places:
    """The targets that are not in the cart, each once; products that are not known stay, as many as there are."""
    pair_V, pair_C = row_V * products + place_V, cart[0] * products + cart[1]
    first_V = np.zeros(len(pair_V), bool)
    first_V[np.unique(pair_V, return_index=True)[1]] = True
    kept_V = (place_V < 0) | (first_V & ~np.isin(pair_V, pair_C[cart[1] >= 0]))
    return row_V[kept_V], place_V[kept_V]


def _distinct(table: pa.Table, name: str) -> list[str]:
    return sorted(pc.unique(table[name].drop_null().cast(pa.string())).to_pylist()) if name in table.column_names else []
