"""Small requests and lists."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from shelfcode.interactions.session_log import NO_TIME
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.evaluation.cases import Cases, starts_of
from shelfcode.retrieval.lists import Lists

Rows = Sequence[Sequence[int]]


def _joined(rows: Rows) -> np.ndarray:
    return np.array([value for row in rows for value in row], np.int32)


def _contexts(carts: Rows, retailers: Sequence[int] | None = None, histories: Rows | None = None) -> Contexts:
    past = histories or [[] for _ in carts]
    unknown = np.full(len(carts), -1, np.int32)
    return Contexts(
        starts_of([len(row) for row in past]), _joined(past), starts_of([len(row) for row in carts]), _joined(carts),
        unknown if retailers is None else np.array(retailers, np.int32), unknown, np.full(len(carts), NO_TIME),
    )  # fmt: skip


@pytest.fixture(scope="session")
def contexts_of() -> Callable[..., Contexts]:
    """Requests from carts, and optional retailers and histories."""
    return _contexts


@pytest.fixture(scope="session")
def cases_of() -> Callable[..., Cases]:
    """Cases from carts and targets, and optional retailers and histories."""

    def cases(carts: Rows, targets: Rows, retailers: Sequence[int] | None = None, histories: Rows | None = None) -> Cases:
        contexts = _contexts(carts, retailers, histories)
        return Cases(contexts, starts_of([len(row) for row in targets]), _joined(targets), np.arange(len(carts), dtype=np.int32))

    return cases


@pytest.fixture(scope="session")
def lists_of() -> Callable[[Rows], Lists]:
    """Lists from rows of products; short rows end early."""

    def lists(rows: Rows) -> Lists:
        width = max(map(len, rows))
        products = np.array([[*row, *[-1] * (width - len(row))] for row in rows], np.int32)
        return Lists(products, np.where(products < 0, -np.inf, -np.arange(width)).astype(np.float32))

    return lists
