import numpy as np
import pytest
from scipy import sparse
from small_contexts import contexts_of
from small_log import PRODUCTS, small_codes

from shelfcode.retrieval.cooccurrence import Cooccurrence, nothing_counted
from shelfcode.retrieval.lists import Lists
from shelfcode.retrieval.product_vectors import ProductVectors
from shelfcode.retrieval.ranking import FAINT, FEATURES, LEAST_CASES, Known, candidate_features, fit_ranker, rank
from shelfcode.retrieval.sharing import Sales


def known(sold: dict[int, int]) -> Known:
    sold_N = np.zeros(PRODUCTS, np.float32)
    sold_N[list(sold)] = list(sold.values())
    vectors = np.random.default_rng(0).normal(size=(PRODUCTS, 8)).astype(np.float32)
    return Known(
        Sales(sold_N, sold_N / 2, sparse.csr_array(sold_N[None])), small_codes(), ProductVectors((vectors,)), nothing_counted(PRODUCTS)
    )


def lists_of(products: list[list[int]], width: int) -> Lists:
    products_RK, scores_RK = np.full((len(products), width), -1, np.int32), np.full((len(products), width), -np.inf, np.float32)
    for row, one in enumerate(products):
        products_RK[row, : len(one)], scores_RK[row, : len(one)] = one, -np.arange(len(one))
    return Lists(products_RK, scores_RK)


def test_features_say_what_is_known_of_each_candidate() -> None:
    facts = known({3: 9, 5: 1})
    contexts = contexts_of([[7, 8]], [[3, 5, 3, 3]], [0])
    x_CF = candidate_features(contexts, 0, np.array([3, 5, 9], np.int32), np.array([-1.0, -2.0, -4.0], np.float32), facts)
    column = {name: x_CF[:, place] for place, name in enumerate(FEATURES)}
    np.testing.assert_allclose(column["score below the best"], [0, -1, -3])
    np.testing.assert_allclose(column["sales"], np.log1p([9, 1, 0]), rtol=1e-6)
    np.testing.assert_allclose(column["never sold"], [0, 0, 1])
    np.testing.assert_allclose(column["own count"], np.log1p([3, 1, 0]), rtol=1e-6)
    np.testing.assert_allclose(column["share of the history"], [0.75, 0.25, 0], atol=1e-6)
    likeness = facts.vectors.of(np.array([3, 5, 9])) @ facts.vectors.of(np.array([7, 8])).T
    np.testing.assert_allclose(column["likeness to the nearest"], likeness.max(1), rtol=1e-5)
    np.testing.assert_allclose(column["likeness to the cart"], likeness.mean(1), rtol=1e-5)


def test_features_say_what_is_bought_with_the_cart() -> None:
    facts = known({})
    neighbour_NK, cosine_NK = np.full((PRODUCTS, 2), -1, np.int32), np.zeros((PRODUCTS, 2), np.float32)
    neighbour_NK[7], cosine_NK[7] = [3, 5], [0.5, 0.2]
    neighbour_NK[8], cosine_NK[8] = [3, -1], [0.1, 0.0]
    facts = Known(facts.sales, facts.codes_NL, facts.vectors, Cooccurrence(neighbour_NK, cosine_NK))
    x_CF = candidate_features(contexts_of([[7, 8]], [[]], [0]), 0, np.array([5, 9, 3], np.int32), np.zeros(3, np.float32), facts)
    column = {name: np.exp(x_CF[:, place]) - FAINT for place, name in enumerate(FEATURES)}
    np.testing.assert_allclose(column["bought with the cart"], [0.2, 0, 0.6], atol=1e-6)
    np.testing.assert_allclose(column["bought with one of the cart"], [0.2, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize(("codes", "levels"), [([1, 2, 3], 3), ([1, 2, 4], 2), ([1, 3, 3], 1), ([2, 2, 3], 0)])
def test_agreement_counts_leading_levels_only(codes: list[int], levels: int) -> None:
    facts = known({})
    codes_NL = np.full((PRODUCTS, 3), 7, np.uint16)
    codes_NL[0], codes_NL[1] = [1, 2, 3], codes
    facts = Known(facts.sales, codes_NL, facts.vectors, facts.together)
    x_CF = candidate_features(contexts_of([[0]], [[]], [0]), 0, np.array([1], np.int32), np.zeros(1, np.float32), facts)
    assert x_CF[0, FEATURES.index("agreement with the cart")] == levels


def test_a_ranker_learns_what_the_model_does_not_say() -> None:
    """The model has every list in a random order, and what was taken is always what the user had had most often."""
    random, facts = np.random.default_rng(0), known(dict.fromkeys(range(PRODUCTS), 5))
    count = 2 * LEAST_CASES
    products = [random.permutation(20).tolist() for _ in range(count)]
    favourites = [int(random.integers(20)) for _ in range(count)]
    contexts = contexts_of([[40]] * count, [[favourite] * 4 + [41] for favourite in favourites], [0] * count)
    lists, targets = lists_of(products, 20), np.array(favourites, np.int32)
    half = np.arange(count // 2 + 1)
    ranker = fit_ranker(lists_of(products[: count // 2], 20), contexts.rows(0, count // 2), half, targets[: count // 2], facts, seed=0)
    assert ranker is not None
    later = contexts.rows(count // 2, count)
    ranked = rank(ranker, lists_of(products[count // 2 :], 20), later, facts)
    assert (ranked.products_RK[:, 0] == targets[count // 2 :]).mean() > 0.95
    assert (lists.products_RK[count // 2 :, 0] == targets[count // 2 :]).mean() < 0.3
    for before, after in zip(products[count // 2 :], ranked.products_RK.tolist(), strict=True):
        assert sorted(before) == sorted(after)


def test_few_cases_teach_nothing() -> None:
    facts, count = known({}), LEAST_CASES - 1
    contexts = contexts_of([[1]] * count, [[]] * count, [0] * count)
    assert fit_ranker(lists_of([[2, 3]] * count, 2), contexts, np.arange(count + 1), np.full(count, 2, np.int32), facts, 0) is None


def test_where_the_model_knows_all_there_is_to_know_its_order_stays() -> None:
    """What is taken is drawn by the model's own scores; nothing else says anything of it, and the cases are few."""
    random, facts, count = np.random.default_rng(0), known({}), LEAST_CASES + 10
    products = [random.permutation(30).tolist() for _ in range(count)]
    chances = np.exp(-np.arange(30)) / np.exp(-np.arange(30)).sum()
    targets = np.array([random.choice(row, p=chances) for row in products], np.int32)
    contexts = contexts_of(random.integers(30, PRODUCTS, (count, 2)).tolist(), random.integers(0, PRODUCTS, (count, 6)).tolist())
    lists = lists_of(products, 30)
    ranker = fit_ranker(lists, contexts, np.arange(count + 1), targets, facts, seed=0)
    if ranker is not None:
        ranked = rank(ranker, lists, contexts, facts)
        assert (ranked.products_RK[:, 0] == lists.products_RK[:, 0]).mean() > 0.9
