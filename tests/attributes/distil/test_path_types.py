"""A type that the rules misread is corrected by the category path, in words of the title."""

import pytest

from shelfcode.attributes.distil.path_types import title_words, type_by_path


def corrected(read: str, title: str, *path: str) -> str:
    return type_by_path(read, title_words(title, []), path)


@pytest.mark.parametrize(
    ("read", "title", "path", "expected"),
    [
        # the path agrees: the rules' words stay
        ("dress shirt", "Mens Dress Shirt Long Sleeve", ("Shirts", "Casual Button-Down Shirts"), "dress shirt"),
        # the leaf is in the title, whole or by its head alone
        ("cooler", "NewAir Beverage Refrigerator Cooler", ("Freezers", "Beverage Refrigerators"), "beverage refrigerator"),
        ("toilet seat", "Upright Vacuum for Toilet Seats", ("Vacuums", "Robotic Vacuums"), "vacuum"),
        # the last name says nothing that the title has, the one before does
        ("controller", "Digital Thermostat Controller", ("Thermostats", "Programmable"), "thermostat"),
        # either half of "A & B"
        ("ornament", "Velvet Bow Ornament Ribbon", ("Craft", "Ribbons & Trims"), "ribbon"),
        # the title has no word of the path: nothing to correct by
        ("carburetor", "Pro Chaser Carburetor", ("Power", "Generators"), "carburetor"),
    ],
)
def test_a_type_is_corrected_where_the_title_has_what_the_path_says(read: str, title: str, path: tuple[str, ...], expected: str) -> None:
    assert corrected(read, title, *path) == expected


def test_a_product_without_a_path_keeps_the_type_that_was_read() -> None:
    assert type_by_path("soap", ["bar", "soap"], ()) == "soap"


def test_a_brand_is_no_word_of_a_title() -> None:
    assert title_words("Ribbon Works Satin Bow, 3 yd", ["ribbon", "works"]) == ["satin", "bow", "3", "yd"]
