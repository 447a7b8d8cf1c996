"""When something happened, as logs write it: Arrow's times and dates, ISO 8601 text, and numbers since 1970."""
# Tensor suffixes: docs/concepts.md#tensor-suffixes

import contextlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shelfcode.catalog.cells.arrow_types import is_text, plain
from shelfcode.errors import ShelfcodeError
from shelfcode.interactions.session_log import NO_TIME

PER_SECOND = 1_000_000
"""Times are counted in microseconds, so that events of one second stay in their order."""

DAY = 86_400 * PER_SECOND

NO_INSTANT = "at is no time"
IN_FUTURE = "at is in the future"

_SMALLEST_OF_UNIT = (1e11, 1e14, 1e17)
"""From where on a number counts milliseconds, microseconds, nanoseconds: as seconds it would be in the year 5138 or later."""

_NUMBER = r"^-?(\d{1,7}|\d{9,})(\.\d*)?([eE]\+?\d+)?$"
"""Text that is a number: not eight digits, which are a date such as 20260131."""

_LARGEST = 2.0**62
_FURTHEST = {"s": 2**62 // 10**6, "ms": 2**62 // 10**3}
"""Times of these units that still are a number of microseconds."""


def instants(values: pa.Array, now: int) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Microseconds since 1970 of each value: int64[N], NO_TIME where there is none; and why a row's value cannot be used.

    Times without a zone, and dates, which are their midnight, are UTC. A number counts seconds, or milliseconds, microseconds or
    nanoseconds where it is too large for seconds.

    Args:
        values: of any type that holds times.
        now: microseconds since 1970; what is later than a day from then is in the future, and refused.

    Raises:
        ShelfcodeError: the values' type holds no times.
    """
    values, reasons = plain(values), dict[int, str]()
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), NO_TIME), reasons
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        at_N = _of_times(values)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        at_N = _of_numbers(values.cast(pa.float64(), safe=False), reasons)
    elif is_text(kind):
        at_N = _of_texts(values, reasons)
    else:
        raise ShelfcodeError(f"the column of at is a {kind}; expected times, dates, ISO 8601 text, or numbers of seconds since 1970")
    for row in np.flatnonzero(at_N > now + DAY).tolist():
        reasons.setdefault(row, f"{IN_FUTURE}: {shown(int(at_N[row]))}")
    return at_N, reasons


def shown(at: int) -> str:
    """A time as people write it; past the years that a calendar has, its number."""
    try:
        return datetime.fromtimestamp(at // PER_SECOND, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(at)


def _of_times(values: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("s"))
    furthest = _FURTHEST.get(values.type.unit)
    if furthest:  # what is beyond would come out as some other time
        counts = pc.min_element_wise(values.cast(pa.int64()), furthest, skip_nulls=False)
        counts = pc.max_element_wise(counts, -furthest, skip_nulls=False)
        values = counts.cast(values.type)
    counts = values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64())
    return pc.fill_null(counts, NO_TIME).to_numpy(zero_copy_only=False)


def _of_numbers(values: pa.Array, reasons: dict[int, str]) -> NDArray[np.int64]:
    x_N = pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False)
    known_N = ~np.isnan(x_N)  # NaN is a gap in a column of numbers
    size_N = np.abs(np.where(known_N, x_N, 0))
    scaled_N = np.where(known_N, x_N, 0) * (PER_SECOND / 1e3 ** sum((size_N >= least).astype(float) for least in _SMALLEST_OF_UNIT))
    finite_N = np.abs(scaled_N) < _LARGEST
    for row in np.flatnonzero(known_N & ~finite_N).tolist():
        reasons[row] = f"{NO_INSTANT}: {x_N[row]}"
    known_N &= finite_N
    return np.where(known_N, np.rint(np.where(finite_N, scaled_N, 0)).astype(np.int64), NO_TIME)


def _of_texts(values: pa.Array, reasons: dict[int, str]) -> NDArray[np.int64]:
    try:
        texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    except pa.ArrowInvalid:  # not UTF-8
        texts = pa.array([None if cell is None else cell.decode("utf-8", "replace").strip() for cell in values.to_pylist()], pa.string())
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        with contextlib.suppress(pa.ArrowInvalid):  # another way of writing times, or several, or none
            return _of_times(texts.cast(kind))
    number_N = pc.fill_null(pc.match_substring_regex(texts, _NUMBER), False).to_numpy(zero_copy_only=False)
    at_N = _of_numbers(pc.if_else(pa.array(number_N), texts, None).cast(pa.float64()), reasons)
    for row in np.flatnonzero(~number_N & texts.is_valid().to_numpy(zero_copy_only=False)).tolist():
        text = texts[row].as_py()
        try:
            at_N[row] = _since_1970(datetime.fromisoformat(text))
        except ValueError:
            reasons[row] = f"{NO_INSTANT}: {text[:40]!r}"
    return at_N


def _since_1970(at: datetime) -> int:
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * PER_SECOND + since.microseconds
