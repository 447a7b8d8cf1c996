"""Interactions split in three by time, so that nothing is learnt from what came later than it is measured on."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import NO_TIME, SessionLog, session_of_events
from shelfcode.keys import Keys

_EVENTS_AT_ONCE = 10_000_000
_SESSIONS_AT_ONCE = 1_000_000
_LEAST_GROWN = 10  # fewer may be chance


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


@dataclass(frozen=True)
class LeftOut:
    """Events to be predicted, by their positions in `product_E`: int64. All others are learnt from."""

    test_event_T: NDArray[np.int64]
    validation_event_V: NDArray[np.int64]

    @property
    def events(self) -> NDArray[np.int64]:
        """All of them: what `without_events` takes away for training."""
        return np.concatenate([self.test_event_T, self.validation_event_V])


def leave_one_out_sessions(log: SessionLog) -> LeftOut:
    """The last product of each user to test on, the one before it to validate on, as published for sequential recommendation.

    The sequence is all that a user had, session after session. Users of fewer than three products are only learnt from. (Kang and McAuley,
    "Self-Attentive Sequential Recommendation", 2018, section IV-A.)

    Raises:
        ShelfcodeError: order means nothing in the log, or most of its sessions repeat the one before and go on, so that what is to be
            predicted stands in sessions that are learnt from.
    """
    if not log.ordered:
        raise ShelfcodeError("leave one out asks for the last product of each user, and interactions.ordered=false. Split by time instead")
    _check_growth(log)
    first_U = log.first_S[:-1][np.flatnonzero(np.diff(log.user_S, prepend=-1))]
    end_U = np.append(first_U[1:], log.events)
    end_T = end_U[end_U - first_U > 2]
    return LeftOut(end_T - 1, end_T - 2)


@dataclass(frozen=True)
class SessionSplit:
    """Which sessions are learnt from, validated and tested: bool[S] each."""

    train_S: NDArray[np.bool_]
    validation_S: NDArray[np.bool_]
    test_S: NDArray[np.bool_]


def split_sessions_by_time(log: SessionLog, validation_from: float, test_from: float | None = None) -> SessionSplit:
    """Sessions that began before a time to learn from, those from then on to validate on, and those from a later time on to test on.

    Args:
        validation_from, test_from: seconds since 1970 (UTC); without `test_from` there is no test.

    Raises:
        ShelfcodeError: a session has no time, the test begins before the validation, or nothing is left to learn from or to validate on.
    """
    if without := int((log.at_S == NO_TIME).sum()):
        raise ShelfcodeError(
            f"{without:,} of {log.sessions:,} sessions have no time, so the log cannot be split by time. Name its column with "
            "--set interactions.columns.at=THEIR_NAME, or leave one product of each user out instead"
        )
    if test_from is not None and test_from < validation_from:
        raise ShelfcodeError(f"the test begins at {_date(test_from)}, before the validation at {_date(validation_from)}")
    part_S = np.searchsorted([validation_from] if test_from is None else [validation_from, test_from], log.at_S, side="right")
    for part, name in ((0, "to learn from"), (1, "to validate on")):
        if not (part_S == part).any():
            span = f"{_date(log.at_S.min())} to {_date(log.at_S.max())}" if log.sessions else "nothing"
            raise ShelfcodeError(
                f"no session is left {name}: the validation begins at {_date(validation_from)}"
                f"{'' if test_from is None else f', the test at {_date(test_from)}'}, and the log is of {span} (UTC)"
            )
    return SessionSplit(part_S == 0, part_S == 1, part_S == 2)


@dataclass(frozen=True)
class Targets:
    """T products that are to be predicted.

    Attributes:
        user_T: int32, number of the user, as in the log that is learnt from.
        product_T: int32, place in the catalog.
        session_T: uint64, key of the session that the product was taken from.
        before_T: int64, how many events of that session may be learnt from: those before the target, or none where sessions are kept apart
            as wholes.
        new_T: whether the user had not had the product before. One who had it may have it in training.
    """

    user_T: NDArray[np.int32]
    product_T: NDArray[np.int32]
    session_T: Keys
    before_T: NDArray[np.int64]
    new_T: NDArray[np.bool_]


def targets_of_events(log: SessionLog, events_T: NDArray[np.int64], whole_sessions: bool) -> Targets:
    """Some events of a log as targets.

    Args:
        events_T: positions in `product_E`.
        whole_sessions: nothing of a target's session may be learnt from; else what came before the target may.
    """
    session_T = session_of_events(log, events_T)
    user_T, product_T = log.user_S[session_T], log.product_E[events_T]
    before_T = np.zeros(len(events_T), np.int64) if whole_sessions else events_T - log.first_S[session_T]
    pairs, pair_T = np.unique(_pairs(user_T, product_T), return_inverse=True)
    earliest_P = np.full(len(pairs), log.events)
    for place_H, event_H in _hits(log, pairs):
        np.minimum.at(earliest_P, place_H, event_H)
    return Targets(user_T, product_T, log.key_S[session_T], before_T, earliest_P[pair_T] >= events_T)


def check_no_leak(training: SessionLog, targets: Targets) -> None:
    """Refuse to measure on what was learnt from.

    Raises:
        ShelfcodeError: more of a target's session is in training than came before it: the same basket is on both sides, or the target is in
            a training history; or the user has a product in training that he first had as a target.
    """
    order_S = np.argsort(training.key_S, kind="stable")
    keys_S, length_S = training.key_S[order_S], np.diff(training.first_S)[order_S]
    if len(keys_S):
        slot_T = np.searchsorted(keys_S, targets.session_T).clip(max=len(keys_S) - 1)
        learnt_T = np.where(keys_S[slot_T] == targets.session_T, length_S[slot_T], 0)
        _refuse(learnt_T > targets.before_T, targets, "is predicted in a session that is learnt from: the same rows are on both sides")
    pair_T = _pairs(targets.user_T, targets.product_T)
    pairs = np.unique(pair_T[targets.new_T])
    seen_P = np.zeros(len(pairs), dtype=bool)
    for place_H, _ in _hits(training, pairs):
        seen_P[place_H] = True
    _refuse(targets.new_T & np.isin(pair_T, pairs[seen_P]), targets, "is predicted as new to its user, whose training history has it")


def _refuse(leaks_T: NDArray[np.bool_], targets: Targets, what: str) -> None:
    if leaks_T.any():
        case = int(np.argmax(leaks_T))
        raise ShelfcodeError(
            f"the split leaks, in {int(leaks_T.sum()):,} of {len(leaks_T):,} cases: product {targets.product_T[case]} of the catalog, "
            f"counted from 0, {what} (case {case}, user {targets.user_T[case]}). Take what is measured on out of training"
        )


def _pairs(user_T: NDArray[np.int32], product_T: NDArray[np.int32]) -> NDArray[np.int64]:
    """A number for each user and product."""
    return user_T.astype(np.int64) << 32 | product_T.astype(np.int64)


def _hits(log: SessionLog, pairs: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Events of a log whose user and product are among sorted pairs: place of the pair, position of the event; some at a time."""
    for begin in range(0, log.events if len(pairs) else 0, _EVENTS_AT_ONCE):
        event_B = np.arange(begin, min(begin + _EVENTS_AT_ONCE, log.events))
        pair_B = _pairs(log.user_S[session_of_events(log, event_B)], log.product_E[event_B])
        place_B = np.searchsorted(pairs, pair_B).clip(max=len(pairs) - 1)
        hit_B = pairs[place_B] == pair_B
        yield place_B[hit_B], event_B[hit_B]


