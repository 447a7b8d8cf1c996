import numpy as np
import pytest

from shelfcode.catalog.taxonomy import taxonomy_from_paths
from shelfcode.evaluation.stability.churn import DEPARTMENTS, EXAMPLES, MOVERS, Churn, measure_churn
from shelfcode.evaluation.stability.churn_report import churn_columns, fate_columns


def groups(*sizes_and_codes):
    """Codes of groups of products: (products, old prefix, new prefix), each prefix a tuple."""
    old, new = [], []
    for products, before, after in sizes_and_codes:
        old += [before] * products
        new += [after] * products
    return np.array(old, np.uint16), np.array(new, np.uint16)


def measure(*sizes_and_codes, **options):
    return measure_churn(*groups(*sizes_and_codes), "precision@v0001", 3, 4, **options)


def test_a_product_has_changed_down_to_a_level_where_any_level_above_changed():
    churn = measure((5, (0, 0, 0), (0, 0, 0)), (3, (1, 1, 1), (1, 1, 2)), (1, (2, 2, 2), (2, 3, 2)), (1, (3, 3, 3), (4, 3, 3)))
    assert (churn.against, churn.products, churn.added, churn.removed) == ("precision@v0001", 10, 3, 4)
    assert churn.changed == pytest.approx((0.1, 0.2, 0.5))


def test_codes_that_did_not_change_have_no_churn_at_all():
    codes_NL = np.random.default_rng(0).integers(0, 4, (300, 3))
    churn = measure_churn(codes_NL, codes_NL, "a", 0, 0)
    assert churn.changed == (0, 0, 0)
    assert [(level.moved, level.split, level.merged, level.examples) for level in churn.fates] == [(0, 0, 0, ())] * 2
    assert [level.kept for level in churn.fates] == [4, 16]
    products_S = np.array(churn.moves.products)
    assert (products_S == np.diag(np.diag(products_S))).all()


def test_fates_at_their_limits():
    churn = measure(
        (8, (0, 0), (0, 0)), (2, (0, 0), (9, 9)),  # four fifths stayed: kept
        (8, (1, 0), (11, 0)), (2, (1, 0), (1, 0)),  # four fifths at one other: moved
        (7, (2, 0), (2, 0)), (3, (2, 0), (12, 0)),  # less than that anywhere: split
        (9, (3, 0), (13, 0)),  # too few to be looked at
    )  # fmt: skip
    (level, _) = churn.fates
    assert (level.kept, level.moved, level.split, level.merged) == (1, 1, 1, 0)
    assert [(each.fate, each.prefix, each.products, each.parts) for each in level.examples] == [
        ("moved", "1", 10, (("11", 0.8), ("1", 0.2))),
        ("split", "2", 10, (("2", 0.7), ("12", 0.3))),
    ]


def test_two_prefixes_that_give_most_of_their_products_to_one_merge():
    churn = measure(
        (30, (0, 0), (5, 0)), (12, (1, 0), (5, 0)), (8, (1, 0), (6, 0)), (10, (2, 0), (5, 0)), (10, (2, 0), (6, 0)), (9, (3, 0), (5, 0))
    )
    level = churn.fates[0]
    assert level.merged == 1
    (merged,) = (each for each in level.examples if each.fate == "merged")
    assert (merged.prefix, merged.products) == ("5", 61)
    assert [other for other, _ in merged.parts] == ["0", "1", "2", "3"]
    assert sum(share for _, share in merged.parts) == pytest.approx(1)


def test_half_of_a_prefix_is_not_most_of_it():
    assert measure((30, (0, 0), (5, 0)), (10, (1, 0), (5, 0)), (10, (1, 0), (6, 0))).fates[0].merged == 0
    assert measure((30, (0, 0), (5, 0)), (11, (1, 0), (5, 0)), (10, (1, 0), (6, 0))).fates[0].merged == 1


def test_a_prefix_of_few_products_does_not_merge_with_another():
    assert measure((30, (0, 0), (5, 0)), (9, (1, 0), (5, 0))).fates[0].merged == 0
    assert measure((30, (0, 0), (5, 0)), (10, (1, 0), (5, 0))).fates[0].merged == 1


def test_a_prefix_that_stayed_and_took_another_in_has_merged():
    level = measure((20, (0, 0), (0, 0)), (10, (1, 0), (0, 0))).fates[0]
    assert (level.kept, level.moved, level.merged) == (1, 1, 1)


def test_deeper_prefixes_have_fates_of_their_own():
    second = measure((10, (0, 0), (0, 1)), (10, (0, 1), (0, 0))).fates[1]
    assert (second.level, second.kept, second.moved) == (2, 0, 2)
    assert {each.prefix: each.parts for each in second.examples} == {"0_0": (("0_1", 1.0),), "0_1": (("0_0", 1.0),)}


def test_the_largest_examples_are_told_and_all_are_counted():
    churn = measure(*((10 + number, (number, 0), (100 + number, 0)) for number in range(EXAMPLES + 5)))
    level = churn.fates[0]
    assert level.moved == EXAMPLES + 5
    assert [each.products for each in level.examples] == [10 + number for number in range(EXAMPLES + 4, 4, -1)]


