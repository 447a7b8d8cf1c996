"""Kin under labels that mean the same, and who is asked."""

import numpy as np
import pytest

from shelfcode.audit.scoring.kinship import fit_kinship, likely_leaves
from shelfcode.audit.scoring.views.batch import log_probabilities

LABEL = np.array([0, 0, 1, 1, 2, 2, -1], np.int32)
FOLD = np.array([0, 1, 0, 1, 0, 1, 0], np.int8)
# Leaves 0 and 1 are two shops' names for one kind of product; leaf 2 is another kind.
DRINK, PAPER = [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]
P = np.array([DRINK, DRINK, DRINK, DRINK, PAPER, PAPER, DRINK])


def test_products_are_kin_under_every_label_that_means_the_same_and_under_no_other() -> None:
    posterior = likely_leaves([log_probabilities(P)])
    kinship = fit_kinship(posterior, LABEL, FOLD, 3, 2)
    under = np.stack([kinship.measure(posterior, FOLD, np.full(len(P), leaf)) for leaf in range(3)], axis=1)
    drinks, papers = under[:4], under[4:6]
    assert drinks[:, 0] == pytest.approx(drinks[:, 1], rel=1e-6)
    assert (drinks[:, :2] > 0.99).all()
    assert (drinks[:, 2:] < 0.01).all()
    assert (papers[:, 2:] > 0.99).all()
    assert (papers[:, :2] < 0.01).all()
    assert under[6].tolist() == under[0].tolist()  # one without a label can be asked about any, too


def test_it_is_the_mean_cosine_with_those_of_other_folds() -> None:
    draw = np.random.default_rng(0)
    views = [log_probabilities(draw.dirichlet(np.ones(3), len(P))) for _ in range(2)]
    posterior = likely_leaves(views)
    found = fit_kinship(posterior, LABEL, FOLD, 3, 2).measure(posterior, FOLD, LABEL.clip(min=0))
    unit = [np.exp(view) / np.linalg.norm(np.exp(view), axis=1, keepdims=True) for view in views]
    cosine = sum(each @ each.T for each in unit)
    for product in range(len(P)):
        others = (FOLD[product] != FOLD) & (LABEL[product].clip(min=0) == LABEL)
        assert found[product] == pytest.approx(cosine[product, others].mean(), rel=1e-5)
    one_fold = np.zeros(len(P), np.int8)
    assert not fit_kinship(posterior, LABEL, one_fold, 3, 2).measure(posterior, one_fold, LABEL.clip(min=0)).any()
