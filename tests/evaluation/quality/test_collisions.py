import numpy as np
import pytest

from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.evaluation.quality.collisions import Collisions, collisions, cosines_with_others, draw_compared, mean_cosine


def collide(x_ND, codes, sizes=(9, 9), **options):
    codes_NL = np.array(codes)
    compared = draw_compared(prefix_numbers(codes_NL, sizes)[-1], np.random.default_rng(0), **options)
    return collisions(np.asarray(x_ND, dtype=np.float32), codes_NL, compared)


def at_cosine(cosine):
    """A unit vector with this cosine to [1, 0]."""
    return [cosine, np.sqrt(1 - cosine**2)]


def test_mean_cosine_is_that_of_all_pairs():
    x_MD = np.random.default_rng(0).standard_normal((20, 5))
    x_MD /= np.linalg.norm(x_MD, axis=1, keepdims=True)
    expected = (x_MD @ x_MD.T)[np.triu_indices(20, 1)].mean()
    assert mean_cosine(x_MD) == pytest.approx(expected)


def test_cosines_with_others_leave_the_product_itself_out():
    right, left, up = [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]
    assert cosines_with_others(np.array([right, right, left, up])) == pytest.approx([0, 0, -2 / 3, 0])
    rows_MD = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    rows_MD /= np.linalg.norm(rows_MD, axis=1, keepdims=True)
    cosine_MM = rows_MD.astype(float) @ rows_MD.T.astype(float)
    expected_M = [np.delete(row, number).mean() for number, row in enumerate(cosine_MM)]
    assert cosines_with_others(rows_MD) == pytest.approx(expected_M, abs=1e-12)


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


@pytest.mark.parametrize(("cosine", "unlike"), [(0.79, 2), (0.81, 0), (-0.5, 2), (1.0, 0)])
def test_two_products_are_unlike_below_the_limit(cosine, unlike):
    result = collide([[1, 0], at_cosine(cosine), [0, 1]], [[1, 1], [1, 1], [2, 2]])
    assert (result.unlike_share, result.unlike_products) == (unlike / 2, unlike)


def test_unlike_counts_products_not_ids():
    right, up = [1.0, 0.0], [0.0, 1.0]
    # One stranger among ten: the nine others have 8/9 with theirs. Two near-twins at 0.9, two strangers, and one product alone.
    x_ND = [*[right] * 9, up, right, at_cosine(0.9), right, up, up]
    result = collide(x_ND, [*[[1, 1]] * 10, [2, 0], [2, 0], [3, 0], [3, 0], [4, 0]])
    assert result.unlike_products == 3
    assert result.unlike_share == pytest.approx(3 / 14)
    assert "unlike_share" not in result.undefined


def test_unlike_share_weighs_a_sampled_id_by_all_its_products():
    right, up = [1.0, 0.0], [0.0, 1.0]
    # 2,000 alike on one ID, of which 500 are compared, and 50 pairs of strangers: 100 of 2,100, not 100 of 600.
    pairs = [[2, number] for number in range(50) for _ in range(2)]
    result = collide([*[right] * 2000, *[right, up] * 50], [*[[1, 1]] * 2000, *pairs], (9, 50))
    assert result.sampled_ids == 51
    assert result.unlike_products == 100
    assert result.unlike_share == pytest.approx(100 / 2100)


def test_strangers_in_a_sampled_id_are_scaled_up():
    x_ND = np.tile([1.0, 0.0], (2000, 1))
    x_ND[::20] = [0.0, 1.0]
    result = collide(x_ND, np.zeros((2000, 2), dtype=int))
    assert result.unlike_products == pytest.approx(100, abs=60)
    assert result.unlike_products % 4 == 0, "each of the 500 compared stands for four"


def test_ids_that_were_not_drawn_count_by_those_that_were():
    # 400 pairs, a fourth of them strangers.
    x_ND = np.array([[1.0, 0.0], [1.0, 0.0]] * 300 + [[1.0, 0.0], [0.0, 1.0]] * 100)
    codes = [[number // 40, number % 40] for number in range(400) for _ in range(2)]
    result = collide(x_ND, codes, (10, 40), sampled_products=200)
    assert result.sampled_ids == 100
    assert result.unlike_share == pytest.approx(1 / 4, abs=0.12)
    assert result.unlike_products == round(result.unlike_share * 800)


def test_no_collision_is_none_with_a_reason():
    result = collide(np.eye(3), [[0, 0], [0, 1], [1, 0]])
    assert (result.mean_cosine, result.largest, result.sharing_share, result.most_products) == (None, 1, 0.0, ())
    assert (result.unlike_share, result.unlike_products) == (None, None)
    assert result.undefined == dict.fromkeys(
        ("mean_cosine", "mean_cosine_low", "unlike_share", "unlike_products"), "no two products share an ID"
    )


def test_collisions_written_before_there_was_an_unlike_share_can_be_read():
    figures = collide([[1, 0], [0, 1]], [[1, 1], [1, 1]]).model_dump(mode="json", exclude={"unlike_share", "unlike_products"})
    assert Collisions.model_validate(figures).unlike_share is None


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
