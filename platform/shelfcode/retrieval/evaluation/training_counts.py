"""How often training sessions had each product: what popularity and co-occurrence are counted from."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here S sessions, M retailers, U users, E events.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shelfcode.interactions.session_log import SessionLog
from shelfcode.retrieval.evaluation.cases import rows_of


@dataclass(frozen=True)
class TrainingCounts:
    """Counts of N products, in memory: about thirty bytes an event.

    Attributes:
        sold_N: int64, events of each product.
        session_SN: float32, 1 where a session has the product.
        retailer_MN: float32, events of each product at each retailer; events of unknown retailers count in `sold_N` alone.
        user_UN: float32, events of each product of each user.
    """

    sold_N: NDArray[np.int64]
    session_SN: csr_array
    retailer_MN: csr_array
    user_UN: csr_array

    @property
    def products(self) -> int:
        return len(self.sold_N)


def count_training(log: SessionLog, products: int) -> TrainingCounts:
    """Count the sessions to learn from.

    Args:
        log: the part of a log that is learnt from.
        products: N.
    """
    product_E, session_E = np.asarray(log.product_E), rows_of(log.first_S)
    retailer_E, user_E = np.asarray(log.retailer_S)[session_E], np.asarray(log.user_S)[session_E]
    at_E = retailer_E >= 0
    session_SN = _counts(session_E, product_E, log.sessions, products)
    session_SN.data[:] = 1
    return TrainingCounts(
        np.bincount(product_E, minlength=products), session_SN,
        _counts(retailer_E[at_E], product_E[at_E], len(log.retailers), products),
        _counts(user_E, product_E, int(np.max(log.user_S, initial=-1)) + 1, products),
    )  # fmt: skip


def _counts(row_E: NDArray[np.integer], product_E: NDArray[np.integer], rows: int, products: int) -> csr_array:
    counts = csr_array((np.ones(len(row_E), np.float32), (row_E, product_E)), shape=(rows, products))
    counts.sum_duplicates()
    return counts
