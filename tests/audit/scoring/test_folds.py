import numpy as np

from shelfcode.audit.scoring.folds import folds_of, products_to_fit, text_keys
from shelfcode.audit.scoring.settings import ScoringSettings
from shelfcode.catalog.taxonomy import NO_LEAF


def test_copies_share_a_fold_and_folds_are_of_a_size():
    keys = text_keys(["Oat  Milk", "oat milk", *map(str, range(4000))])
    folds = folds_of(keys, 4, seed=0)
    assert keys[0] == keys[1]
    assert folds[0] == folds[1]
    assert np.bincount(folds, minlength=4).min() > 900
    assert (folds != folds_of(keys, 4, seed=1)).mean() > 0.5


def test_a_small_catalog_is_fitted_whole():
    keys = np.arange(10, dtype=np.uint64)
    assert products_to_fit(keys, np.zeros(10, np.int32), ScoringSettings()).tolist() == list(range(10))


def test_of_a_large_catalog_every_leaf_is_fitted_whatever_the_order():
    rng = np.random.default_rng(0)
    keys, leaf = rng.integers(2**63, size=5000, dtype=np.uint64), np.zeros(5000, np.int32)
    leaf[:40] = np.repeat(np.arange(1, 9), 5)
    leaf[40:60] = NO_LEAF
    settings = ScoringSettings(fit_products=300, fit_per_leaf=4)
    rows = products_to_fit(keys, leaf, settings)
    assert len(rows) == 300
    assert (np.diff(rows) > 0).all()
    assert (np.bincount(leaf[rows][leaf[rows] >= 0], minlength=9)[1:] >= 4).all()
    shuffled = rng.permutation(5000)
    again = products_to_fit(keys[shuffled], leaf[shuffled], settings)
    assert set(keys[shuffled][again].tolist()) == set(keys[rows].tolist())
