"""What is known when products are asked for: a user's past products, the cart, where and when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.interactions.session_log import SessionLog

HISTORY_EVENTS = 200
"""Of a user's past products, so many of the latest are looked at."""


@dataclass(frozen=True)
class Contexts:
    """What is known of R requests. Products are places in an assortment.

    Attributes:
        history_first_R, history_H: int64[R + 1] and int32: what the user had before, oldest first, as often as it was had.
        cart_first_R, cart_C: int64[R + 1] and int32: the cart or the session so far, in its order where the order means something.
        retailer_R, surface_R: int32, place among those that were trained on; -1 where unknown.
        at_R: int64, seconds since 1970; NO_TIME where unknown.
    """

    history_first_R: NDArray[np.int64]
    history_H: NDArray[np.int32]
    cart_first_R: NDArray[np.int64]
    cart_C: NDArray[np.int32]
    retailer_R: NDArray[np.int32]
    surface_R: NDArray[np.int32]
    at_R: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.retailer_R)

    def history(self, row: int) -> NDArray[np.int32]:
        """What the user of a request had before, the latest HISTORY_EVENTS of it."""
        first, end = self.history_first_R[row], self.history_first_R[row + 1]
        return self.history_H[max(first, end - HISTORY_EVENTS) : end]

    def cart(self, row: int) -> NDArray[np.int32]:
        """The cart of a request."""
        return self.cart_C[self.cart_first_R[row] : self.cart_first_R[row + 1]]

    def rows(self, low: int, high: int) -> "Contexts":
        """The requests of a range."""
        history, cart = self.history_first_R[low : high + 1], self.cart_first_R[low : high + 1]
        return Contexts(
            history - history[0], self.history_H[history[0] : history[-1]], cart - cart[0], self.cart_C[cart[0] : cart[-1]],
            self.retailer_R[low:high], self.surface_R[low:high], self.at_R[low:high],
        )  # fmt: skip


@dataclass(frozen=True)
class OwnProducts:
    """The distinct products of one history, the one that was last had longest ago first.

    Attributes:
        product_O: int32.
        count_O: int64, how often each was had.
        age_O: int64, how many products were had since, 0 for the last one.
    """

    product_O: NDArray[np.int32]
    count_O: NDArray[np.int64]
    age_O: NDArray[np.int64]

    def top(self, number: int) -> "OwnProducts":
        """Those that were had most often, and of equally frequent ones the latest; in the same order as before."""
        if len(self.product_O) <= number:
            return self
        kept = np.sort(np.lexsort((self.age_O, -self.count_O))[:number])
        return OwnProducts(self.product_O[kept], self.count_O[kept], self.age_O[kept])


def own_products(history: NDArray[np.int32]) -> OwnProducts:
    """Sum up a history, which is oldest first."""
    product_O, age_O, count_O = np.unique(history[::-1], return_index=True, return_counts=True)
    order = np.argsort(-age_O)
    return OwnProducts(product_O[order], count_O[order], age_O[order])


def before_session(log: SessionLog, session: int) -> NDArray[np.int32]:
    """What the user of a session had before it, oldest first, the latest HISTORY_EVENTS of it."""
    end = int(log.first_S[session])
    earliest, user = session, log.user_S[session]
    while earliest > 0 and log.user_S[earliest - 1] == user and end - int(log.first_S[earliest]) < HISTORY_EVENTS:
        earliest -= 1
    return np.asarray(log.product_E[max(int(log.first_S[earliest]), end - HISTORY_EVENTS) : end])
