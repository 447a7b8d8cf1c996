"""A blend's products are those with the highest score over its flavors, held against a score of every product."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from pyroaring import BitMap
from released import Shop

from shelfcode.index.release_index import ReleaseIndex, load_release_index
from shelfcode.serving.api.blending import FlavorQuery, blend

ALL = 400


@pytest.fixture(scope="module")
def indexes(shop: Shop) -> list[ReleaseIndex]:
    return [load_release_index(shop.workspace, name, None) for name in ("precision@v0002", "discovery@v0002")]


def queries_for(indexes: list[ReleaseIndex], item_id: str, weights: tuple[float, float] = (0.7, 0.3)) -> list[FlavorQuery]:
    """A blend that is asked for what is like a product, the product itself left out."""
    places = [index.place(item_id) for index in indexes]
    return [
        FlavorQuery(index, weight, index.codes.codes_of(place), None, frozenset({place}))
        for index, weight, place in zip(indexes, weights, places, strict=True)
    ]


def vector(index: ReleaseIndex, codes: tuple[int, ...]) -> np.ndarray:
    return np.sum([words[code] for words, code in zip(index.codes.codewords_LKD, codes, strict=True)], axis=0)


def score(queries: list[FlavorQuery], item_id: str) -> float:
    """The weighted mean of (levels shared + 1 / (1 + distance)) / (levels + 1), spelt out."""
    total = 0.0
    for query in queries:
        own = query.index.codes.codes_of(query.index.place(item_id))
        level = next((at for at, (one, two) in enumerate(zip(own, query.codes, strict=True)) if one != two), len(own))
        distance = float(np.linalg.norm(vector(query.index, own) - vector(query.index, query.codes)))
        total += query.weight * (level + 1 / (1 + distance)) / (len(own) + 1)
    return total


@pytest.mark.parametrize("weights", [(0.7, 0.3), (0.01, 0.99)])
def test_the_best_products_are_those_with_the_highest_score_of_all(
    indexes: list[ReleaseIndex], shop: Shop, weights: tuple[float, float]
) -> None:
    item_ids = shop.products["item_id"].to_pylist()
    for item_id in item_ids[11:400:200]:
        queries = queries_for(indexes, item_id, weights)
        found = blend(queries, ALL, min_level=0)
        assert [each.places[1] for each in found] == [
            indexes[1].place(indexes[0].product(each.places[0])["item_id"]) for each in found
        ]  # one product
        expected = sorted((score(queries, other) for other in item_ids if other != item_id), reverse=True)
        np.testing.assert_allclose([each.score for each in found], expected, atol=2e-3)
        assert len({each.places for each in found}) == ALL - 1


def test_fewer_products_are_the_first_of_more(indexes: list[ReleaseIndex], shop: Shop) -> None:
    queries = queries_for(indexes, shop.products["item_id"][20].as_py())
    more = blend(queries, ALL, min_level=0)
    assert [each.score for each in blend(queries, 100, min_level=0)] == [each.score for each in more[:100]]
    assert blend(queries, 1, min_level=0)[0].score == more[0].score


def test_levels_are_those_that_a_product_shares_in_each_flavor(indexes: list[ReleaseIndex], shop: Shop) -> None:
    queries = queries_for(indexes, shop.products["item_id"][20].as_py())
    for each in blend(queries, 10, min_level=1):
        assert max(each.levels) >= 1
        for query, place, level in zip(queries, each.places, each.levels, strict=True):
            codes = query.index.codes.codes_of(place)
            assert codes[:level] == query.codes[:level]
            assert codes[: level + 1] != query.codes[: level + 1] or level == len(codes)
        assert 0 < each.score <= 1


def test_a_blend_of_one_flavor_orders_as_that_flavor_does(indexes: list[ReleaseIndex], shop: Shop) -> None:
    part = queries_for(indexes, shop.products["item_id"][33].as_py())[0]
    blended = blend([FlavorQuery(part.index, 1.0, part.codes, None, part.exclude)], 20, 0)
    alone = part.index.codes.similar(part.codes, 20, 0, None, part.exclude)
    assert [each.levels[0] for each in blended] == [each.level for each in alone]
    assert blended[0].places[0] == alone[0].place


def test_masks_and_what_is_left_out_hold_in_every_flavor(indexes: list[ReleaseIndex], shop: Shop) -> None:
    item_ids = shop.products["item_id"].to_pylist()
    queries = [
        replace(query, allowed=BitMap(query.index.places(item_ids[10:40])), exclude=query.index.places([item_ids[5], item_ids[12]]))
        for query in queries_for(indexes, item_ids[5])
    ]
    found = {indexes[0].product(each.places[0])["item_id"] for each in blend(queries, 50, 0)}
    assert found == set(item_ids[10:40]) - {item_ids[12]}


def test_flavors_of_one_catalog_are_matched_by_rows_and_those_of_two_by_item_ids(
    indexes: list[ReleaseIndex], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = queries_for(indexes, shop.products["item_id"][20].as_py())
    asked: list[int] = []
    places_of = ReleaseIndex.places_of
    monkeypatch.setattr(ReleaseIndex, "places_of", lambda index, ids: asked.append(len(ids)) or places_of(index, ids))
    by_rows = blend(queries, 30, min_level=0)
    assert asked == []
    other = copy.copy(indexes[1].items)
    other.name = "of another catalog"
    assert blend([queries[0], replace(queries[1], index=replace(indexes[1], items=other))], 30, min_level=0) == by_rows
    assert asked == [120, 120]  # all at once, from each flavor to the other


def test_nothing_is_found_where_nothing_may_be(indexes: list[ReleaseIndex], shop: Shop) -> None:
    queries = queries_for(indexes, shop.products["item_id"][5].as_py())
    assert blend([FlavorQuery(query.index, query.weight, query.codes, BitMap(), query.exclude) for query in queries], 5, 0) == []
