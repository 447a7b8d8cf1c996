"""Hard negatives are the nearest products that are no match as far as anybody knows, and no others."""

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from shelfcode.catalog.taxonomy import NO_LEAF
from shelfcode.embedding.relevance.hard_negatives import HardNegatives, mine_hard_negatives, mined_rows, products_to_read
from shelfcode.interactions.columns import LABELS
from shelfcode.interactions.judgments import Judgments

Judged = Callable[..., Judgments]

QUERIES, PRODUCTS, DIMENSIONS = 70, 150, 6
"""Queries are more than are searched at once."""

SETTINGS: dict[str, Any] = {"candidates": 5, "margin": 0.0, "products_max": 1000, "seed": 0}


def mine(query_QD: Any, x_ND: Any, leaf_N: Sequence[int], judgments: Judgments, **settings: Any) -> HardNegatives:
    settings = SETTINGS | settings
    rows_M = mined_rows(len(x_ND), settings.pop("products_max"), settings.pop("seed"))
    return mine_hard_negatives(
        np.asarray(query_QD, np.float32), np.asarray(x_ND, np.float32), np.asarray(leaf_N, np.int32), judgments, rows_M=rows_M, **settings
    )


def products_by_query(mined: HardNegatives, queries: int) -> list[list[int]]:
    return [mined.product_H[mined.query_H == query].tolist() for query in range(queries)]


def at(*cosines: float) -> np.ndarray:
    """Products at these cosines to the query (1, 0)."""
    return np.array([[cosine, np.sqrt(1 - cosine**2)] for cosine in cosines])


def mined_at(
    judged: Judged, cosines: Sequence[float], rows: list[tuple[int, int, str]], leaf_N: Sequence[int] | None = None, **settings: Any
) -> list[int]:
    """What is found for one query of products at these cosines."""
    leaves = [NO_LEAF] * len(cosines) if leaf_N is None else leaf_N
    return mine([[1, 0]], at(*cosines), leaves, judged(rows), **settings).product_H.tolist()


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    x_ND = rng.normal(size=(rows, DIMENSIONS))
    return (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)).astype(np.float32)


Shop = tuple[np.ndarray, np.ndarray, np.ndarray, Judgments]


@pytest.fixture(scope="module")
def shop(judged: Judged) -> Shop:
    """Random queries, products, leaves and judgments; a query's first product is an Exact that lies near it."""
    rng = np.random.default_rng(0)
    query_QD, x_ND = unit(rng, QUERIES), unit(rng, PRODUCTS)
    leaf_N = rng.integers(NO_LEAF, 12, PRODUCTS).astype(np.int32)
    rows = []
    for query in range(QUERIES):
        near = np.argsort(-(x_ND @ query_QD[query]))[:30]
        products = rng.choice(near, rng.integers(1, 8), replace=False)
        rows += [(query, int(product), "E" if place == 0 else str(rng.choice(list(LABELS)))) for place, product in enumerate(products)]
    return query_QD, x_ND, leaf_N, judged(rows)


def reference(shop: Shop, candidates: int, margin: float, catalog: Sequence[int]) -> list[list[int]]:
    """The rules one by one, product by product."""
    query_QD, x_ND, leaf_N, judgments = shop
    found = []
    for query in range(len(query_QD)):
        rows = np.flatnonzero(judgments.query_R == query)
        label_of = {int(judgments.product_R[row]): LABELS[judgments.label_R[row]] for row in rows}
        exacts = [product for product, label in label_of.items() if label == "E"]
        highest = (1 - margin) * np.mean([x_ND[product] @ query_QD[query] for product in exacts])
        leaves = {leaf_N[product] for product in exacts} - {NO_LEAF}
        allowed = [
            product for product in catalog
            if product not in label_of and leaf_N[product] not in leaves and x_ND[product] @ query_QD[query] <= highest
        ]  # fmt: skip
        found.append(sorted(allowed, key=lambda product: -(x_ND[product] @ query_QD[query]))[:candidates])
    return found


@pytest.mark.parametrize(("candidates", "margin"), [(5, 0.0), (5, 0.1), (1, 0.05), (1000, 0.3), (20, 1.0)])
def test_they_are_those_that_the_rules_leave_one_by_one(shop: Shop, candidates: int, margin: float) -> None:
    mined = mine(*shop, candidates=candidates, margin=margin)
    assert products_by_query(mined, QUERIES) == reference(shop, candidates, margin, range(PRODUCTS))
    assert (mined.query_H.dtype, mined.product_H.dtype) == (np.int32, np.int64)
    assert len(mined.product_H) > 50
    assert all(first <= second for first, second in pairwise(mined.query_H.tolist())), "sorted by query"


def test_of_a_larger_catalog_they_are_mined_in_a_random_sample(shop: Shop) -> None:
    def mined(**settings: Any) -> list[list[int]]:
        return products_by_query(mine(*shop, products_max=40, **settings), QUERIES)

    sample = {product for products in mined(candidates=1000) for product in products}
    assert len(sample) == 40
    assert mined() == reference(shop, 5, 0.0, sorted(sample)), "Exacts outside of the sample count all the same"
    assert mined() == mined(seed=0) != mined(seed=1)
    assert products_by_query(mine(*shop, products_max=PRODUCTS), QUERIES) == reference(shop, 5, 0.0, range(PRODUCTS))