def _check_growth(log: SessionLog) -> None:
    """Refuse a log with a row a step: most sessions of two products or more come again as the beginning of their user's next one."""
    follows, grows, example = 0, 0, -1
    for begin in range(0, log.sessions - 1, _SESSIONS_AT_ONCE):
        first_B = log.first_S[begin : begin + _SESSIONS_AT_ONCE + 2]
        user_B = log.user_S[begin : begin + _SESSIONS_AT_ONCE + 1]
        before_B, after_B = np.diff(first_B)[:-1], np.diff(first_B)[1:]
        long_B = (user_B[1:] == user_B[:-1]) & (before_B > 1)
        follows += int(long_B.sum())
        pair_P = np.flatnonzero(long_B & (after_B > before_B))
        repeats_P = _same_products(log, first_B[pair_P], first_B[pair_P + 1], before_B[pair_P])
        if repeats_P.any():
            grows, example = grows + int(repeats_P.sum()), begin + int(pair_P[repeats_P][0])
    if grows >= _LEAST_GROWN and 2 * grows > follows:
        raise ShelfcodeError(
            f"the split would leak: {grows:,} of {follows:,} sessions of two products or more come again as the beginning of their user's "
            f"next one, such as session {example}, from 0. What is to be predicted would be learnt from. Such a log has a row a step: keep "
            "the longest row of each user"
        )


def _same_products(log: SessionLog, one_P: NDArray[np.int64], other_P: NDArray[np.int64], length_P: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether so many events from one position on have the products of those from another on."""
    if not len(length_P):
        return np.empty(0, bool)
    begin_P = np.cumsum(length_P) - length_P
    within_E = np.arange(length_P.sum()) - np.repeat(begin_P, length_P)
    one_E, other_E = np.repeat(one_P, length_P) + within_E, np.repeat(other_P, length_P) + within_E
    return np.logical_and.reduceat(log.product_E[one_E] == log.product_E[other_E], begin_P)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).replace(tzinfo=None).isoformat(" ")


def _split(part_R: NDArray[np.integer]) -> Split:
    """Rows by number: 0 to learn from, 1 to validate on, 2 to test on."""
    return Split(*(np.flatnonzero(part_R == part) for part in range(3)))
