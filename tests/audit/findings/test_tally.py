"""What all scored products come to."""

import numpy as np
import pytest
from scored_products import scored

from shelfcode.audit.findings.tally import take_tally
from shelfcode.audit.settings import AuditSettings
from shelfcode.catalog.taxonomy import NO_LEAF

LABELS = np.array([0, 0, 1, NO_LEAF], np.int32)


def test_sums_by_label_are_the_same_however_products_are_divided_into_parts() -> None:
    best = [[(0, 0.9), (1, 0.1)], [(1, 0.8), (0, 0.2)], [(1, 1.0), (-1, 0.0)], [(0, 0.6), (1, 0.4)]]
    near = [[(0, 0.9)], [(1, 0.5)], [(0, 0.7)], [(-1, 0.0)]]
    p, given, titles = [0.1, 0.8, 0.0, np.nan], [0.9, 0.2, 1.0, 0.0], [5, 6, 5, 6]
    whole = take_tally([scored(p, given, best, near, titles=titles)], LABELS, 2, AuditSettings(share_min=0.5))
    parts = [scored(p[a:b], given[a:b], best[a:b], near[a:b], titles=titles[a:b], place=a) for a, b in ((0, 1), (1, 4))]
    divided = take_tally(parts, LABELS, 2, AuditSettings(share_min=0.5))
    for tally in (whole, divided):
        np.testing.assert_array_equal(tally.products_P, [2, 1])
        np.testing.assert_allclose(tally.expected_P, [0.9, 0.0])
        np.testing.assert_allclose(tally.variance_P, [0.09 + 0.16, 0.0])
        np.testing.assert_allclose(tally.fit_P, [1.1, 1.0], rtol=1e-6)
        assert dict(zip(tally.pair_M.tolist(), tally.mass_M.round(6).tolist(), strict=True)) == {0: 1.1, 1: 0.9, 3: 1.0}
        assert tally.same_title.get(5) == {0: 1, 1: 1}
        assert tally.same_title.get(6) is None  # one of the two has no label
        assert tally.score_min == pytest.approx(0.1)
        assert np.isnan(tally.popularity_max)
        assert tally.rank(np.array([-9.0, 0.1, 9.0])) == pytest.approx([0.0, 0.5, 1.0])


def test_popularity_is_known_of_some() -> None:
    tally = take_tally([scored([0.1] * 4, [0.9] * 4, [[(0, 0.9)]] * 4, popularity=[np.nan, 3.0, 7.0, np.nan])], LABELS, 2, AuditSettings())
    assert tally.popularity_max == 7.0
