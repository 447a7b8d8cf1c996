"""What both kinds answer with, and what they never do."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes. Here R requests, K products of a list, N products.

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_contexts import contexts_of
from small_log import PRODUCTS, small_recipe
from small_retriever import CPU, small_retriever

from shelfcode.interactions.session_log import SessionLog, log_of_sessions
from shelfcode.retrieval import retriever as retriever_module
from shelfcode.retrieval.contexts import Contexts
from shelfcode.retrieval.examples import prompts_of, tokens_of
from shelfcode.retrieval.generator import Generator
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.prompt_embedding import TokenTensors, on_device
from shelfcode.retrieval.published_retriever import Kind
from shelfcode.retrieval.retriever import Retriever
from shelfcode.retrieval.scoring_model import ScoringModel

KINDS: list[Kind] = ["generator", "cr"]
NORTH, SOUTH = 0, 1
SOLD = {NORTH: set(range(30)), SOUTH: set(range(20, 50))}
NEVER_SOLD = set(range(50, PRODUCTS))
ALL_BEAMS = PRODUCTS


def a_log() -> SessionLog:
    """North sells products 0 to 29, south 20 to 49, and nobody the others."""
    random, products, retailers = np.random.default_rng(0), [], []
    for number in range(60):
        first = 20 * (number % 2)
        products.append([first + number // 2, *(first + random.choice(30, 4, replace=False)).tolist()])
        retailers.append("south" if number % 2 else "north")
    return log_of_sessions(products, [str(number // 4) for number in range(60)], retailers, ordered=False)


LOG = a_log()
CONTEXTS = contexts_of(
    [[3, 4], [], [20, 21, 55], [7], [33]], [[5, 5, 6], [40], [], [20, 22, 9, 20], [1, 52]], [NORTH, SOUTH, NORTH, -1, SOUTH]
)


def a_retriever(kind: Kind, loudness: float = 0.3) -> Retriever:
    return small_retriever(kind, small_recipe(), LOG, loudness=loudness)


@pytest.fixture(scope="module")
def by_kind() -> dict[Kind, Retriever]:
    return {kind: a_retriever(kind) for kind in KINDS}


def rows_of(lists: Lists) -> list[list[int]]:
    """The products of each list."""
    return [[product for product in row if product >= 0] for row in lists.products_RK.tolist()]


def may_be_answered(kind: Kind, contexts: Contexts, row: int) -> set[int]:
    retailer = int(contexts.retailer_R[row])
    sold = SOLD[retailer] if retailer >= 0 else SOLD[NORTH] | SOLD[SOUTH]
    return (sold | (NEVER_SOLD if kind == "generator" else set())) - set(contexts.cart(row).tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_holds_what_the_retailer_has_beside_the_cart_each_once_and_ends_where_there_is_no_more(
    by_kind: dict[Kind, Retriever], kind: Kind
) -> None:
    lists = by_kind[kind].answer(CONTEXTS, PRODUCTS, ALL_BEAMS)
    assert lists.products_RK.shape == lists.scores_RK.shape == (len(CONTEXTS), PRODUCTS)
    for row, products in enumerate(rows_of(lists)):
        assert len(products) == len(set(products))
        assert set(products) == may_be_answered(kind, CONTEXTS, row)
        assert (lists.products_RK[row, len(products) :] == -1).all()
        assert (lists.scores_RK[row, len(products) :] == -np.inf).all()
        assert np.isfinite(lists.scores_RK[row, : len(products)]).all()
        assert (np.diff(lists.scores_RK[row, : len(products)]) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_list_is_the_beginning_of_a_long_one(by_kind: dict[Kind, Retriever], kind: Kind) -> None:
    long, short = (by_kind[kind].answer(CONTEXTS, k, ALL_BEAMS) for k in (PRODUCTS, 7))
    assert short.products_RK.tolist() == long.first(7).products_RK.tolist()
    few = by_kind[kind].answer(CONTEXTS, 7)  # with as many beams as are followed where nothing is said
    for row, products in enumerate(rows_of(few)):
        assert len(products) == 7 == len(set(products))
        assert set(products) <= may_be_answered(kind, CONTEXTS, row)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_answered_alone_as_among_others(by_kind: dict[Kind, Retriever], kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    together = by_kind[kind].answer(CONTEXTS, 7, ALL_BEAMS)
    monkeypatch.setattr(retriever_module, "REQUESTS_AT_ONCE", 2)
    apart = by_kind[kind].answer(CONTEXTS, 7, ALL_BEAMS)
    assert apart.products_RK.tolist() == together.products_RK.tolist()
    np.testing.assert_allclose(apart.scores_RK, together.scores_RK, atol=1e-4)
    assert len(by_kind[kind].answer(CONTEXTS.rows(0, 0), 7)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_says_what_retailers_have_and_one_without_products_is_answered_with_nothing(kind: Kind) -> None:
    available = [np.array([0, 1, 2, 40, 55]), np.empty(0, np.int64)]
    retriever = small_retriever(kind, small_recipe(), LOG, available=available, loudness=0.3)
    north, south, nobody = rows_of(retriever.answer(contexts_of([[1], [1], [1]], None, [NORTH, SOUTH, -1]), 5, ALL_BEAMS))
    assert set(north) == {0, 2, 40} | ({55} if kind == "generator" else set())
    assert south == []
    assert len(nobody) == 5


def test_the_probabilities_of_the_products_of_an_id_add_up_to_its_own(by_kind: dict[Kind, Retriever]) -> None:
    retriever, contexts = by_kind["generator"], contexts_of([[], [7]], [[20, 22, 9, 20], []], [-1, -1])
    model, shelves = retriever.model, retriever.shelves
    assert isinstance(model, Generator)
    lists = retriever.answer(contexts, PRODUCTS, ALL_BEAMS)
    marks, prompt = retriever.marks, retriever.recipe.prompt
    tokens = on_device(tokens_of(prompts_of(contexts, marks, prompt), marks, prompt), CPU)
    leaf_N = shelves.trie.leaf_N
    with torch.no_grad():
        for row, products in enumerate(rows_of(lists)):
            total_I = np.bincount(leaf_N[products], np.exp(lists.scores_RK[row, : len(products)]), minlength=shelves.trie.leaves)
            for leaf in range(0, shelves.trie.leaves, 5):
                if not set(np.flatnonzero(leaf_N == leaf).tolist()) - set(contexts.cart(row).tolist()):
                    assert total_I[leaf] == 0
                    continue
                assert total_I[leaf] == pytest.approx(probability_of(model, tokens, row, shelves.trie.codes_IL[leaf].tolist()), rel=1e-3)
    assert (np.bincount(leaf_N) > 1).any()


def probability_of(model: Generator, tokens: TokenTensors, row: int, codes: list[int]) -> float:
    """Of an ID, written codeword by codeword."""
    decoding = model.decoding(tokens)
    logits, total = decoding.start(), 0.0
    rows, nothing = len(logits), torch.zeros((len(logits), 1), dtype=torch.int64)
    total += float(logits.log_softmax(-1)[row, codes[0]])
    for level in range(1, len(codes)):
        logits = decoding.step(level, nothing, torch.full((rows, 1), codes[level - 1]))
        total += float(logits.log_softmax(-1)[row, 0, codes[level]])
    return float(np.exp(total))


def test_of_products_that_share_an_id_those_the_user_had_and_those_that_sell_come_first(by_kind: dict[Kind, Retriever]) -> None:
    weights = np.array([1, 0, 0, 0, 0, 3, 3, 0], np.float32)
    retriever = replace(by_kind["generator"], sharing=replace(by_kind["generator"].sharing, weight_F=weights))
    leaf_N, sold_N = retriever.shelves.trie.leaf_N, retriever.sharing.sales.all_N
    pairs = [(one, other) for one in range(50) for other in range(50) if leaf_N[one] == leaf_N[other] and sold_N[one] > sold_N[other]]
    assert pairs
    for more, less in pairs:
        nobody, somebody = (retriever.answer(contexts_of([[]], [history]), PRODUCTS, ALL_BEAMS) for history in ([], [less, less]))
        for lists, first, second in ((nobody, more, less), (somebody, less, more)):
            order = rows_of(lists)[0]
            assert order.index(first) < order.index(second)


def test_ids_are_drawn_where_there_is_a_temperature_and_drawn_again_by_the_same_seed(by_kind: dict[Kind, Retriever]) -> None:
    one, same, other = (by_kind["generator"].answer(CONTEXTS, 5, 5, temperature=2.0, seed=seed) for seed in (1, 1, 2))
    assert one.products_RK.tolist() == same.products_RK.tolist() != other.products_RK.tolist()
    for lists in (one, other):
        for row, products in enumerate(rows_of(lists)):
            assert set(products) <= may_be_answered("generator", CONTEXTS, row)


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_a_scoring_model_answers_with_the_highest_scores_of_what_was_sold(objective: str) -> None:
    recipe = small_recipe(scoring={"objective": objective})
    retriever = small_retriever("cr", recipe, LOG, loudness=0.3)
    model = retriever.model
    assert isinstance(model, ScoringModel)
    with torch.no_grad():
        model.bias[list(NEVER_SOLD)] = 100.0  # whatever the model thinks of them
        prompts = prompts_of(CONTEXTS, retriever.marks, recipe.prompt)
        scores_RN = model.last(on_device(tokens_of(prompts, retriever.marks, recipe.prompt, objective == "masked"), CPU)).numpy()
    lists = retriever.answer(CONTEXTS, 6)
    for row, products in enumerate(rows_of(lists)):
        allowed = sorted(may_be_answered("cr", CONTEXTS, row))
        assert products == sorted(allowed, key=lambda product: -scores_RN[row, product])[:6]
        np.testing.assert_allclose(lists.scores_RK[row], scores_RN[row, products], atol=1e-4)
