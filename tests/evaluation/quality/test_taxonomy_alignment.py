import numpy as np
import pytest

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.prefixes import prefix_numbers
from shelfcode.evaluation.quality.taxonomy_alignment import label_purity, taxonomy_alignment

PATHS = [["food", "tea"], ["food", "tea"], ["food", "jam"], ["home"], ["home", "soap", "bar"], None]


def align(codes, paths, sizes=(9, 9)):
    return taxonomy_alignment(prefix_numbers(np.array(codes), sizes), taxonomy_from_paths(paths))


def test_purity_worked_out_by_hand_on_paths_of_uneven_depth():
    result = align([[0, 0], [0, 1], [0, 1], [0, 2], [1, 0], [1, 0]], PATHS)
    assert (result.tree_depth, result.leaves, result.products_without_path, len(result.cells)) == (3, 4, 1, 8)
    top = result.at(1, 1)  # prefix 0: food food food home; prefix 1: home
    assert (top.products, top.prefixes, top.labels, top.purity, top.purity_of_one) == (5, 2, 2, 4 / 5, 3 / 5)
    second = result.at(1, 2)  # "home" alone has no second name: prefix 0: tea tea jam; prefix 1: soap
    assert (second.products, second.purity) == (4, 3 / 4)
    leaf = result.at(2, "leaf")  # tea | tea jam | home | bar
    assert (leaf.products, leaf.prefixes, leaf.labels, leaf.purity) == (5, 4, 4, 4 / 5)
    assert result.at(1, 3).products == 1
    assert result.at(1, 3).ami is None
    assert result.at(1, 3).undefined == {"ami": "the products have one label only"}
    assert result.at(3, 1) is None


def test_perfect_codes_have_purity_and_information_one():
    paths = [[f"department {number // 10}", f"aisle {number // 5}"] for number in range(60)]
    result = align([[number // 10, number // 5 % 2] for number in range(60)], paths)
    for cell in (result.at(1, 1), result.at(2, 2), result.at(2, "leaf")):
        assert (cell.purity, cell.ami) == (1.0, pytest.approx(1))
    assert result.at(1, 2).purity == 0.5


def test_shuffled_codes_have_no_information(clustered):
    shuffled = np.random.default_rng(0).permutation(clustered.codes_NL)
    good = taxonomy_alignment(prefix_numbers(clustered.codes_NL, clustered.sizes), clustered.taxonomy)
    bad = taxonomy_alignment(prefix_numbers(shuffled, clustered.sizes), clustered.taxonomy)
    for prefix_depth in (1, 2, 3):
        assert abs(bad.at(prefix_depth, 1).ami) < 0.02
        assert good.at(prefix_depth, 1).ami > 5 * abs(bad.at(prefix_depth, 1).ami)
    # Purity alone does not see it: with prefixes of a few products each, chance is pure too.
    assert bad.at(3, 1).purity > bad.at(1, 1).purity + 0.1


def test_leaf_equals_the_deepest_depth_only_where_all_paths_are_that_long():
    even = align([[0, 0], [0, 1], [1, 0]], [["a", "b"], ["a", "c"], ["d", "e"]])
    assert even.at(1, "leaf").model_dump(exclude={"label_depth"}) == even.at(1, 2).model_dump(exclude={"label_depth"})
    uneven = align([[0, 0], [0, 1], [1, 0]], [["a"], ["a", "c"], ["d", "e"]])
    assert (uneven.at(1, 2).products, uneven.at(1, "leaf").products) == (2, 3)


@pytest.mark.parametrize("paths", [[None, None], [["a"], ["a"]], [["a"], None]])
def test_no_tree_no_result(paths):
    assert align([[0, 0], [1, 1]], paths) is None


def test_no_taxonomy_no_result():
    assert taxonomy_alignment(prefix_numbers(np.zeros((3, 1), dtype=int), (2,)), None) is None


def test_a_taxonomy_of_other_products_is_refused():
    with pytest.raises(ValueError, match="6 products, the semantic IDs 2"):
        align([[0, 0], [1, 1]], PATHS)


def test_purity_is_the_share_of_products_in_the_largest_group_of_their_codeword():
    assert label_purity(np.array([3, 3, 3, 5, 5]), np.array([0, 0, 1, 1, -1])) == pytest.approx(3 / 4)
