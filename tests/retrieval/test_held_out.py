"""What is validated or tested is not learnt from, however a log is split."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from small_log import small_recipe
from small_retriever import marks_in

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import held_out
from shelfcode.retrieval.evaluation.cases import Cases
from shelfcode.retrieval.examples import sample_batch
from shelfcode.retrieval.held_out import LearningSet, split_log
from shelfcode.retrieval.recipe import RetrieverRecipe

BASE = datetime(2024, 1, 1, tzinfo=UTC)
USERS, SESSIONS, LENGTH = 20, 3, 5
EVENTS = USERS * SESSIONS * LENGTH
EVENT = np.arange(EVENTS).reshape(USERS, SESSIONS, LENGTH)
"""Each product occurs once in the log, so that it says which event it is of: by user, day and place in the session."""


def day(number: int) -> datetime:
    return BASE + timedelta(days=number)


def a_log(ordered: bool, timed: bool = True) -> SessionLog:
    """Users with a session on each of three days."""
    times = [int(day(number % SESSIONS).timestamp()) + 60 * (number // SESSIONS) for number in range(USERS * SESSIONS)]
    users = [str(number // SESSIONS) for number in range(USERS * SESSIONS)]
    return log_of_sessions(EVENT.reshape(-1, LENGTH).tolist(), users, ["shop"] * len(users), times if timed else None, ordered=ordered)


def a_recipe(split: dict[str, object], cases: int = 2000, **prompt: float) -> RetrieverRecipe:
    never = {"token_dropout": 0.0, "segment_dropout": 0.0, "cuts": 50, "targets_per_cut": 50, **prompt}
    return small_recipe(split=split, training={"validation_cases": cases}, prompt=never)


def learnt_from(learning: LearningSet, recipe: RetrieverRecipe) -> set[int]:
    """All products that are shown or predicted while it is learnt from these sessions."""
    sessions, log = np.flatnonzero(learning.train_S), learning.log
    sampled = sample_batch(log, sessions, marks_in(log), recipe.prompt, np.random.default_rng(0))
    tokens = sampled.tokens
    return {*tokens.product_RT.ravel().tolist(), *tokens.own_RO.ravel().tolist(), *sampled.targets.product_M.tolist()} - {-1}


def targets_and_carts(cases: Cases) -> tuple[set[int], set[int]]:
    return set(cases.target_T.tolist()), set(cases.contexts.cart_C.tolist())


def products(events: np.ndarray) -> set[int]:
    return set(events.ravel().tolist())


@pytest.mark.parametrize("ordered", [True, False])
def test_by_time_all_before_the_validation_is_learnt_and_all_from_the_test_on_is_for_nobody(ordered: bool) -> None:
    recipe = a_recipe({"validation_from": day(1), "test_from": day(2)})
    learning = split_log(a_log(ordered), recipe)
    assert learnt_from(learning, recipe) == products(EVENT[:, 0])
    targets, carts = targets_and_carts(learning.validation)
    assert targets | carts == products(EVENT[:, 1])
    assert len(learning.validation) == USERS
    assert set(learning.validation.contexts.history_H.tolist()) == products(EVENT[:, 0])


@pytest.mark.parametrize("test_from", [None, day(2)])
def test_where_nothing_says_when_validation_begins_it_gets_the_last_sessions_of_some(test_from: datetime | None) -> None:
    recipe = a_recipe({"test_from": test_from})
    learning, days = split_log(a_log(ordered=False), recipe), 3 if test_from is None else 2
    targets, carts = targets_and_carts(learning.validation)
    users = {product // (SESSIONS * LENGTH) for product in targets}
    assert len(users) == len(learning.validation) == USERS * days // 20
    assert targets | carts == products(EVENT[sorted(users), days - 1])
    assert learnt_from(learning, recipe) == products(EVENT[:, :days]) - targets - carts
    for row, user in enumerate(learning.validation.user_R.tolist()):
        assert learning.validation.contexts.history(row).tolist() == EVENT[user, : days - 1].ravel().tolist()


@pytest.mark.parametrize("test_from", [None, day(2)])
def test_of_a_small_ordered_log_the_last_product_of_some_sessions_alone_is_kept_apart(test_from: datetime | None) -> None:
    recipe = a_recipe({"test_from": test_from})
    learning, days = split_log(a_log(ordered=True), recipe), 3 if test_from is None else 2
    users = learning.validation.user_R
    assert len(users) == USERS * days // 5
    targets, carts = targets_and_carts(learning.validation)
    assert targets == products(EVENT[users, days - 1, -1])
    assert carts == products(EVENT[users, days - 1, :-1])
    assert learnt_from(learning, recipe) == products(EVENT[:, :days]) - targets
    few = a_recipe({"test_from": test_from}, cases=2)  # of a log that is large beside them, whole sessions are
    learning = split_log(a_log(ordered=True), few)
    targets, carts = targets_and_carts(learning.validation)
    assert learnt_from(learning, few) == products(EVENT[:, :days]) - targets - carts


def test_leaving_one_out_takes_the_last_two_products_of_each_user() -> None:
    recipe = a_recipe({"kind": "leave_one_out"})
    learning = split_log(a_log(ordered=True), recipe)
    sequence = EVENT.reshape(USERS, -1)
    assert learnt_from(learning, recipe) == products(sequence[:, :-2])
    assert learning.train_S.all()
    targets, carts = targets_and_carts(learning.validation)
    assert targets == products(sequence[:, -2])
    assert carts == products(sequence[:, :-2])


@pytest.mark.parametrize("more", [{}, {"validation_from": day(1)}])
def test_users_that_are_kept_apart_are_learnt_from_by_nobody(more: dict[str, object]) -> None:
    """A time that belongs to another kind of split brings them back in no way."""
    log, recipe = a_log(ordered=False, timed=bool(more)), a_recipe({"kind": "users", "test_share": 0.4, **more})
    tested = held_out.test_sessions(log, recipe.split)
    users = sorted(set(log.user_S[tested].tolist()))
    assert 2 < len(users) < 15
    assert sorted(tested.tolist()) == sorted(session for user in users for session in range(user * SESSIONS, (user + 1) * SESSIONS))
    learning = split_log(log, recipe)
    targets, carts = targets_and_carts(learning.validation)
    learnt = learnt_from(learning, recipe)
    assert targets
    assert not (learnt | targets | carts) & products(EVENT[users])
    assert not learnt & (targets | carts)
    assert learnt | targets | carts == products(EVENT) - products(EVENT[users])


def test_a_part_of_the_cases_is_drawn_and_it_is_the_same_on_every_worker() -> None:
    for split, ordered in (({"kind": "leave_one_out"}, True), ({"validation_from": day(1)}, False), ({}, False)):
        recipe = a_recipe(split, cases=2)
        one, other = (split_log(a_log(ordered), recipe) for _ in range(2))
        assert len(one.validation) == 2
        assert one.validation.target_T.tolist() == other.validation.target_T.tolist()
        assert one.train_S.tolist() == other.train_S.tolist()


def test_a_moment_without_a_zone_is_in_utc() -> None:
    assert held_out.seconds(datetime(1970, 1, 1, 0, 1)) == 60
    assert held_out.seconds(datetime.fromisoformat("1970-01-01T02:00:00+01:00")) == 3600


@pytest.mark.parametrize(
    ("split", "log", "told"),
    [
        ({"kind": "leave_one_out"}, a_log(ordered=False), "interactions.ordered=false"),
        ({"test_from": day(1)}, a_log(ordered=False, timed=False), "have no time"),
        ({"validation_from": day(5)}, a_log(ordered=False), "no validation case could be made"),
        ({"validation_from": day(-1)}, a_log(ordered=False), "no validation case could be made"),
        ({"validation_from": day(1)}, log_of_sessions([[1, 2, 3, 4]] * 2, list("ab"), times=[0, 2**31]), "no validation case"),
        ({}, log_of_sessions([[1, 2, 3]] * 40, ordered=False), "Give a longer log"),
        ({}, log_of_sessions([[1, 2, 1]] * 4), "Give a longer log"),
        ({"kind": "leave_one_out"}, log_of_sessions([[1, 2], [3, 4]]), "three products"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_split_is_refused(split: dict[str, object], log: SessionLog, told: str) -> None:
    with pytest.raises(ShelfcodeError, match=told):
        split_log(log, a_recipe(split))
