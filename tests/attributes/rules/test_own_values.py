"""Without a model, a recipe's own attribute takes those values of its closed list that the text names."""

import pytest

from shelfcode.attributes.rules.own_values import extract_extra
from shelfcode.attributes.settings import ExtraAttribute


def values(title: str, description: str | None = None, *, known: list[str], limit: int = 3) -> tuple[str, ...]:
    return extract_extra(title, description, {"extra": ExtraAttribute(description="d", values=known, limit=limit)})["extra"]


@pytest.mark.parametrize(
    ("title", "description", "found"),
    [
        ("Pizza-Night Dough", None, ("pizza night",)),
        ("Dough", "For breakfast, and for PIZZA NIGHT.", ("breakfast", "pizza night")),
        ("Breakfast Dough for pizza night", "Breakfast!", ("breakfast", "pizza night")),
        ("Pizza for the night", None, ()),
        ("Breakfasts", None, ()),
        ("Pizza", "Night cream", ()),
        ("", None, ()),
        ("🍕 pizza night 🍕", "", ("pizza night",)),
    ],
)
def test_values_come_in_the_order_in_which_the_text_names_them(title: str, description: str | None, found: tuple[str, ...]) -> None:
    assert values(title, description, known=["pizza night", "breakfast"]) == found


def test_the_longest_of_two_values_is_meant() -> None:
    assert values("dark chocolate bar", known=["chocolate", "dark chocolate"]) == ("dark chocolate",)


def test_no_more_values_are_found_than_the_limit() -> None:
    assert values("c b a", known=["a", "b", "c"], limit=2) == ("c", "b")


def test_a_value_in_another_language_is_found_with_and_without_its_accents() -> None:
    assert values("Crème fraîche", known=["crème"]) == values("creme fraiche", known=["crème"]) == ("crème",)


def test_a_value_without_a_word_is_never_found() -> None:
    assert values("🥜 bar!", known=["🥜", "bar"]) == ("bar",)


def test_an_attribute_without_a_closed_list_stays_empty_and_each_has_values_of_its_own() -> None:
    extra = {
        "mood": ExtraAttribute(description="how it is praised"),
        "meal": ExtraAttribute(description="when it is eaten", values=["breakfast"]),
        "room": ExtraAttribute(description="where it is used", values=["kitchen"]),
    }
    assert extract_extra("Cosy breakfast kitchen", None, extra) == {"mood": (), "meal": ("breakfast",), "room": ("kitchen",)}


def test_no_own_attributes_have_no_values() -> None:
    assert extract_extra("Breakfast", None, {}) == {}
