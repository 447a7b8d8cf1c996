"""Amounts as shops write them, and what is no amount."""

import pytest

from shelfcode.catalog.cells.prices import price_of


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.92 EUR", 1.92), ("1.92EUR", 1.92), ("EUR 5", 5), ("$5", 5), ("12,99", 12.99), ("1.299,00", 1299), ("1,299.00", 1299),
        ("1,299", 1299), ("12.999", 12.999), ("0.125 EUR", 0.125), ("1 299,00 €", 1299), ("1\u202f299,00\u00a0€", 1299),

        ("CHF 1\u2019299.-", 1299),
        ("1299.-", 1299), ("₹1,29,900.00", 129900), ("R$ 1.299,00", 1299), ("from 12.99", 12.99), ("1.50/kg", 1.5), (" 3.5 ", 3.5),
        ("1e3", 1000), ("0", 0), ('{"amount": 12.99, "currency": "EUR"}', 12.99),
    ],
)  # fmt: skip
def test_an_amount_is_read_however_it_is_written(text: str, amount: float) -> None:
    assert price_of(text) == pytest.approx(amount)


@pytest.mark.parametrize(
    "text",
    ["nan", "NaN", "inf", "Infinity", "1e400", "-1", "-5 EUR", "EUR -5.00", "\u22125", "(5.00)", "0x10", "1_000", "None", "—", "cheap", "",
     "10-20", "12.99 - 15.99", "2 for 5", "50%", "99 cents"],
)  # fmt: skip
def test_what_states_no_amount_or_several_is_no_price(text: str) -> None:
    assert price_of(text) is None
