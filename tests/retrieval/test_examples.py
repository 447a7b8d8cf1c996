"""Prompts token by token, and what is to be predicted after them."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R rows, T tokens, M targets.

from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray
from small_contexts import contexts_of
from small_log import small_recipe

from shelfcode.interactions.session_log import NO_TIME, SessionLog, log_of_sessions
from shelfcode.retrieval.contexts import OwnProducts
from shelfcode.retrieval.examples import Marks, Prompt, Sampled, marks_of, prompts_of, sample_batch, tokens_of
from shelfcode.retrieval.recipe import PromptSettings

MARKS = Marks(retailers=2, surfaces=1)
TUESDAY_AT_22 = 1_700_000_000  # 14 November 2023, 22:13:20 UTC
NOTHING, ONCE = [0] * 12, [-1] * 12


def settings(**fields: object) -> PromptSettings:
    """Nothing is left out at random unless a test says so."""
    return small_recipe(prompt={"token_dropout": 0.0, "segment_dropout": 0.0, **fields}).prompt


def a_set(products: list[int]) -> SessionLog:
    """One session of somebody who had two products before, on a Tuesday evening at the second of two retailers."""
    times = [TUESDAY_AT_22 - 86_400, TUESDAY_AT_22]
    return log_of_sessions([[70, 71], products], ["a", "a"], ["b", "c"], times, ["home", "home"], ordered=False)


def drawn(log: SessionLog, session: int, times: int, prompt: PromptSettings, masked: bool = False) -> Sampled:
    """The same session many times over."""
    return sample_batch(log, np.full(times, session), MARKS, prompt, np.random.default_rng(0), masked)


def shown(sampled: Sampled, row: int) -> list[int]:
    """The session of a row."""
    tokens = sampled.tokens
    return tokens.product_RT[row, tokens.session_R[row] + 1 : tokens.length_R[row]].tolist()


def targets_by_cut(sampled: Sampled) -> dict[tuple[int, int], list[int]]:
    """Row and place behind the [session] token -> products that are to be predicted there."""
    found = defaultdict(list)
    targets = sampled.targets
    for row, position, product in zip(targets.row_M.tolist(), targets.position_M.tolist(), targets.product_M.tolist(), strict=True):
        found[row, position - int(sampled.tokens.session_R[row])].append(product)
    return found


def test_a_prompt_is_where_and_when_then_the_history_then_the_session() -> None:
    contexts = contexts_of([[7, 8], []], [[9, 4, 9, 2], []], [1, -1], [0, -1], [TUESDAY_AT_22, NO_TIME])
    tokens = tokens_of(prompts_of(contexts, MARKS, settings()), MARKS, settings())
    start, history, session = 1, 2, 3
    assert tokens.mark_RT.tolist() == [
        [start, 42, 39, 7, 36, history, 0, 0, 0, session, 0, 0],
        [start, 40, 38, 5, 13, history, session, 0, 0, 0, 0, 0],
    ]
    assert tokens.product_RT.tolist() == [[-1, -1, -1, -1, -1, -1, 4, 9, 2, -1, 7, 8], ONCE]
    assert tokens.count_RT.tolist() == [[0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0], NOTHING]
    assert tokens.age_RT.tolist() == [[0, 0, 0, 0, 0, 0, 2, 2, 1, 0, 0, 0], NOTHING]
    assert (tokens.session_R.tolist(), tokens.length_R.tolist()) == ([9, 6], [12, 7])
    assert tokens.own_RO.tolist() == [[4, 9, 2], [-1, -1, -1]]
    assert (tokens.own_count_RO.tolist(), tokens.own_age_RO.tolist()) == ([[1, 2, 1], [0, 0, 0]], [[2, 2, 1], [0, 0, 0]])


def test_a_masked_token_ends_each_prompt_that_is_to_be_answered_at_one() -> None:
    prompts = prompts_of(contexts_of([[7, 8], []]), MARKS, settings())
    plain, masked = (tokens_of(prompts, MARKS, settings(), masked_end) for masked_end in (False, True))
    assert (masked.length_R - plain.length_R).tolist() == [1, 1]
    assert masked.mark_RT[[0, 1], masked.length_R - 1].tolist() == [MARKS.mask, MARKS.mask]
    assert masked.product_RT[:, :-1].tolist() == plain.product_RT.tolist()


def test_marks_are_numbered_without_gaps_and_what_is_unknown_has_one_of_its_own() -> None:
    marks = Marks(retailers=3, surfaces=2)
    numbers = [0, marks.start, marks.history, marks.session, marks.mask]
    for mark, places in ((marks.weekday, 7), (marks.hour, 24), (marks.surface, 2), (marks.retailer, 3)):
        numbers += [mark(place) for place in range(-1, places)]
    assert numbers == list(range(marks.number))


def test_a_recipe_chooses_the_segments_and_their_order() -> None:
    chosen = settings(segments=["hour", "retailer"])
    assert marks_of(MARKS, chosen, 0, 0, TUESDAY_AT_22) == [MARKS.start, MARKS.hour(22), MARKS.retailer(0)]
    assert marks_of(MARKS, chosen, -1, 0, NO_TIME) == [MARKS.start, MARKS.hour(-1), MARKS.retailer(-1)]
    assert marks_of(MARKS, settings(segments=[]), 0, 0, 0) == [MARKS.start]
    assert marks_of(MARKS, settings(segments=["weekday"]), 0, 0, 0) == [MARKS.start, MARKS.weekday(3)]  # 1970 began on a Thursday


def test_of_a_long_history_the_most_frequent_are_shown_and_all_are_own_and_of_a_long_cart_the_latest_are_shown() -> None:
    contexts, few = contexts_of([[5, 6, 7]], [[1, 1, 2, 3, 3]]), settings(history_products=2, session_products=2, segments=[])
    tokens = tokens_of(prompts_of(contexts, MARKS, few), MARKS, few)
    assert tokens.product_RT.tolist() == [[-1, -1, 1, 3, -1, 6, 7]]
    assert tokens.own_RO.tolist() == [[1, 2, 3]]


def test_counts_and_ages_are_put_into_buckets() -> None:
    counts, ages = [1, 2, 6, 7, 8, 42, 43, 999], [0, 1, 2, 3, 7, 254, 255, 10**6]
    own = OwnProducts(np.arange(8, dtype=np.int32), np.array(counts), np.array(ages))
    tokens = tokens_of([Prompt([MARKS.start], own, np.empty(0, np.int32))], MARKS, settings())
    assert tokens.own_count_RO.tolist() == [[1, 2, 6, 6, 7, 11, 12, 12]]
    assert tokens.own_age_RO.tolist() == [[1, 2, 2, 3, 4, 8, 9, 9]]


def test_a_set_is_shuffled_and_cut_and_what_is_to_be_predicted_never_stands_before_the_cut() -> None:
    products = [10, 11, 12, 13, 14, 15]
    sampled = drawn(a_set(products), 1, 200, settings(cuts=2, targets_per_cut=3))
    cuts = targets_by_cut(sampled)
    for row in range(200):
        assert sorted(shown(sampled, row)) == products
        assert sum(of_row == row for of_row, _ in cuts) == 2
    for (row, cut), targets in cuts.items():
        assert targets == shown(sampled, row)[cut:][:3]
        assert not set(targets) & set(shown(sampled, row)[:cut])
    assert {cut for _, cut in cuts} == set(range(6))
    assert {shown(sampled, row)[0] for row in range(200)} == set(products)
    assert {target for (_, cut), targets in cuts.items() if cut == 0 for target in targets} == set(products)
    assert set(sampled.targets.weight_M.tolist()) == {1.0}


def test_of_a_long_set_other_products_are_taken_each_time() -> None:
    sampled = drawn(a_set(list(range(30))), 1, 100, settings(session_products=4))
    assert {len(shown(sampled, row)) for row in range(100)} == {5}
    assert {product for row in range(100) for product in shown(sampled, row)} == set(range(30))


def test_of_an_ordered_session_each_product_is_predicted_from_those_before_it() -> None:
    log = log_of_sessions([[1, 2], [5, 7, 6]], ["a", "a"])
    sampled = sample_batch(log, np.array([0, 1]), MARKS, settings(), np.random.default_rng(0))
    assert (shown(sampled, 0), shown(sampled, 1)) == ([1, 2], [5, 7, 6])
    # Nothing is known of the first product of somebody who is there for the first time.
    assert targets_by_cut(sampled) == {(0, 1): [2], (1, 0): [5], (1, 1): [7], (1, 2): [6]}
    assert sampled.tokens.own_RO.tolist() == [[-1, -1], [1, 2]]


def test_of_a_long_ordered_session_the_latest_products_are_learnt() -> None:
    log = log_of_sessions([list(range(9))])
    sampled = sample_batch(log, np.array([0]), MARKS, settings(session_products=3), np.random.default_rng(0))
    assert shown(sampled, 0) == [5, 6, 7, 8]
    assert targets_by_cut(sampled) == {(0, 1): [6], (0, 2): [7], (0, 3): [8]}


def test_a_session_of_one_product_has_a_target_though_the_history_was_left_out() -> None:
    log = log_of_sessions([[1, 2], [5]], ["a", "a"])
    sampled = drawn(log, 1, 40, settings(segment_dropout=0.5))
    assert 0 < (sampled.tokens.own_RO[:, 0] >= 0).sum() < 40
    assert targets_by_cut(sampled) == {(row, 0): [5] for row in range(40)}  # a batch without a target would have no loss


@pytest.mark.parametrize("ordered", [True, False])
def test_masked_products_are_predicted_where_they_stood_and_seen_nowhere(ordered: bool) -> None:
    products = [10, 11, 12, 13, 14]
    log = log_of_sessions([products], ordered=ordered)
    sampled = drawn(log, 0, 400, settings(masked_share=0.3), masked=True)
    hidden_RT = np.zeros((400, 5), bool)
    for (row, place), targets in targets_by_cut(sampled).items():
        hidden_RT[row, place - 1] = True  # the token itself is masked, and not the one before it
        assert len(targets) == 1
    for row in range(400):
        session = slice(int(sampled.tokens.session_R[row]) + 1, int(sampled.tokens.length_R[row]))
        marks, restored = sampled.tokens.mark_RT[row, session], np.array(shown(sampled, row))
        assert marks.tolist() == np.where(hidden_RT[row], MARKS.mask, 0).tolist()
        assert (restored[hidden_RT[row]] == -1).all()
        restored[hidden_RT[row]] = sampled.targets.product_M[sampled.targets.row_M == row]
        assert (restored.tolist() if ordered else sorted(restored.tolist())) == products
    share_T = hidden_RT.mean(0)
    assert hidden_RT.any(1).all()
    assert np.abs(share_T[:-1] - 0.3).max() < 0.1 < share_T[-1] - share_T[:-1].max()


def test_training_leaves_out_products_of_the_history_and_of_nothing_else() -> None:
    log = log_of_sessions([list(range(20)), [30, 31]], ["a", "a"])
    sampled = drawn(log, 1, 300, settings(token_dropout=0.25))
    kept_R = (sampled.tokens.own_RO >= 0).sum(1)
    assert abs(kept_R.mean() / 20 - 0.75) < 0.03
    assert kept_R.std() > 0
    for row in range(300):
        front = int(sampled.tokens.session_R[row])
        history = sampled.tokens.product_RT[row, :front]
        own = sampled.tokens.own_RO[row]
        assert history[history >= 0].tolist() == own[own >= 0].tolist()
        assert shown(sampled, row) == [30, 31]


def test_training_leaves_out_whole_segments_each_by_itself() -> None:
    sampled = drawn(a_set([10, 11]), 1, 600, settings(segment_dropout=0.3))
    mark_RT = sampled.tokens.mark_RT
    without: dict[str, NDArray[np.bool_]] = {
        "retailer": mark_RT[:, 1] == MARKS.retailer(-1),
        "surface": mark_RT[:, 2] == MARKS.surface(-1),
        "time": mark_RT[:, 3] == MARKS.weekday(-1),
        "history": sampled.tokens.own_RO[:, 0] < 0,
    }
    assert ((mark_RT[:, 4] == MARKS.hour(-1)) == without["time"]).all()
    assert set(mark_RT[:, 1].tolist()) == {MARKS.retailer(-1), MARKS.retailer(1)}
    assert set(mark_RT[:, 3].tolist()) == {MARKS.weekday(-1), MARKS.weekday(1)}
    for name, one_R in without.items():
        assert abs(one_R.mean() - 0.3) < 0.08
        for other, other_R in without.items():
            assert name == other or abs((one_R & other_R).mean() - 0.09) < 0.05
    assert all(sorted(shown(sampled, row)) == [10, 11] for row in range(600))


def test_nothing_is_left_out_of_a_request() -> None:
    contexts, losing = contexts_of([[3]] * 50, [[1, 2]] * 50, [1] * 50), settings(token_dropout=0.9, segment_dropout=0.9)
    tokens = tokens_of(prompts_of(contexts, MARKS, losing), MARKS, losing)
    assert (tokens.own_RO == [1, 2]).all()
    assert (tokens.mark_RT[:, 1] == MARKS.retailer(1)).all()
