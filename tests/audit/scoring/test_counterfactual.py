import numpy as np

from shelfcode.audit.scoring.counterfactual import SHARES, wrong_labels


def test_no_made_up_label_is_the_given_one_and_siblings_are_as_frequent_as_they_should_be():
    rng = np.random.default_rng(0)
    given = rng.integers(12, size=20_000)
    parent = np.arange(12) // 3
    made = wrong_labels(given, np.arange(1.0, 13), parent, rng)
    assert (made != given).all()
    assert ((made >= 0) & (made < 12)).all()
    by_chance = 2 / 11 * (1 - dict(SHARES)["sibling"])
    assert abs((parent[made] == parent[given]).mean() - dict(SHARES)["sibling"] - by_chance) < 0.03


def test_without_siblings_there_still_is_a_wrong_label():
    given = np.array([0, 1] * 50)
    made = wrong_labels(given, np.array([5.0, 5.0]), np.array([-1, -1]), np.random.default_rng(0))
    assert (made == 1 - given).all()
