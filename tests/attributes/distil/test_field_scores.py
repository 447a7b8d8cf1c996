"""Precision, recall and F1 as computed by hand."""

import pytest

from shelfcode.attributes.distil.field_scores import FieldScore, field_scores, macro_f1
from shelfcode.attributes.schema import FIELDS, Attributes

KNOWN = [
    Attributes(product_type="Oat Milk", key_ingredients=("oats", "salt", "oil"), dietary_tags=("vegan",), format="carton"),
    Attributes(product_type="salsa", key_ingredients=("tomatoes",), format=""),
]
FOUND = [
    Attributes(product_type="oat milk", key_ingredients=("Oats", "water"), format="carton"),
    Attributes(product_type="dip", key_ingredients=("tomatoes",), format="jar"),
]


def test_values_are_counted_over_all_products_and_compared_without_case() -> None:
    scores = field_scores(FOUND, KNOWN)
    # found 3 ingredients, 2 of them right, of 4: P = 2/3, R = 1/2, F1 = 2 * (1/3) / (7/6) = 4/7
    assert scores["key_ingredients"].model_dump() == pytest.approx({"precision": 2 / 3, "recall": 0.5, "f1": 4 / 7, "found": 3, "known": 4})
    assert scores["product_type"] == FieldScore(precision=0.5, recall=0.5, f1=0.5, found=2, known=2)
    # an empty format is no value: one of two found is right, the one known is found
    assert scores["format"].model_dump() == pytest.approx({"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "found": 2, "known": 1})


def test_nothing_found_of_what_there_is_scores_nothing() -> None:
    assert field_scores(FOUND, KNOWN)["dietary_tags"] == FieldScore(precision=1.0, recall=0.0, f1=0.0, found=0, known=1)
    assert field_scores(KNOWN, FOUND)["dietary_tags"] == FieldScore(precision=0.0, recall=1.0, f1=0.0, found=1, known=0)


def test_nothing_found_where_there_is_nothing_is_right() -> None:
    nothing = [Attributes(product_type="")]
    assert field_scores(nothing, nothing)["format"] == FieldScore(precision=1.0, recall=1.0, f1=1.0, found=0, known=0)
    assert macro_f1(field_scores([], [])) == 1.0


def test_values_of_one_product_do_not_count_for_another() -> None:
    one, other = Attributes(product_type="a", key_ingredients=("oats",)), Attributes(product_type="b", key_ingredients=("salt",))
    assert field_scores([one, other], [other, one])["key_ingredients"].f1 == 0.0


def test_own_attributes_are_scored_and_one_that_was_not_found_counts_as_empty() -> None:
    known = [KNOWN[0].model_copy(update={"extra": {"mood": ("cosy", "warm")}}), KNOWN[1].model_copy(update={"extra": {"mood": ()}})]
    found = [FOUND[0].model_copy(update={"extra": {"mood": ("warm", "calm"), "strange": ("x",)}}), FOUND[1]]
    scores = field_scores(found, known)
    assert list(scores) == [*FIELDS, "mood"]
    assert scores["mood"] == FieldScore(precision=0.5, recall=0.5, f1=0.5, found=2, known=2)


def test_the_mean_is_over_the_four_attributes_alone() -> None:
    known = [attributes.model_copy(update={"extra": {"mood": ("cosy",)}}) for attributes in KNOWN]
    assert macro_f1(field_scores(FOUND, known)) == pytest.approx((0.5 + 4 / 7 + 0.0 + 2 / 3) / 4)


def test_two_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        field_scores(FOUND[:1], KNOWN)


def test_what_is_not_known_of_a_product_does_not_count() -> None:
    asked = [("product_type", "format"), ("key_ingredients",)]
    scores = field_scores(FOUND, KNOWN, asked)
    assert scores["product_type"] == FieldScore(precision=1.0, recall=1.0, f1=1.0, found=1, known=1)
    assert scores["key_ingredients"] == FieldScore(precision=1.0, recall=1.0, f1=1.0, found=1, known=1)
    assert scores["format"] == FieldScore(precision=1.0, recall=1.0, f1=1.0, found=1, known=1)
