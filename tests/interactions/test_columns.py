"""Labels in any spelling, blank texts, and times in any unit."""

from datetime import UTC, date, datetime, time

import numpy as np
import pyarrow as pa
import pytest

from shelfcode.interactions.columns import EXACT, LABELS, label_places, order_values, trimmed


def test_a_label_is_known_by_its_letter_or_its_word_in_any_case():
    labels = pa.chunked_array([["E", "substitute"], ["COMPLEMENT", "i", "Exact", "perfect"]])
    assert label_places(labels).tolist() == [0, 1, 2, 3, 0, -1]
    assert LABELS[EXACT] == "E"


def test_white_space_around_a_text_does_not_count_and_blank_is_null():
    assert trimmed(pa.array([" a b ", "\t", "", None])).to_pylist() == ["a b", None, None, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_are_seconds_since_1970_whatever_their_unit_and_zone(unit, zone):
    at = pa.array([datetime(1970, 1, 2, tzinfo=UTC if zone else None), None], pa.timestamp(unit, zone))
    np.testing.assert_array_equal(order_values(at), [86400, np.nan])


@pytest.mark.parametrize("kind", [pa.int16(), pa.int64(), pa.float32()])
def test_numbers_stay_what_they_are(kind):
    np.testing.assert_array_equal(order_values(pa.chunked_array([pa.array([3, None, 1], kind)])), [3, np.nan, 1])


def test_a_date_is_its_midnight_and_what_is_no_order_is_none():
    assert order_values(pa.array([date(1970, 1, 3)])).tolist() == [2 * 86400]
    assert [order_values(pa.array([value])) for value in ("first", time(1), True, [1])] == [None] * 4
