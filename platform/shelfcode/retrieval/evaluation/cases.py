"""Requests of which it is known what was taken next: left out of each user's sequence, or the other half of later sessions.

Two protocols:

- *Leave one out* (Kang and McAuley, 2018): of each user with at least three products the last one is asked for, with all those before it.
- *By time*: of each later session the first half is the cart and the other half is asked for. Where a session is a set, its halves are
  drawn at random, by a seed that the session's own key gives: a case stays what it is, whatever else is in the log.
"""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R cases, T targets, C products of carts, S sessions, E events, U users.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shelfcode.interactions.session_log import NO_TIME, SessionLog, session_of_events
from shelfcode.retrieval.contexts import HISTORY_EVENTS, Contexts, before_session

LEAST_OF_A_USER = 3
LEAST_OF_A_SESSION = 4
MOST_IN_A_CART = 20


@dataclass(frozen=True)
class Cases:
    """R requests and what was taken then. Products are places in an assortment.

    Attributes:
        contexts: what is known when products are asked for; the retailer says which products are allowed.
        target_first_R, target_T: int64[R + 1] and int32: what was taken, each product once and none of the cart; -1 for a product that the
            assortment lacks, which nobody can find.
        user_R: int32, number of the user; -1 where unknown.
    """

    contexts: Contexts
    target_first_R: NDArray[np.int64]
    target_T: NDArray[np.int32]
    user_R: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user_R)

    def take(self, rows: NDArray[np.integer]) -> "Cases":
        """Some of the cases, in the order given."""
        history_first_R, history_H = _taken(self.contexts.history_first_R, self.contexts.history_H, rows)
        cart_first_R, cart_C = _taken(self.contexts.cart_first_R, self.contexts.cart_C, rows)
        of = self.contexts
        contexts = Contexts(
            history_first_R, history_H, cart_first_R, cart_C, of.retailer_R[rows], of.surface_R[rows], of.at_R[rows],
        )  # fmt: skip
        return Cases(contexts, *_taken(self.target_first_R, self.target_T, rows), self.user_R[rows])

    @property
    def case_T(self) -> NDArray[np.int64]:
        """The case of each target."""
        return rows_of(self.target_first_R)


def rows_of(first_R: NDArray[np.integer]) -> NDArray[np.int64]:
    """The row of each value of ragged rows: int64[first_R[-1]]."""
    return np.repeat(np.arange(len(first_R) - 1), np.diff(first_R))


