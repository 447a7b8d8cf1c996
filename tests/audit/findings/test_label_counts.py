"""Products by prefix and label, and by text and label."""

import numpy as np

from shelfcode.audit.findings.label_counts import count_labels, labels_around, take_census
from shelfcode.catalog.taxonomy import NO_LEAF

CODES = np.array([[1, 0]] * 6 + [[1, 1]] * 2 + [[2, 0]], np.uint16)
LABELS = np.array([0, 0, 0, 0, 1, NO_LEAF, 2, 2, 1], np.int32)


def test_keys_with_too_few_products_or_labels_are_not_kept() -> None:
    keys = np.array([7, 7, 7, -3, -3, 9], np.int64)
    labels = np.array([4, 4, 1, 2, 2, NO_LEAF], np.int32)
    assert count_labels(keys, labels).get(7) == {4: 2, 1: 1}
    assert count_labels(keys, labels).get(9) is None
    several = count_labels(keys, labels, products_min=2, labels_min=2)
    assert several.get(7) == {4: 2, 1: 1}
    assert several.get(-3) is None
    assert count_labels(keys[:0], labels[:0]).get(7) is None


def test_a_product_does_not_count_itself_and_its_prefix_is_as_long_as_there_are_enough_products() -> None:
    census = take_census(CODES, (4, 4), LABELS, products_min=3)
    around = labels_around(census, CODES[4], 1)
    assert (around.prefix, around.depth, around.products, around.labels) == ("1_0", 2, 4, ((0, 4),))
    assert around.of(1) == 0
    shorter = labels_around(census, CODES[6], 2)
    assert (shorter.prefix, shorter.products, shorter.labels) == ("1", 6, ((0, 4), (1, 1), (2, 1)))
    whole = labels_around(census, CODES[8], 1)
    assert (whole.prefix, whole.products) == ("", 7)
    unlabelled = labels_around(census, CODES[5], NO_LEAF)
    assert (unlabelled.prefix, unlabelled.products) == ("1_0", 5)


def test_more_levels_than_fit_into_one_integer() -> None:
    codes = np.full((5, 9), 255, np.uint16)
    around = labels_around(take_census(codes, (256,) * 9, np.zeros(5, np.int32), 2), codes[0], 0)
    assert around.depth == 7
    assert around.products == 4
