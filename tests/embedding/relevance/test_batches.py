"""Batches depend on the seed and the step alone, give every query its turn, and call nothing a negative that may be a match."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.relevance.batches import UNJUDGED, Batch, BatchSampler
from shelfcode.embedding.relevance.training_set import RelevanceSet
from shelfcode.interactions.columns import EXACT
from shelfcode.optimisation import Worker

SUBSTITUTE = EXACT + 1
QUERIES, PRODUCTS, LEAVES = 23, 60, 9


def relevance_set(
    judgments: list[tuple[int, int, int]], leaf_P: Any, hard: list[tuple[int, int]] | None = None, queries: int = 0
) -> RelevanceSet:
    """Of (query, product, label) and (query, hard negative)."""
    judged, mined = sorted(judgments), sorted(hard or [])
    count = max(queries, *(query + 1 for query, _, _ in judged))
    return RelevanceSet(
        tuple(f"query {query}" for query in range(count)), tuple(f"product {product}" for product in range(len(leaf_P))),
        np.array(leaf_P, np.int32),
        np.array([row[0] for row in judged], np.int32), np.array([row[1] for row in judged], np.int64),
        np.array([row[2] for row in judged], np.int8),
        np.array([row[0] for row in mined], np.int32), np.array([row[1] for row in mined], np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shop() -> RelevanceSet:
    """Random judgments, of 1 to 12 products a query, and hard negatives, of 0 to 6; many products are judged for several queries."""
    rng = np.random.default_rng(0)
    leaf_P = rng.integers(NO_LEAF, LEAVES, PRODUCTS)
    judged, hard = [], []
    for query in range(QUERIES):
        products = rng.permutation(PRODUCTS).tolist()
        count = int(rng.integers(1, 13))
        labels = [EXACT, *rng.integers(0, 4, count - 1).tolist()]
        judged += [(query, product, label) for product, label in zip(products[:count], labels, strict=True)]
        hard += [(query, product) for product in products[count : count + int(rng.integers(0, 7))]]
    return relevance_set(judged, leaf_P, hard)


def labels_of(relevance: RelevanceSet) -> dict[tuple[int, int], int]:
    rows = zip(relevance.query_R.tolist(), relevance.product_R.tolist(), relevance.label_R.tolist(), strict=True)
    return {(query, product): label for query, product, label in rows}


def assert_same(one: Batch, other: Batch) -> None:
    for name in Batch.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(other, name).dtype


def one_each(queries: int) -> RelevanceSet:
    return relevance_set([(query, query, EXACT) for query in range(queries)], [NO_LEAF] * queries)


@pytest.mark.parametrize(
    ("queries", "in_a_batch"), [(24, 8), (23, 8), (10, 8), (9, 8), (8, 8), (5, 8), (7, 3), (3, 2), (1, 4), (5, 1), (20, 19)]
)
def test_every_query_comes_up_once_an_epoch(queries: int, in_a_batch: int) -> None:
    sampler = BatchSampler(one_each(queries), 0, in_a_batch, 4, 0)
    size = min(queries, in_a_batch)
    seen = Counter[int](dict.fromkeys(range(queries), 0))
    for step in range(3 * queries):
        query_A = sampler.batch(step).query_A
        assert len(query_A) == len(set(query_A.tolist())) == size
        seen.update(query_A.tolist())
        epochs = (step + 1) * size // queries
        assert set(seen.values()) <= {epochs, epochs + 1}
    assert set(seen.values()) == {3 * size}


@pytest.mark.parametrize(
    ("queries", "in_a_batch", "epochs", "steps"), [(24, 8, 4, 12), (10, 8, 4, 5), (5, 8, 3, 3), (9, 8, 1, 2), (100, 8, 4, 50)]
)
def test_so_many_epochs_are_so_many_steps(queries: int, in_a_batch: int, epochs: int, steps: int) -> None:
    sampler = BatchSampler(one_each(queries), 0, in_a_batch, 4, 0)
    assert sampler.steps(epochs) == steps
    seen = Counter(query for step in range(steps) for query in sampler.batch(step).query_A.tolist())
    assert set(seen.values()) <= {epochs, epochs + 1}
    assert len(seen) == queries


def test_epochs_differ_in_their_order() -> None:
    sampler = BatchSampler(one_each(24), 0, 8, 4, 0)
    assert len({tuple(sampler.batch(step).query_A.tolist()) for step in range(12)}) == 12


def test_a_batch_depends_on_the_seed_and_the_step_alone(shop: RelevanceSet) -> None:
    sampler = BatchSampler(shop, 5, 8, 4, 2)
    batches = [sampler.batch(step) for step in range(12)]
    for step in (11, 0, 7):
        assert_same(BatchSampler(shop, 5, 8, 4, 2).batch(step), batches[step])
        assert_same(sampler.batch(step), batches[step])
    assert batches[0].product_B.tolist() != batches[3].product_B.tolist()
    other = BatchSampler(shop, 6, 8, 4, 2).batch(0)
    assert (other.query_A.tolist(), other.product_B.tolist()) != (batches[0].query_A.tolist(), batches[0].product_B.tolist())


@pytest.mark.parametrize(("products", "hard"), [(1, 0), (2, 3), (4, 1), (100, 100)])
def test_a_query_gets_judged_products_with_an_exact_among_them_then_hard_negatives(shop: RelevanceSet, products: int, hard: int) -> None:
    sampler, label_of = BatchSampler(shop, 0, 8, products, hard), labels_of(shop)
    mined_of = {query: set(shop.hard_product_H[shop.hard_query_H == query].tolist()) for query in range(QUERIES)}
    judged_of = {query: set(shop.product_R[shop.query_R == query].tolist()) for query in range(QUERIES)}
    drawn: dict[int, set[int]] = {query: set() for query in range(QUERIES)}
    for step in range(150):
        batch = sampler.batch(step)
        assert batch.owner_B.tolist() == sorted(batch.owner_B.tolist())
        for place, query in enumerate(batch.query_A.tolist()):
            own = batch.owner_B == place
            labels, taken = batch.label_B[own].tolist(), batch.product_B[own].tolist()
            judged = [product for product, label in zip(taken, labels, strict=True) if label != UNJUDGED]
            mined = [product for product, label in zip(taken, labels, strict=True) if label == UNJUDGED]
            assert taken == judged + mined
            assert labels[: len(judged)] == [label_of[query, product] for product in judged]
            assert EXACT in labels
            assert len(judged) == len(set(judged)) == min(products, len(judged_of[query]))
            assert len(mined) == len(set(mined)) == min(hard, len(mined_of[query]))
            assert set(mined) <= mined_of[query]
            drawn[query] |= set(taken)
    if products > 1:
        assert drawn == {query: judged_of[query] | (mined_of[query] if hard else set()) for query in range(QUERIES)}


def test_one_exact_of_many_others_is_drawn_every_time() -> None:
    relevance = relevance_set([(0, product, EXACT if product == 7 else 3) for product in range(40)], [NO_LEAF] * 40)
    sampler = BatchSampler(relevance, 0, 8, 3, 0)
    drawn = [sampler.batch(step).product_B.tolist() for step in range(300)]
    assert all(7 in products and len(set(products)) == 3 for products in drawn)
    assert {product for products in drawn for product in products} == set(range(40))


def slow_negative(relevance: RelevanceSet, query: int, product: int) -> bool:
    label_of = labels_of(relevance)
    leaves = {int(relevance.leaf_P[other]) for (asked, other), label in label_of.items() if asked == query and label == EXACT} - {NO_LEAF}
    return (query, product) not in label_of and int(relevance.leaf_P[product]) not in leaves


def test_negatives_are_what_is_not_judged_and_not_in_an_exacts_leaf(shop: RelevanceSet) -> None:
    sampler, seen = BatchSampler(shop, 0, 8, 4, 2), Counter[bool]()
    for step in range(6):
        batch = sampler.batch(step)
        assert batch.negative_AB.shape == (8, len(batch.product_B))
        expected = [[slow_negative(shop, query, product) for product in batch.product_B.tolist()] for query in batch.query_A.tolist()]
        assert batch.negative_AB.tolist() == expected
        seen.update(batch.negative_AB.ravel().tolist())
    assert min(seen[True], seen[False]) > 100


def test_a_product_that_is_judged_for_two_queries_is_a_negative_of_neither() -> None:
    relevance = relevance_set([(0, 0, EXACT), (0, 1, 3), (1, 1, EXACT), (1, 0, 3), (2, 2, EXACT)], [NO_LEAF] * 3)
    batch = BatchSampler(relevance, 0, 3, 4, 0).batch(0)
    for place, query in enumerate(batch.query_A.tolist()):
        for drawn, product in enumerate(batch.product_B.tolist()):
            assert batch.negative_AB[place, drawn] == ((query == 2) != (product == 2))


def test_products_without_a_leaf_do_not_share_one_and_a_substitutes_leaf_is_no_hindrance() -> None:
    leaf_P = [NO_LEAF, NO_LEAF, 3, 3, 0, 3]
    judged = [(0, 0, EXACT), (0, 2, SUBSTITUTE), (1, 1, EXACT), (2, 3, EXACT), (2, 4, SUBSTITUTE), (3, 5, EXACT)]
    batch = BatchSampler(relevance_set(judged, leaf_P), 0, 4, 4, 0).batch(0)
    places = {(query, product): batch.negative_AB[place, drawn]
              for place, query in enumerate(batch.query_A.tolist()) for drawn, product in enumerate(batch.product_B.tolist())}  # fmt: skip
    assert {product for product in range(6) if places[0, product]} == {1, 3, 4, 5}
    assert {product for product in range(6) if places[1, product]} == {0, 2, 3, 4, 5}
    assert {product for product in range(6) if places[2, product]} == {0, 1}, "2 and 5 lie in the leaf of its Exact"
    assert {product for product in range(6) if places[3, product]} == {0, 1, 4}


def test_a_catalog_without_leaves_and_without_hard_negatives_will_do() -> None:
    batch = BatchSampler(one_each(4), 0, 2, 4, 4).batch(0)
    assert batch.label_B.tolist() == [EXACT, EXACT]
    assert batch.negative_AB.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_workers_shares_put_together_are_the_whole_batch(shop: RelevanceSet, workers: int) -> None:
    sampler = BatchSampler(shop, 0, 8, 4, 2)
    for step in range(6):
        batch = sampler.batch(step)
        shares = [sampler.share(batch, Worker(rank, workers)) for rank in range(workers)]
        assert [len(share.query_A) for share in shares] == [8 // workers] * workers
        for name in ("query_A", "product_B", "label_B"):
            np.testing.assert_array_equal(np.concatenate([getattr(share, name) for share in shares]), getattr(batch, name))
        owners = [share.query_A[share.owner_B] for share in shares]
        np.testing.assert_array_equal(np.concatenate(owners), batch.query_A[batch.owner_B])
        for share in shares:
            expected = [[slow_negative(shop, query, product) for product in share.product_B.tolist()] for query in share.query_A.tolist()]
            assert share.negative_AB.tolist() == expected
    assert_same(sampler.share(batch, Worker()), batch)


def test_queries_that_have_no_equal_shares_are_shared_out_all_the_same(shop: RelevanceSet) -> None:
    sampler = BatchSampler(shop, 0, 7, 4, 2)
    shares = [sampler.share(sampler.batch(0), Worker(rank, 4)) for rank in range(4)]
    assert sorted(len(share.query_A) for share in shares) == [1, 2, 2, 2]
    assert np.concatenate([share.query_A for share in shares]).tolist() == sampler.batch(0).query_A.tolist()