def test_mining_reads_no_more_of_a_catalog_than_the_sample_and_what_is_judged(shop: Shop) -> None:
    query_QD, x_ND, leaf_N, judgments = shop
    read = products_to_read(judgments, PRODUCTS, 20, seed=0)
    assert set(read.positions_M) == set(judgments.product_R) | set(mined_rows(PRODUCTS, 20, seed=0))
    assert len(read.positions_M) < PRODUCTS
    mined = mine_hard_negatives(query_QD, x_ND[read.positions_M], leaf_N[read.positions_M], read.judgments, 5, 0.0, read.rows_M)
    found = HardNegatives(mined.query_H, read.positions_M[mined.product_H])
    assert products_by_query(found, QUERIES) == products_by_query(mine(*shop, products_max=20), QUERIES)


def test_no_judged_product_is_one_whatever_its_label(judged: Judged) -> None:
    rows = [(0, 0, "E"), (0, 1, "S"), (0, 2, "C"), (0, 3, "I")]
    assert mined_at(judged, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], rows) == [4, 5]


def test_a_product_that_was_judged_for_another_query_may_be_one(judged: Judged) -> None:
    mined = mine([[1, 0], [0, 1]], at(0.9, 0.1), [NO_LEAF] * 2, judged([(0, 0, "E"), (1, 1, "E")]))
    assert products_by_query(mined, 2) == [[1], [0]]


def test_no_product_of_an_exacts_leaf_is_one_and_of_a_substitutes_it_may_be(judged: Judged) -> None:
    rows = [(0, 0, "E"), (0, 1, "S"), (0, 2, "E")]
    assert mined_at(judged, [0.9, 0.8, 0.9, 0.7, 0.6, 0.5, 0.4], rows, [7, 8, 9, 7, 8, 9, 5]) == [4, 6]


def test_products_without_a_leaf_do_not_share_one(judged: Judged) -> None:
    assert mined_at(judged, [0.9, 0.7, 0.6], [(0, 0, "E")], [NO_LEAF, NO_LEAF, 3]) == [1, 2]


def test_a_product_nearly_as_near_as_the_exacts_on_average_is_none(judged: Judged) -> None:
    cosines, rows = [0.9, 0.7, 0.85, 0.79, 0.77, 0.71, 0.5], [(0, 0, "E"), (0, 1, "E")]
    assert mined_at(judged, cosines, rows, margin=0.0) == [3, 4, 5, 6]
    assert mined_at(judged, cosines, rows, margin=0.05) == [5, 6]
    assert mined_at(judged, cosines, rows, margin=0.2) == [6]


def test_the_margin_is_kept_where_cosines_are_negative(judged: Judged) -> None:
    assert mined_at(judged, [-0.5, -0.4, -0.49, -0.51, -0.6], [(0, 0, "E")], margin=0.05) == [4]


def test_the_nearest_come_first_and_no_more_than_are_asked_for(judged: Judged) -> None:
    cosines = [0.95, 0.2, 0.8, -0.3, 0.6, 0.79]
    assert mined_at(judged, cosines, [(0, 0, "E")], candidates=3) == [2, 5, 4]
    assert mined_at(judged, cosines, [(0, 0, "E")], candidates=100) == [2, 5, 4, 1, 3]


def test_of_copies_only_the_first_is_one_and_leaves_room_for_others(judged: Judged) -> None:
    cosines = [0.95, *[0.8] * 30, 0.6, 0.5]
    assert mined_at(judged, cosines, [(0, 0, "E")], candidates=3) == [1, 31, 32]


def test_a_query_of_which_every_product_is_excluded_has_none_and_the_next_has_its_own(judged: Judged) -> None:
    rows = [(0, 0, "E"), (0, 1, "E"), (1, 1, "E")]
    mined = mine([[1, 0], [1, 0]], at(0.9, 0.8, 0.7), [4, 5, 4], judged(rows))
    assert products_by_query(mined, 2) == [[], [2]]
    nothing = mine([[1, 0]], at(0.9, 0.8), [4, 4], judged([(0, 0, "E")]))
    assert (len(nothing.query_H), len(nothing.product_H)) == (0, 0)
    assert (nothing.query_H.dtype, nothing.product_H.dtype) == (np.int32, np.int64)


def test_a_query_that_has_lost_its_exacts_has_none(judged: Judged) -> None:
    """As when they have no embedding: nothing says how near is too near."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mined = mine([[1, 0]] * 3, at(0.9, 0.8, 0.7), [NO_LEAF] * 3, judged([(0, 0, "I"), (2, 0, "E")], queries=3))
    assert products_by_query(mined, 3) == [[], [], [1, 2]]


def test_a_memory_mapped_catalog_gives_the_same(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    query_QD, x_ND, leaf_N, judgments = shop
    path = tmp_path_factory.mktemp("matrix") / "x.npy"
    np.save(path, x_ND)
    mined = mine_hard_negatives(query_QD, np.load(path, mmap_mode="r"), leaf_N, judgments, 5, 0.0, np.arange(len(x_ND)))
    assert products_by_query(mined, QUERIES) == products_by_query(mine(*shop), QUERIES)
