"""What columns of interactions mean, whatever the table: labels of judgments, IDs as text, and order and time."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LABELS = ("E", "S", "C", "I")
"""Exact, substitute, complement, irrelevant: best first."""

EXACT = LABELS.index("E")

KNOWN_LABELS = "Labels are E, S, C, I, or Exact, Substitute, Complement, Irrelevant, in any case"

ORDER_COLUMNS = ("position", "week", "at", "timestamp")
"""Columns that say in which order rows came about."""

_PLACES = {word: place for place, words in enumerate(("e exact", "s substitute", "c complement", "i irrelevant")) for word in words.split()}


def label_places(labels: pa.ChunkedArray) -> NDArray[np.int8]:
    """Place in LABELS of each label, given by its letter or its word; -1 where it is none."""
    encoded = labels.combine_chunks().dictionary_encode()
    places = np.array([_PLACES.get(label.casefold(), -1) for label in encoded.dictionary.to_pylist()], dtype=np.int8)
    return places[encoded.indices.to_numpy(zero_copy_only=False)]


def trimmed(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Texts without white space around them, as the catalog has its item_ids; blank is null."""
    values = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def order_values(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64] | None:
    """A column of order or time as numbers, times in seconds since 1970; NaN where it says nothing, None where it holds no such thing."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    per_second = 1.0
    if pa.types.is_timestamp(column.type):
        per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
        column = column.cast(pa.int64())
    elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    values: NDArray[np.float64] = pc.fill_null(column.cast(pa.float64(), safe=False), float("nan")).to_numpy(zero_copy_only=False)
    return values / per_second
