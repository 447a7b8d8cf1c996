"""Against scikit-learn, whose function is the reference."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.metrics.cluster import expected_mutual_information as reference

from shelfcode.evaluation.quality.mutual_information import (
    TERMS_PER_CHUNK,
    adjusted_mutual_information,
    contingency,
    expected_mutual_information,
)


@pytest.mark.parametrize(("prefixes", "labels", "products"), [(3, 2, 40), (20, 7, 500), (900, 12, 1000), (5, 300, 4000), (2, 2, 3)])
@pytest.mark.parametrize("related", [True, False])
@pytest.mark.parametrize("terms", [TERMS_PER_CHUNK, 50])
def test_equals_scikit_learn(prefixes, labels, products, related, terms):
    rng = np.random.default_rng(prefixes)
    prefix_N = (rng.random(products) ** 3 * prefixes).astype(np.int64)
    label_N = prefix_N % labels if related else rng.integers(0, labels, products)
    label_N[: products // 4] = rng.integers(0, labels, products // 4)
    label_N[:2] = prefix_N[:2] = [0, 1]
    table = contingency(prefix_N, label_N)
    expected = reference(contingency_matrix(prefix_N, label_N, sparse=True), products)
    assert expected_mutual_information(table.row_R, table.column_C, terms) == pytest.approx(expected, abs=1e-9)
    assert adjusted_mutual_information(table) == pytest.approx(adjusted_mutual_info_score(prefix_N, label_N), abs=1e-8)


def test_the_tails_left_out_do_not_show():
    rng = np.random.default_rng(0)
    prefix_N, label_N = rng.integers(0, 3, 60_000), rng.integers(0, 4, 60_000)
    table = contingency(prefix_N, label_N)
    expected = reference(contingency_matrix(prefix_N, label_N, sparse=True), 60_000)
    assert expected_mutual_information(table.row_R, table.column_C) == pytest.approx(expected, rel=1e-6)


def test_perfect_is_one_and_everyone_alone_is_undefined():
    label_N = np.repeat([4, 9, 2], 30)
    assert adjusted_mutual_information(contingency(label_N * 7, label_N)) == pytest.approx(1)
    assert adjusted_mutual_information(contingency(np.arange(9), np.arange(9))) is None


def test_one_prefix_says_nothing_of_the_labels():
    assert adjusted_mutual_information(contingency(np.zeros(60, dtype=int), np.repeat([0, 1, 2], 20))) == pytest.approx(0, abs=1e-9)
