"""Interactions split in three by time, so that nothing is learnt from what came later than it is measured on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Split:
    """Positions of rows, int64, in the order that the rows are in."""

    train_R: NDArray[np.int64]
    validation_R: NDArray[np.int64]
    test_R: NDArray[np.int64]


def split_by_time(time_R: NDArray[np.number], validation_from: float, test_from: float | None = None) -> Split:
    """Rows before a time to learn from, those from then on to validate on, and those from a later time on to test on.

    Args:
        time_R: of each row, such as its week, or seconds since 1970; rows may be in any order.
        test_from: without it there is no test.

    Raises:
        ValueError: a row has no time, or the test begins before the validation.
    """
    if np.isnan(time_R).any():
        raise ValueError(f"{int(np.isnan(time_R).sum())} of {len(time_R)} rows have no time")
    if test_from is not None and test_from < validation_from:
        raise ValueError(f"the test begins at {test_from}, before the validation at {validation_from}")
    edges = [validation_from] if test_from is None else [validation_from, test_from]
    return _split(np.searchsorted(edges, time_R, side="right"))


def leave_one_out(user_R: NDArray[np.integer], order_R: NDArray[np.number] | None = None) -> Split:
    """The last row of each user to test on, the one before it to validate on, and all others to learn from.

    A user of fewer than three rows is only learnt from.

    Args:
        order_R: of each row among those of its user; the order of the rows when left out, and among equal ones.
    """
    order = np.lexsort((np.arange(len(user_R)) if order_R is None else order_R, user_R))
    _, first_U, rows_U = np.unique(user_R[order], return_index=True, return_counts=True)
    last_U = (first_U + rows_U - 1)[rows_U > 2]
    part_R = np.zeros(len(user_R), dtype=np.int64)
    part_R[order[last_U]], part_R[order[last_U - 1]] = 2, 1
    return _split(part_R)


def _split(part_R: NDArray[np.integer]) -> Split:
    """Rows by number: 0 to learn from, 1 to validate on, 2 to test on."""
    return Split(*(np.flatnonzero(part_R == part) for part in range(3)))
