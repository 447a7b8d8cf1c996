"""What the first level keeps apart: groups of products, codewords for each, and codes that never leave them."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from shelfcode.errors import ShelfcodeError
from shelfcode.evaluation.quality.taxonomy_alignment import label_purity
from shelfcode.flavor import Recipe
from shelfcode.optimisation import Worker
from shelfcode.quantization.constraint import (
    NO_GROUP,
    Grouped,
    codewords_of_groups,
    group_numbers,
    learn_constraint,
)
from shelfcode.quantization.encoding import encode_rows
from shelfcode.quantization.fitting import fit, start
from shelfcode.quantization.rqvae import RQVAE
from shelfcode.quantization.target_search.engagement import engagement
from shelfcode.quantization.target_search.search import find_targets
from shelfcode.quantization.target_search.targets import Targets, unpack_targets

CPU = torch.device("cpu")


def column(*cells: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells)])


@pytest.mark.parametrize(
    ("value", "cells", "groups", "numbers"),
    [
        ("vegan", column(["Vegan", "x"], [], None, ["keto"]), ("vegan", "not vegan", "unknown"), [0, 1, 2, 1]),
        ("vegan", column(["vegan"], ["keto"]), ("vegan", "not vegan"), [0, 1]),
        ("store brand", column("Store  Brand", "Acme", None), ("store brand", "not store brand", "unknown"), [0, 1, 2]),
        (None, column("value", "Premium", "VALUE ", "", None, "unknown"), ("Premium", "VALUE", "unknown"), [1, 0, 1, 2, 2, 2]),
        (None, column(True, None, False), ("false", "true", "unknown"), [1, 2, 0]),
        (None, column(1, 2, 3, 4, 5, 6, 7, 8), ("up to 2", "up to 4", "up to 6", "above 6"), [0, 0, 1, 1, 2, 2, 3, 3]),
        (None, column(1.0, 1.0, 9.0, None, float("nan")), ("up to 1", "above 1", "unknown"), [0, 0, 1, 2, 2]),
        (None, column(5, 5, 5), ("any number",), [0, 0, 0]),
        (None, pa.chunked_array([pa.nulls(2)]), ("unknown",), [0, 0]),
    ],
)
def test_products_are_grouped_by_what_a_column_says(value, cells, groups, numbers):
    constraint = learn_constraint("column", value, cells)
    assert constraint.groups == groups
    assert group_numbers(constraint, cells).tolist() == numbers


def test_values_that_come_later_have_no_group_and_numbers_fall_into_the_bands_that_there_were():
    tiers = learn_constraint("brand_tier", None, column("value", "premium"))
    assert group_numbers(tiers, column("luxury", "premium", None)).tolist() == [NO_GROUP, 0, NO_GROUP]
    prices = learn_constraint("price", None, column(1.0, 2.0, 3.0, 4.0))
    assert group_numbers(prices, column(0.0, 1.5, 400.0)).tolist() == [0, 1, 3]
    with pytest.raises(ShelfcodeError, match=r"price is by bands of numbers, and the column holds string"):
        group_numbers(prices, column("cheap"))


def test_lists_are_asked_for_one_of_their_values():
    with pytest.raises(ShelfcodeError, match=r"holds lists; name one of their values, as in tags\.vegan"):
        learn_constraint("tags", None, column(["vegan"], ["keto", "vegan"]))


def test_every_group_has_a_codeword_and_the_others_go_by_its_share():
    grouped = Grouped(np.repeat([0, 1, 2], [700, 290, 10]), 4)
    counts = np.bincount(codewords_of_groups(grouped, 24, "tier"))
    assert counts[2:].tolist() == [1, 1], "the smallest group, and one that has no product now"
    assert counts.sum() == 24
    assert counts[0] / counts[1] == pytest.approx(700 / 290, rel=0.15)
    assert np.bincount(codewords_of_groups(Grouped(np.array([0, 1, 1]), 2), 3, "tier")).tolist() == [1, 2], "no more than products"
    with pytest.raises(ShelfcodeError, match=r"brand makes 30 groups of products, and the first level has 24 codewords"):
        codewords_of_groups(Grouped(np.arange(30), 30), 24, "brand")


@pytest.fixture(scope="module")
def grouped(planted) -> Grouped:
    """A third of the products, drawn without a look at them, and a group that has none yet."""
    return Grouped((np.random.default_rng(0).random(len(planted.x_NE)) < 1 / 3).astype(np.int64), 3)


@pytest.fixture
def constrained(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"quantizer": recipe.quantizer.model_copy(update={"constraint": "tier"})})


@pytest.fixture
def found(planted, constrained, grouped) -> Targets:
    return find_targets(constrained, planted.x_NE, planted.taxonomy, CPU, grouped=grouped)


def test_targets_never_leave_their_group_though_embeddings_tell_nothing_of_it(planted, constrained, grouped, found, targets):
    assert (found.group_K[found.codes_ML[:, 0]] == grouped.of_N).all()
    assert label_purity(targets.codes_ML[:, 0], grouped.of_N) < 0.75
    assert np.bincount(found.group_K).tolist() == [5, 2, 1]
    packed = unpack_targets(found.pack())
    np.testing.assert_array_equal(packed.group_K, found.group_K)


def test_copies_in_different_groups_are_told_apart(planted, constrained):
    x_NE = np.repeat(planted.x_NE[:200], 2, axis=0)
    apart = Grouped(np.tile([0, 1], 200), 2)
    small = constrained.model_copy(update={"quantizer": constrained.quantizer.model_copy(update={"codebook_sizes": [4, 8, 16]})})
    found = find_targets(small, x_NE, planted.taxonomy.of(np.arange(200).repeat(2)), CPU, grouped=apart)
    assert (found.group_K[found.codes_ML[:, 0]] == apart.of_N).all()


@pytest.fixture
def model(planted, constrained, grouped, found) -> RQVAE:
    state = start(constrained, found, Worker())
    list(fit(constrained, planted.x_NE, planted.taxonomy, found, state, Worker(), stop_at=20))
    return state.model.eval()


def test_codes_stay_within_the_group_that_a_product_has_and_are_free_where_it_has_none(planted, model, grouped, found):
    codes_NL = encode_rows(model, planted.x_NE, grouped.of_N)
    assert (found.group_K[codes_NL[:, 0]] == grouped.of_N).all()
    free_NL = encode_rows(model, planted.x_NE, np.full(len(planted.x_NE), NO_GROUP))
    np.testing.assert_array_equal(free_NL, encode_rows(model, planted.x_NE))
    assert (found.group_K[free_NL[:, 0]] != grouped.of_N).any()


def test_renamed_codewords_keep_their_groups(planted, model, grouped):
    before_NL = encode_rows(model, planted.x_NE, grouped.of_N)
    names = [np.random.default_rng(level).permutation(size) for level, size in enumerate(model.codebooks.sizes)]
    model.codebooks.rename(names)
    after_NL = encode_rows(model, planted.x_NE, grouped.of_N)
    np.testing.assert_array_equal(after_NL, np.stack([name_K[before_NL[:, level]] for level, name_K in enumerate(names)], axis=1))


def test_an_heir_has_the_groups_of_its_parent(planted, model, constrained, grouped):
    heir = constrained.model_copy(update={"stability": "warm"})
    found = find_targets(heir, planted.x_NE, planted.taxonomy, CPU, model, grouped)
    np.testing.assert_array_equal(found.group_K, model.codebooks.group_K)
    assert (found.group_K[found.codes_ML[:, 0]] == grouped.of_N).all()


def test_a_constraint_holds_where_engagement_moves_whole_kinds(planted, constrained, grouped):
    """What is bought together is of both groups: kinds would go to codewords of the other group."""
    rng = np.random.default_rng(0)
    baskets_B4 = np.stack([rng.choice(len(planted.x_NE), 4, replace=False) for _ in range(1500)])
    engaged = engagement([(np.repeat(np.arange(1500), 4), baskets_B4.ravel())])
    found = find_targets(constrained, planted.x_NE, planted.taxonomy, CPU, grouped=grouped, engaged=engaged)
    assert (found.group_K[found.codes_ML[:, 0]] == grouped.of_N).all()
