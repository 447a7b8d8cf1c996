"""Requests written down as plain lists."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shelfcode.interactions.session_log import NO_TIME
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.evaluation.cases import starts_of

Rows = Sequence[Sequence[int]]


def contexts_of(
    carts: Rows,
    histories: Rows | None = None,
    retailers: Sequence[int] | None = None,
    surfaces: Sequence[int] | None = None,
    times: Sequence[int] | None = None,
) -> Contexts:
    """One request for each cart; what is left out is not known."""
    past, unknown = histories or [[] for _ in carts], [-1] * len(carts)
    return Contexts(
        starts_of([len(row) for row in past]), _joined(past), starts_of([len(row) for row in carts]), _joined(carts),
        np.array(retailers or unknown, np.int32), np.array(surfaces or unknown, np.int32), np.array(times or [NO_TIME] * len(carts)),
    )  # fmt: skip


def _joined(rows: Rows) -> NDArray[np.int32]:
    return np.array([value for row in rows for value in row], np.int32)
