"""One category is one category however it is spelled, and of several the first counts."""

from typing import Any

import pytest

from shelfcode.catalog.cells.category_paths import between_categories, name_key, path_of
from shelfcode.catalog.settings import CatalogSettings


def separated(separator: str | None = " > ", between: str = "") -> CatalogSettings:
    return CatalogSettings(category_separator=separator, category_list_separator=between)


@pytest.mark.parametrize(
    "text",
    ["Café > Tee", "Cafe\u0301 > Tee", "Café  > Tee", "Café >Tee", "Café> Tee", "Café>Tee", "Café > Tee >", "> Café > Tee", "Café > > Tee",
     "Café&nbsp;> Tee", "Café &gt; Tee", "\u200bCafé > Tee\ufeff"],
)  # fmt: skip
def test_separators_are_trimmed_and_names_evened_out(text: str) -> None:
    assert path_of(text, separated()) == (["Café", "Tee"], False)


@pytest.mark.parametrize(
    ("separator", "text", "path"),
    [
        (" / ", "Home / TV/Audio", ["Home", "TV/Audio"]),
        (" / ", "Home /TV/Audio/ Hi-Fi", ["Home", "TV/Audio", "Hi-Fi"]),
        (" - ", "Food - Ready-to-eat", ["Food", "Ready-to-eat"]),
        ("/", "Home/TV", ["Home", "TV"]),
        (">>", "Home>> TV", ["Home", "TV"]),
        ("\t", "Home\tTV sets", ["Home", "TV sets"]),
        (" & ", "Bed & Bath & R&B", ["Bed", "Bath", "R&B"]),
    ],
)
def test_a_separator_that_names_contain_too_needs_white_space_beside_it(separator: str, text: str, path: list[str]) -> None:
    assert path_of(text, separated(separator))[0] == path


@pytest.mark.parametrize(
    ("value", "path", "several"),
    [
        ([["Dairy", "Milk"], ["Sale"]], ["Dairy", "Milk"], True),
        ([[], ["Dairy", "Milk"]], ["Dairy", "Milk"], False),
        ('[["Dairy", "Milk"], ["Sale"]]', ["Dairy", "Milk"], True),
        ('["Dairy", "Milk"]', ["Dairy", "Milk"], False),
        ("['Dairy', 'Milk']", ["Dairy", "Milk"], False),
        (["Dairy > Milk", "Sale > Summer"], ["Dairy", "Milk"], True),
        (["Dairy > Milk"], ["Dairy", "Milk"], False),
        (["Dairy", " Milk ", None, ""], ["Dairy", "Milk"], False),
        ("[50% off]", ["[50% off]"], False),
        (" > ", None, False),
        (None, None, False),
    ],
)
def test_lists_are_paths_or_lists_of_paths(value: Any, path: list[str] | None, several: bool) -> None:
    assert path_of(value, separated()) == (path, several)


def test_of_several_categories_in_a_text_the_first_counts() -> None:
    assert path_of("Dairy > Milk, Sale > Summer", separated(between=",")) == (["Dairy", "Milk"], True)
    assert path_of(r"Bags\, Cases > Wallets, Sale", separated(between=",")) == (["Bags, Cases", "Wallets"], True)
    assert path_of("Dairy > Milk", separated(between=",")) == (["Dairy", "Milk"], False)


@pytest.mark.parametrize(
    ("texts", "between"),
    [
        (["Dairy > Milk, Sale > Summer", "Dairy > Cheese, Sale > Summer", "Bakery > Bread"], ","),
        (["Dairy > Milk, Sale", "Dairy > Cheese, Sale"], ","),
        (["Dairy > Milk, Bakery > Rolls", "Bakery > Bread"], ","),
        (["Music, Music > Singles", "Clothing, Clothing > Hoodies"], ","),
        (["Dairy > Milk; Sale > Summer", "Bakery > Bread"], ";"),
        (["Dairy > Milk|Sale > Summer"], "|"),
        (["Food, Beverages & Tobacco > Food > Snacks", "Food, Beverages & Tobacco > Beverages > Tea"], ""),
        (["Home > Kitchen, Dining > Pans", "Home > Kitchen, Dining > Pots", "Home > Bath"], ""),
        (["Men > Bags, Wallets", "Women > Bags, Wallets"], ""),
        (["Clothing, Shoes & Jewelry > Men", "Clothing, Shoes & Jewelry > Women"], ""),
        (["Dairy > Milk &amp; Cream", "Bakery > Bread &amp; Rolls"], ""),
        (["Dairy > Milk"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_what_stands_between_categories_is_told_from_what_belongs_to_a_name(texts: list[str], between: str) -> None:
    assert between_categories(texts, separated()) == between


def test_names_are_compared_without_case_white_space_and_what_nobody_sees() -> None:
    assert len({name_key(name) for name in ("Café  Bar", "cafe\u0301 bar", "CAFÉ\u00a0BAR", "Ca\u200bfé bar\u200d", " Café Bar ")}) == 1
    assert name_key("Cafe") != name_key("Café")