def test_small_parts_of_a_prefix_are_left_out():
    (split,) = measure((50, (0, 0), (0, 0)), (46, (0, 0), (1, 0)), (4, (0, 0), (2, 0))).fates[0].examples
    assert split.parts == (("0", 0.5), ("1", 0.46))


def test_departments_have_their_own_churn_the_largest_first():
    paths = [["tea"]] * 2 + [["bread", "rye"]] * 3 + [None]
    churn = measure((2, (0, 0), (0, 1)), (3, (1, 1), (2, 1)), (1, (3, 3), (4, 4)), taxonomy=taxonomy_from_paths(paths))
    assert [(each.department, each.products, each.changed) for each in churn.departments] == [("bread", 3, (1, 1)), ("tea", 2, (0, 1))]
    assert measure((2, (0, 0), (0, 1))).departments == ()


def test_of_a_flat_catalog_the_largest_departments_are_told():
    sizes = [number + 1 for number in range(DEPARTMENTS + 10)]
    paths = [[f"department {number}"] for number, size in enumerate(sizes) for _ in range(size)]
    churn = measure((len(paths), (0, 0), (0, 0)), taxonomy=taxonomy_from_paths(paths))
    assert [each.products for each in churn.departments] == sizes[: -DEPARTMENTS - 1 : -1]


def test_the_moves_of_first_codewords_are_a_table_of_all_products():
    paths = [["tea"]] * 20 + [["bread"]] * 11 + [None] * 5
    moves = measure((20, (7, 0), (7, 0)), (6, (2, 0), (7, 0)), (5, (2, 0), (2, 0)), (5, (4, 0), (1, 0)),
                    taxonomy=taxonomy_from_paths(paths)).moves  # fmt: skip
    assert moves.codewords == (7, 2, 1, 4)
    assert moves.products == ((20, 0, 0, 0, 0), (6, 5, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 5, 0, 0), (0, 0, 0, 0, 0))
    assert moves.old_departments == ("tea", "bread", None, None)
    assert moves.new_departments == ("tea", "bread", None, None)


def test_of_many_first_codewords_the_largest_have_a_row_and_the_others_one_together():
    rng = np.random.default_rng(0)
    old_NL, new_NL = (np.minimum(rng.geometric(0.02, (20_000, 1)) - 1, 65535) for _ in range(2))
    churn = measure_churn(old_NL, new_NL, "a", 0, 0)
    products_S = np.array(churn.moves.products)
    assert products_S.shape == (MOVERS + 1, MOVERS + 1)
    assert products_S.sum() == 20_000
    first = churn.moves.codewords[0]
    assert products_S[0].sum() == (old_NL == first).sum()
    assert products_S[:, 0].sum() == (new_NL == first).sum()
    assert products_S[-1, -1] > 0
    assert len(churn.model_dump_json()) < 40_000


def test_one_level_is_enough_and_levels_that_one_release_lacks_are_not_compared():
    assert len(measure((10, (0,), (1,))).fates) == 1
    old_NL, new_NL = np.zeros((10, 3), int), np.zeros((10, 2), int)
    assert measure_churn(old_NL, new_NL, "a", 0, 0).changed == (0, 0)


def test_without_a_common_product_there_is_a_reason_and_no_share():
    none_NL = np.empty((0, 3), np.uint16)
    churn = measure_churn(none_NL, none_NL, "a", 5, 6, taxonomy_from_paths([]))
    assert (churn.products, churn.changed, churn.departments, churn.fates, churn.moves) == (0, (), (), (), None)
    assert churn.undefined == {"changed": "the two releases have no product in common"}


def test_churn_survives_a_manifest():
    churn = measure((20, (0, 0), (1, 0)), (20, (1, 0), (1, 0)), taxonomy=taxonomy_from_paths([["tea"]] * 40))
    assert Churn.model_validate(churn.model_dump(mode="json")) == churn
    assert Churn.model_validate_json(churn.model_dump_json()) == churn


def test_columns_have_a_row_a_department_and_one_for_all():
    paths = [["tea"]] * 2 + [["bread"]] * 3
    churn = measure((2, (0, 0), (0, 1)), (3, (1, 1), (2, 1)), taxonomy=taxonomy_from_paths(paths))
    assert churn_columns(churn) == {
        "products": {"bread": "3", "tea": "2", "all products": "5"},
        "L1 changed": {"bread": 1, "tea": 0, "all products": 0.6},
        "L2 changed": {"bread": 1, "tea": 1, "all products": 1},
    }
    assert list(churn_columns(churn, departments=1)["products"]) == ["bread", "all products"]
    assert fate_columns(measure((10, (0, 0), (1, 0)))) == {
        "kept": {"L1": 0, "L2": 0}, "moved": {"L1": 1, "L2": 1}, "split": {"L1": 0, "L2": 0}, "merged": {"L1": 0, "L2": 0},
    }  # fmt: skip
