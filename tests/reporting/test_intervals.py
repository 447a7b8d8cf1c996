import numpy as np

from shelfcode.reporting.intervals import bootstrap_interval, divided


def test_a_ratio_of_nothing_is_undefined_and_one_over_nothing_is_infinite():
    np.testing.assert_array_equal(divided(np.array([1.0, 0.0, 1.0]), np.array([2.0, 0.0, 0.0])), [0.5, np.nan, np.inf])


def test_the_interval_is_made_of_values_and_knows_when_there_is_none():
    assert bootstrap_interval(np.arange(1.0, 1001)) == (26, 975)
    assert bootstrap_interval(np.array([1.0, np.nan, 2.0, 3.0])) == (1, 3)
    assert bootstrap_interval(np.array([1.0, np.nan, np.nan, np.nan, 2.0])) == (1, 2)
    assert bootstrap_interval(np.array([1.0, np.nan, np.nan, np.nan])) is None
    assert bootstrap_interval(np.array([1.0] * 90 + [np.inf] * 10)) is None
    assert bootstrap_interval(np.array([1.0] * 99 + [np.inf])) == (1, 1)
