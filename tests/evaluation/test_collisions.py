import numpy as np
import pytest

from shelfcode.evaluation.collisions import collisions, mean_cosine
from shelfcode.evaluation.prefixes import prefix_numbers


def collide(x_ND, codes, sizes=(9, 9), **options):
    codes_NL = np.array(codes)
    return collisions(
        np.asarray(x_ND, dtype=np.float32), codes_NL, prefix_numbers(codes_NL, sizes)[-1], np.random.default_rng(0), **options
    )


def test_mean_cosine_is_that_of_all_pairs():
    x_MD = np.random.default_rng(0).standard_normal((20, 5))
    x_MD /= np.linalg.norm(x_MD, axis=1, keepdims=True)
    expected = (x_MD @ x_MD.T)[np.triu_indices(20, 1)].mean()
    assert mean_cosine(x_MD) == pytest.approx(expected)


def test_figures_worked_out_by_hand():
    right, up = [1.0, 0.0], [0.0, 1.0]
    result = collide([right, right, up, right, right, up, up], [[1, 1], [1, 1], [1, 1], [2, 0], [2, 1], [0, 3], [2, 0]])
    assert (result.distinct_ids, result.distinct_share, result.largest) == (4, 4 / 7, 3)
    assert result.sharing_share == pytest.approx(5 / 7)
    assert [(size.least, size.ids, size.products) for size in result.sizes if size.ids] == [(1, 2, 2), (2, 1, 2), (3, 1, 3)]
    assert [(worst.semantic_id, worst.products, worst.mean_cosine) for worst in result.most_products] == [
        ("1_1", 3, pytest.approx(1 / 3)),
        ("2_0", 2, pytest.approx(0)),
    ]
    assert [worst.semantic_id for worst in result.least_alike] == ["2_0", "1_1"]
    assert result.mean_cosine == pytest.approx(1 / 6)
    assert result.most_products[0].examples[0] in (0, 1)
    assert result.most_products[0].examples[1] == 2


def test_no_collision_is_none_with_a_reason():
    result = collide(np.eye(3), [[0, 0], [0, 1], [1, 0]])
    assert (result.mean_cosine, result.largest, result.sharing_share, result.most_products) == (None, 1, 0.0, ())
    assert result.undefined["mean_cosine"] == "no two products share an ID"


def test_a_collapsed_catalog_is_sampled_not_compared_whole(clustered):
    result = collide(clustered.x_ND, np.zeros((len(clustered.x_ND), 2), dtype=int))
    whole = mean_cosine(clustered.x_ND)
    assert (result.distinct_ids, result.largest, result.sizes[-1].products) == (1, 1000, 1000)
    assert result.mean_cosine == pytest.approx(whole, abs=0.03)
    assert len(result.most_products[0].examples) == 5


def test_sampling_stops_at_the_cap_and_follows_the_seed(clustered):
    results = [collide(clustered.x_ND, clustered.codes_NL, clustered.sizes, sampled_products=100) for _ in range(2)]
    assert results[0] == results[1]
    assert 5 < results[0].sampled_ids < 60
