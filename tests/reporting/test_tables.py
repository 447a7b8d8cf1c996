import pytest

from shelfcode.reporting.tables import (
    interval_text,
    number_text,
    rare_share_text,
    ratio_text,
    ratio_with_interval,
    share_text,
    times_text,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (share_text, {0.8931: "89.3%", 0.0: "0.0%"}),
        (rare_share_text, {0.5: "50.0%", 0.05: "5.00%", 0.0: "0.0%", 0.00123: "0.12%", 0.000045: "0.0045%", None: "not defined"}),
        (times_text, {2.352: "2.4x"}),
        (number_text, {0.35569: "0.356", -0.1: "-0.100"}),
        (ratio_text, {0.0: "0.00", 1.234: "1.23", 12.34: "12.3", 12345.6: "12,346", None: "not defined"}),
    ],
)
def test_a_figure_has_the_digits_that_matter(text, values):
    assert {value: text(value) for value in values} == values


def test_an_interval_stands_in_brackets_where_there_is_one():
    assert interval_text(8.123, 123.4) == "8.12 to 123"
    assert ratio_with_interval(10.0, 8.123, 123.4) == "10.0 [8.12 to 123]"
    assert interval_text(None, 2.0) == ""
    assert ratio_with_interval(1.0, None, None) == "1.00"
