"""Prices as shops write them: '1.92 EUR', '1.299,00', 'from 12.99'."""

import math
import re

from price_parser import Price

_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_AMOUNT = re.compile(r"\d+(?:[.,']\d+|[ \u00a0\u202f]\d{3}(?!\d))*")
_NEGATIVE = re.compile(r"(?:^|[\s(])[-\u2212]\s*\D{0,4}\d|^\(.*\)$")
_OTHER_UNIT = re.compile(r"%|\u00a2|\bcents?\b|\bct\b", re.IGNORECASE)


def price_of(text: str) -> float | None:
    """The price that a text states, without its currency; None where it states none, several, or one that cannot be a price.

    NaN, infinity and negative amounts are no prices. A plain decimal number counts as a program would read it: '12.999' is a little less
    than 13, while '1.299,00' and '1,299' have their points and commas between thousands.
    """
    text = text.replace("\u2019", "'").strip()
    if _PLAIN.fullmatch(text):
        return sensible_price(float(text))
    amounts = _AMOUNT.findall(text)
    if len(amounts) != 1 or _NEGATIVE.search(text) or _OTHER_UNIT.search(text):
        return None
    small = amounts[0].startswith("0.") and amounts[0].count(".") == 1
    amount = Price.fromstring(amounts[0], decimal_separator="." if small else None).amount
    return None if amount is None else sensible_price(float(amount))


def sensible_price(amount: float) -> float | None:
    """A finite amount that is not negative; None for any other."""
    return amount if math.isfinite(amount) and amount >= 0 else None
