"""How usual a product is among those of a label: other folds are asked, and catalogs with many products a label do not ask at all."""

import numpy as np
import pytest

from shelfcode.audit.scoring.kinship import fit_kinship, likely_leaves
from shelfcode.audit.scoring.typicality import MEMBERS, Typicality, draw_members, high_cosine, prefix_shares, typical_weight
from shelfcode.audit.scoring.views.batch import Batch
from shelfcode.audit.scoring.views.prefixes import fit_prefixes

LABEL = np.array([0, 0, 0, 0, 0, 1, 1, 1, -1], np.int32)
FOLD = np.array([0, 1, 1, 1, 1, 0, 1, 0, 1], np.int8)
CODES = np.array([[1, 1], [1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [3, 1], [1, 1], [3, 3]], np.uint16)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    x_ND = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def batch(x_ND: np.ndarray, fold_N: np.ndarray, codes_NL: np.ndarray) -> Batch:
    none = np.empty((len(x_ND), 0))
    return Batch(fold_N, x_ND, None, (codes_NL,), none.astype(np.int64), none.astype(np.float32), none.astype(bool))


def test_the_cosine_is_the_one_that_a_quarter_of_the_labels_other_products_reach() -> None:
    x_ND = vectors(len(LABEL))
    members = draw_members(x_ND, LABEL, FOLD, 2, seed=0)
    found = high_cosine(batch(x_ND, FOLD, CODES), np.array([0, 0, 1, 1, 1, 1, 0, 1, 0]), members)
    for product, label in ((0, 0), (2, 1), (5, 1), (8, 0)):
        others = np.flatnonzero((label == LABEL) & (FOLD[product] != FOLD))
        cosines = np.sort(x_ND[others] @ x_ND[product])[::-1]
        assert found[product] == pytest.approx(cosines[len(others) // 4], abs=2e-3)
    assert found[1] == pytest.approx(float(x_ND[0] @ x_ND[1]), abs=2e-3)  # the only one of its label in another fold


def test_a_large_label_is_told_by_some_of_its_products() -> None:
    label = np.zeros(500, np.int32)
    members = draw_members(vectors(500), label, np.zeros(500, np.int8), 3, seed=1)
    assert members.start_U.tolist() == [0, MEMBERS, MEMBERS, MEMBERS]
    nothing = high_cosine(batch(vectors(4), np.zeros(4, np.int8), CODES[:4]), np.array([0, 1, 2, 0]), members)
    assert nothing.tolist() == [0, 0, 0, 0]  # all are of the asking products' own fold, or there are none


def test_shares_are_those_of_other_folds_drawn_towards_the_catalogs() -> None:
    view = fit_prefixes("precision", 0, CODES, LABEL, FOLD, 2, 2, strength=1.0)
    one, two = prefix_shares(batch(vectors(len(LABEL)), FOLD, CODES), np.zeros(len(LABEL), np.int64), view)
    # Of fold 1 are four products of leaf 0, two of them under prefix 1 and one under 1_1, and one of leaf 1, under 3.
    assert one[0] == pytest.approx((2 + 3 * 2 / 5) / (4 + 3))
    assert two[0] == pytest.approx((1 + 3 * 1 / 5) / (4 + 3))
    assert one[5] == pytest.approx((0 + 3 * 1 / 5) / (4 + 3))
    unknown = batch(vectors(1), np.zeros(1, np.int8), np.array([[9, 9]], np.uint16))
    assert prefix_shares(unknown, np.array([0]), view)[0].tolist() == [0]


@pytest.mark.parametrize(("products", "found", "counts"), [(40, False, True), (40, True, False), (20, False, False), (4000, False, False)])
def test_it_counts_where_labels_of_a_few_products_are_not_the_likeliest(products: int, found: bool, counts: bool) -> None:
    label = np.arange(products, dtype=np.int32) % 4
    assert (typical_weight(label, label if found else (label + 1) % 4, 4) > 0) == counts
    assert typical_weight(np.full(products, -1), label, 4) == 0


def test_products_are_more_usual_under_their_own_label_by_shares_and_by_kin() -> None:
    label, fold = np.arange(40, dtype=np.int32) % 4, (np.arange(40) // 4 % 2).astype(np.int8)
    codes = np.stack([label, fold], axis=1).astype(np.uint16)
    view = fit_prefixes("precision", 0, codes, label, fold, 4, 2, strength=1.0)
    x_ND, asked = vectors(40), batch(vectors(40), fold, codes)
    log_p_VBU = np.stack([np.zeros((40, 4), np.float32), view.log_posterior(asked)])
    kinship = fit_kinship(likely_leaves([log_p_VBU[1]]), label, fold, 4, 2)
    typicality = Typicality(draw_members(x_ND, label, fold, 4, seed=0), (view,), kinship, (1,), 1.0)
    _, *right = typicality.measures(asked, log_p_VBU, label)
    _, *wrong = typicality.measures(asked, log_p_VBU, (label + 1) % 4)
    assert all(own.min() > other.max() for own, other in zip(right, wrong, strict=True))
