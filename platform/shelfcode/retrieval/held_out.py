"""What a retriever learns from, and the cases that tell when to stop: a log without what is kept apart for validation and test."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here S sessions, E events.

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import SessionLog, without_events
from shelfcode.interactions.splits import check_no_leak, leave_one_out_sessions, split_sessions_by_time, targets_of_events
from shelfcode.retrieval.evaluation.cases import Cases, cases_by_time, cases_of_sessions, leave_one_out
from shelfcode.retrieval.recipe import RetrieverRecipe, SplitSettings

WHOLE_SESSIONS, SINGLE_PRODUCTS = 20, 5
"""One of so many sessions is validated on at the most: a whole one, or its last product."""

SHARES = np.uint64(10_000)
"""Into which keys are divided where a share of users is kept apart."""


@dataclass(frozen=True)
class LearningSet:
    """What is learnt from, and requests that are no part of it.

    Attributes:
        train_S: bool, the sessions of the log to learn from; all others are kept apart.
        known_S: bool, those and the ones that are validated on: what is known when training is over.
    """

    log: SessionLog
    train_S: NDArray[np.bool_]
    known_S: NDArray[np.bool_]
    validation: Cases


def split_log(log: SessionLog, recipe: RetrieverRecipe) -> LearningSet:
    """Take out what is validated and tested, as the recipe says; the same on every worker.

    Where nothing says when validation begins, it gets the last sessions of some users, so that nothing after them is learnt from. Of a
    small log whose order means something it gets the last product of such sessions alone: there, whole ones would be missed.

    Raises:
        ShelfcodeError: the log has no times, or no order, to split it by; or nothing is left on one side.
    """
    split, number, seed = recipe.split, recipe.training.validation_cases, recipe.training.seed
    if split.kind == "leave_one_out":
        held = leave_one_out_sessions(log)
        training = without_events(log, held.events)
        check_no_leak(training, targets_of_events(log, held.validation_event_V, whole_sessions=False))
        cases = some_cases(leave_one_out(log, held_out=2), number, seed)
        if not len(cases):
            raise ShelfcodeError(
                "split.kind leave_one_out: no validation case could be made. Each needs a user of at least three products, of whom the "
                "last but one is new to him"
            )
        everything_S = np.ones(training.sessions, bool)
        return LearningSet(training, everything_S, everything_S, cases)
    known_S = before_test(log, split)
    if split.kind == "time" and split.validation_from is not None:
        since, until = seconds(split.validation_from), seconds(split.test_from) if split.test_from else None
        cases = cases_by_time(log, since, until, limit=number, seed=seed)
        if not len(cases):
            raise ShelfcodeError(
                f"split.validation_from {split.validation_from}: no validation case could be made. Each needs a session of at least 4 "
                "products after it, of a user and a retailer that were known before"
            )
        return LearningSet(log, split_sessions_by_time(log, since, until).train_S, known_S, cases)
    small = log.ordered and known_S.sum() < number * WHOLE_SESSIONS
    chosen = _latest_sessions(log, known_S, number, SINGLE_PRODUCTS if small else WHOLE_SESSIONS, seed)
    cases = cases_of_sessions(log, chosen)
    if not len(cases):
        raise ShelfcodeError(
            f"each of the {len(chosen):,} sessions to validate on ends with a product that it had before. Give a longer log"
        )
    if small:
        return LearningSet(without_events(log, log.first_S[chosen + 1] - 1), known_S, known_S, cases)
    train_S = known_S.copy()
    train_S[chosen] = False
    return LearningSet(log, train_S, known_S, cases)


def before_test(log: SessionLog, split: SplitSettings) -> NDArray[np.bool_]:
    """The sessions that a test by time or by users leaves to learn from and to validate on.

    Raises:
        ShelfcodeError: sessions have no time, or none is before the test.
    """
    if split.kind == "users":
        first_S = np.searchsorted(np.asarray(log.user_S), np.asarray(log.user_S))  # a user goes with the key of his first session
        return np.asarray(log.key_S)[first_S] % SHARES >= np.uint64(round(split.test_share * SHARES))
    if split.kind != "time" or split.test_from is None:
        return np.ones(log.sessions, bool)
    return split_sessions_by_time(log, seconds(split.test_from)).train_S


def test_sessions(log: SessionLog, split: SplitSettings) -> NDArray[np.int64]:
    """The sessions of the users that are kept apart of which a case can be made."""
    return np.flatnonzero(~before_test(log, split) & (np.diff(log.first_S) >= least_of_a_case(log)))


def least_of_a_case(log: SessionLog) -> int:
    """Products that a session needs to be given in part and asked for in part."""
    return 2 if log.ordered else 4


def seconds(moment: datetime) -> int:
    """A moment as seconds since 1970; one without a time zone is in UTC."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def some_cases(cases: Cases, number: int, seed: int) -> Cases:
    """So many cases at the most, drawn at random."""
    if len(cases) <= number:
        return cases
    return cases.take(np.sort(np.random.default_rng(seed).choice(len(cases), number, replace=False)))


def _latest_sessions(log: SessionLog, train_S: NDArray[np.bool_], number: int, one_of: int, seed: int) -> NDArray[np.int64]:
    """The last sessions of some users, of enough products for a case; one of so many sessions at the most."""
    least = least_of_a_case(log)
    own_S = np.flatnonzero(train_S)
    user_S = np.asarray(log.user_S)[own_S]
    last_S = own_S[np.append(user_S[1:] != user_S[:-1], True)] if len(own_S) else own_S
    fitting = last_S[np.diff(log.first_S)[last_S] >= least]
    number = min(number, len(fitting), max(1, len(own_S) // one_of))
    if not number or len(own_S) < 2:
        raise ShelfcodeError(
            f"of {len(own_S):,} sessions none can be kept apart to validate on: such a session needs {least} products or more, and be the "
            "last of its user. Give a longer log"
        )
    return np.sort(np.random.default_rng(seed).choice(fitting, number, replace=False))
