"""Times in any way that logs write them are one number, and what cannot be a time is told."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.instants import DAY, IN_FUTURE, NO_INSTANT, PER_SECOND, instants, shown
from shelfcode.interactions.session_log import NO_TIME

NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * PER_SECOND
THEN = int(datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC).timestamp()) * PER_SECOND


@pytest.mark.parametrize("values", [
    pa.array([datetime(2017, 1, 1, 11, 53, 26), None]),
    pa.array([datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC), None], pa.timestamp("ns", "America/New_York")),
    pa.array([datetime(2017, 1, 1, 11, 53, 26), None], pa.timestamp("s")).dictionary_encode(),
    pa.array([1483271606, None]),
    pa.array([1483271606, None], pa.int32()),
    pa.array([1483271606000, None]),
    pa.array([1483271606000000, None]),
    pa.array([1483271606.0, float("nan")]),
    pa.array([Decimal("1483271606.00"), None]),
    pa.array(["2017-01-01 11:53:26", None]),
    pa.array(["2017-01-01T11:53:26", " "]),
    pa.array(["2017-01-01T12:53:26+01:00", ""]),
    pa.array(["2017-01-01T11:53:26Z", None]),
    pa.array(["1483271606", None]),
    pa.array([b"1483271606000", None]),
])  # fmt: skip
def test_one_time_in_all_its_spellings(values: pa.Array) -> None:
    at_N, reasons = instants(values, NOW)
    assert at_N.tolist() == [THEN, NO_TIME]
    assert reasons == {}


def test_one_column_may_hold_several_spellings_and_those_that_are_no_time_are_told() -> None:
    texts = ["2017-01-01T11:53:26+00:00", "2017-01-01T11:53:26.5", "20170101", "yesterday", "2017-13-01", "1e300", None]
    at_N, reasons = instants(pa.array(texts), NOW)
    midnight = THEN - (11 * 3600 + 53 * 60 + 26) * PER_SECOND
    assert at_N.tolist() == [THEN, THEN + PER_SECOND // 2, midnight, NO_TIME, NO_TIME, NO_TIME, NO_TIME]
    assert sorted(reasons) == [3, 4, 5]
    assert all(reason.startswith(NO_INSTANT) for reason in reasons.values())


def test_a_date_is_its_midnight_and_tomorrow_is_no_future_but_the_day_after_is() -> None:
    at_N, reasons = instants(pa.array([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]), NOW)
    assert at_N.tolist() == [NOW, NOW + DAY, NOW + 2 * DAY]
    assert reasons == {2: f"{IN_FUTURE}: 2026-01-03T00:00:00+00:00"}


def test_a_number_that_no_calendar_has_is_told_and_a_type_without_times_refused() -> None:
    at_N, reasons = instants(pa.array([float("inf"), 1e17]), NOW)
    assert at_N[0] == NO_TIME
    assert NO_INSTANT in reasons[0]
    assert shown(2**62) == str(2**62)
    with pytest.raises(ShelfcodeError, match="the column of at is a bool"):
        instants(pa.array([True]), NOW)
    assert instants(pa.nulls(2), NOW)[0].tolist() == [NO_TIME] * 2
