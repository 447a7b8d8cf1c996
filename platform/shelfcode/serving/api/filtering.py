"""Which products of a release pass the filters of a request: as bitmaps, so that they can be applied before a search and not after it."""

from typing import Protocol

import numpy as np
from pyroaring import BitMap

from shelfcode.index.filters import bitmap
from shelfcode.index.release_index import ReleaseIndex
from shelfcode.serving.api.visible_columns import check_columns

PriceBounds = tuple[float | None, float | None]


class Filtered(Protocol):
    """A question with filters.

    Attributes:
        attributes: (column, value) pairs that products must have.
        price: the lowest and the highest price, either may be None; None where any price will do.
        columns: those that the caller may see, and filter by.
    """

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def price(self) -> PriceBounds | None: ...

    @property
    def columns(self) -> tuple[str, ...]: ...


def passing(question: Filtered, index: ReleaseIndex) -> list[BitMap]:
    """The places of the products that pass, for each filter of the question.

    Raises:
        Problem: a filter names a column that the caller may not see, or that is not there.
    """
    found = []
    for column, value in question.attributes:
        check_columns(index.items, [column], question.columns)
        found.append(index.filters.places(column, value))
    if question.price is not None:
        check_columns(index.items, ["price"], question.columns)
        least, most = question.price
        price_N = index.price_N
        inside_N = (price_N >= (-np.inf if least is None else least)) & (price_N <= (np.inf if most is None else most))
        found.append(bitmap(np.flatnonzero(inside_N)))
    return found