def starts_of(length_R: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Where rows of these lengths begin, and where the last one ends: int64[R + 1]."""
    return np.concatenate([[0], np.cumsum(np.asarray(length_R, np.int64), dtype=np.int64)]).astype(np.int64)


def _taken(
    first_R: NDArray[np.int64], value_V: NDArray[np.int32], rows: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Some rows of ragged ones."""
    first_K = starts_of(np.diff(first_R)[rows])
    place_V = np.arange(first_K[-1]) + np.repeat(first_R[rows] - first_K[:-1], np.diff(first_K))
    return first_K, value_V[place_V]


def leave_one_out(log: SessionLog, held_out: int = 1) -> Cases:
    """One case for each user of three products or more: the target, and in the cart all that came before, in its order.

    The history stays empty: order means something here, and a history says less of it than a cart. A user whose target was in the cart
    before makes no case: no retriever answers with what is in the cart.

    Args:
        held_out: the target's place from the end: 1 to test on, 2 to validate on.
    """
    first_U, session_U = _users(log)
    long_U = np.flatnonzero(np.diff(first_U) >= LEAST_OF_A_USER)
    end_U = first_U[long_U + 1] - held_out
    new_U = [log.product_E[end] not in log.product_E[first:end] for first, end in zip(first_U[long_U], end_U, strict=True)]
    kept_U = long_U[np.array(new_U, bool)]
    begin_R, target_R = first_U[kept_U], first_U[kept_U + 1] - held_out
    session_R = session_of_events(log, target_R)
    cart_first_R = starts_of(target_R - begin_R)
    place_C = np.arange(cart_first_R[-1]) + np.repeat(begin_R - cart_first_R[:-1], target_R - begin_R)
    contexts = Contexts(
        np.zeros(len(kept_U) + 1, np.int64), np.empty(0, np.int32), cart_first_R, np.asarray(log.product_E[place_C], np.int32),
        np.asarray(log.retailer_S[session_R]), np.asarray(log.surface_S[session_R]), np.asarray(log.at_S[session_R]),
    )  # fmt: skip
    user_R = np.asarray(log.user_S[session_U[kept_U]])
    return Cases(contexts, np.arange(len(kept_U) + 1), np.asarray(log.product_E[target_R], np.int32), user_R)


def cases_by_time(log: SessionLog, since: int, until: int | None = None, limit: int | None = None, seed: int = 0) -> Cases:
    """One case for each session of four products or more from `since` on, of a user and a retailer that are known by then.

    The history is what the user had before `since`, not before the session: nothing of the weeks that are measured on is given.

    Args:
        since, until: seconds since 1970; sessions from `until` on are left out.
        limit: so many cases at the most, drawn at random.
        seed: of that draw.
    """
    at_S, user_S, retailer_S = np.asarray(log.at_S), np.asarray(log.user_S), np.asarray(log.retailer_S)
    training_S = (at_S < since) & (at_S != NO_TIME)
    later_S = (at_S >= since) & ((at_S < until) if until is not None else True)
    known_S = _among(user_S, user_S[training_S]) & (_among(retailer_S, retailer_S[training_S]) | (retailer_S < 0))
    taken = np.flatnonzero(later_S & known_S & (np.diff(log.first_S) >= LEAST_OF_A_SESSION))
    taken = taken[np.array([len(np.unique(_products(log, session))) >= LEAST_OF_A_SESSION for session in taken], bool)]
    if limit is not None and len(taken) > limit:
        taken = np.sort(np.random.default_rng(seed).choice(taken, limit, replace=False))
    halves = [_halves(_products(log, session), None if log.ordered else int(log.key_S[session])) for session in taken]
    histories = _histories(log, taken, training_S)
    contexts = Contexts(
        starts_of([len(history) for history in histories]), _joined(histories), starts_of([len(cart) for cart, _ in halves]),
        _joined([cart for cart, _ in halves]), retailer_S[taken], np.asarray(log.surface_S)[taken], at_S[taken],
    )  # fmt: skip
    return Cases(contexts, starts_of([len(targets) for _, targets in halves]), _joined([targets for _, targets in halves]), user_S[taken])


def cases_of_sessions(log: SessionLog, sessions: NDArray[np.integer]) -> Cases:
    """One case for each of some sessions, which are kept out of training: the history is all that its user had before it.

    Of an ordered session the last product is asked for, with those before it in the cart; of a set the other half.
    """
    halves = []
    for session in sessions:
        products = _products(log, session)
        if log.ordered:
            halves.append((products[:-1], products[-1:]))
        else:
            halves.append(_halves(products, int(log.key_S[session])))
    histories = [before_session(log, int(session)) for session in sessions]
    of = log.retailer_S[sessions], log.surface_S[sessions], log.at_S[sessions]
    contexts = Contexts(
        starts_of([len(history) for history in histories]), _joined(histories), starts_of([len(cart) for cart, _ in halves]),
        _joined([cart for cart, _ in halves]), *(np.asarray(each) for each in of),
    )  # fmt: skip
    targets = [np.setdiff1d(wanted, cart) for cart, wanted in halves]
    kept = np.flatnonzero([len(wanted) for wanted in targets])
    cases = Cases(contexts, starts_of([len(wanted) for wanted in targets]), _joined(targets), np.asarray(log.user_S[sessions]))
    return cases.take(kept)


def _halves(products: NDArray[np.int32], seed: int | None) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The cart and the targets of one session, each product once: as they came, or in an order that the seed gives."""
    sorted_products, first = np.unique(products, return_index=True)
    each = products[np.sort(first)] if seed is None else np.random.default_rng(seed).permutation(sorted_products)
    in_cart = min(MOST_IN_A_CART, len(each) // 2)
    return each[:in_cart], each[in_cart:]


def _histories(log: SessionLog, sessions: NDArray[np.integer], training_S: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """The latest products that the user of each session had in the sessions to learn from, oldest first."""
    bounds = np.append(np.flatnonzero(np.diff(log.user_S, prepend=-1)), len(log.user_S))
    histories = []
    for run in np.searchsorted(bounds, sessions, side="right") - 1:
        own = bounds[run] + np.flatnonzero(training_S[bounds[run] : bounds[run + 1]])
        first, end = int(log.first_S[own[0]]), int(log.first_S[own[-1] + 1])
        histories.append(np.asarray(log.product_E[max(first, end - HISTORY_EVENTS) : end], np.int32))
    return histories


def _users(log: SessionLog) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the events of each user begin, int64[U + 1], and the first session of each, int64[U]."""
    session_U = np.flatnonzero(np.diff(log.user_S, prepend=-1)).astype(np.int64)
    return np.asarray(log.first_S, np.int64)[np.append(session_U, len(log.user_S))], session_U


def _products(log: SessionLog, session: int) -> NDArray[np.int32]:
    return np.asarray(log.product_E[log.first_S[session] : log.first_S[session + 1]], np.int32)


def _among(number_S: NDArray[np.integer], known: NDArray[np.integer]) -> NDArray[np.bool_]:
    return np.isin(number_S, known[known >= 0])


def _joined(parts: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int32), *parts])
