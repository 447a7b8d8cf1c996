"""What a page of the review is asked to show: filters and places in lists, as its address has them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shelfcode.audit.decisions.decision import Filters
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.review.card_view import STATE_WORDS, issue_words
from shelfcode.serving.review.rendering import amount, percent
from shelfcode.serving.review.requests import FilterBody, checked

LIMIT = 50
NAMES = ("department", "issue", "brand", "pattern", "state", "p_min", "popularity_min", "text")


@dataclass(frozen=True)
class Asked:
    """Filters, and how they are written in a form and an address.

    Attributes:
        fields: of the address; the probability is in percent there.
        told: each filter in words.
        action: the address that the form leads to.
        with_state: whether the page can be filtered by state, too.
    """

    filters: Filters
    fields: dict[str, str]
    told: list[str]
    action: str
    with_state: bool = False

    @property
    def percent(self) -> str:
        return self.fields.get("p_min", "")

    @property
    def popularity(self) -> str:
        return self.fields.get("popularity_min", "")


def asked(fields: Mapping[str, str], action: str, with_state: bool = False) -> Asked:
    """The filters of an address or a form; whatever else stands in it is ignored.

    Raises:
        Problem: a filter is not what it should be; says which.
    """
    names = [name for name in NAMES if with_state or name != "state"]
    given = {name: fields[name].strip() for name in names if fields.get(name, "").strip()}
    values: dict[str, Any] = dict(given)
    if "p_min" in given:
        values["p_min"] = _number(given, "p_min") / 100
    if "popularity_min" in given:
        values["popularity_min"] = _number(given, "popularity_min")
    filters = checked(FilterBody, values).filters()
    return Asked(filters, given, _words(filters), action, with_state)


def first_row(fields: Mapping[str, str]) -> int:
    """Where a list begins.

    Raises:
        Problem: that is no number.
    """
    return whole_number(fields, "first", most=10**9)


def whole_number(fields: Mapping[str, str], name: str, most: int, default: int = 0) -> int:
    """A field that is a number from 0 on, and no more than `most`.

    Raises:
        Problem: it is none.
    """
    text = fields.get(name, "") or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= most):
        raise Problem("invalid-request", f"{name} is {text[:40]!r}; it is a whole number from 0 to {most}")
    return int(text)


def _number(fields: Mapping[str, str], name: str) -> float:
    try:
        return float(fields[name].replace(",", "."))
    except ValueError:
        raise Problem("invalid-request", f"{name} is {fields[name][:40]!r}; it is a number, such as 50") from None


def _words(filters: Filters) -> list[str]:
    words: dict[str, Callable[[Any], str]] = {
        "department": "{}".format, "issue": issue_words, "brand": "brand {}".format, "pattern": lambda _: "one pattern",
        "state": lambda state: STATE_WORDS.get(state, state), "p_min": lambda p: f"at least {percent(p)} likely wrong",
        "popularity_min": lambda least: f"popularity from {amount(least)}", "text": "“{}”".format,
    }  # fmt: skip
    return [words[name](value) for name, value in asdict(filters).items() if value not in (None, "")]
