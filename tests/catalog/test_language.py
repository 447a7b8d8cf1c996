"""Titles of three or four words, as catalogs have them: the hard case."""

import pytest

from shelfcode.catalog.language import MOSTLY_ENGLISH, SUREST, chance_of_english, share_in_english

ENGLISH = """Chocolate Sandwich Cookies
All-Seasons Salt
Robust Golden Unsweetened Oolong Tea
Green Chile Anytime Sauce
Pure Coconut Water With Orange
Cut Russet Potatoes Steam N' Mash
Light Strawberry Blueberry Yogurt
Sparkling Orange Juice & Prickly Pear Beverage
Peach Mango Juice
Chocolate Fudge Layer Cake
Saline Nasal Mist
Fresh Scent Dishwasher Cleaner
Overnight Diapers Size 6
Mint Chocolate Flavored Syrup
Rendered Duck Fat
Pizza for One Suprema Frozen Pizza
Gluten Free Quinoa Three Cheese & Mushroom Blend
Pomegranate Cranberry & Aloe Vera Enrich Drink
Small & Medium Dental Dog Treats
Fresh Breath Oral Rinse Mild Mint""".splitlines()

FOREIGN = {
    "German": "Bio Vollmilch 3,8%|Gouda jung in Scheiben|Apfelsaft naturtrüb|Rinderhackfleisch 500g|Toilettenpapier 3-lagig|Butterkekse",
    "French": "Lait demi-écrémé UHT|Yaourt nature brassé|Jambon blanc supérieur|Pain de mie complet|Beurre doux 250g|Compote de pommes",
    "Spanish": "Leche entera 1L|Queso curado de oveja|Pan de molde integral|Galletas de chocolate|Tomate frito|Agua mineral con gas",
    "Polish": "Mleko świeże 2%|Ser żółty plastry|Chleb żytni krojony|Masło extra|Sok jabłkowy tłoczony|Kawa mielona 500g",
    "Chinese": "有机全脂牛奶|黑巧克力 70%|特级初榨橄榄油|草莓味酸奶|苏打饼干|洗洁精 柠檬味",
}  # fmt: skip


def test_short_english_titles_are_english() -> None:
    assert share_in_english(ENGLISH) == 1
    assert share_in_english([title.upper() for title in ENGLISH]) > 0.7


@pytest.mark.parametrize("language", FOREIGN)
def test_short_titles_in_another_language_are_not(language: str) -> None:
    assert share_in_english(FOREIGN[language].split("|")) == 0


def test_a_catalog_of_two_shops_shows_how_much_of_it_is_english() -> None:
    foreign = [title for titles in FOREIGN.values() for title in titles.split("|")]
    assert MOSTLY_ENGLISH / 2 < share_in_english([*ENGLISH, *foreign]) < MOSTLY_ENGLISH + 0.1
    assert share_in_english([*ENGLISH, *foreign, *foreign]) < MOSTLY_ENGLISH


def test_texts_without_a_letter_say_nothing() -> None:
    assert share_in_english([]) == share_in_english(["", None, "4006381333931"]) == 1
    assert share_in_english([*ENGLISH, *["12 345", None] * 20]) == 1


def test_a_short_title_goes_with_its_catalog() -> None:
    foreign = [title for titles in FOREIGN.values() for title in titles.split("|")]
    assert all(chance_of_english(title, 1) > 0.5 for title in ENGLISH)
    assert all(chance_of_english(title, 0) < 0.5 for title in foreign)
    assert sum(chance_of_english(title, 0.5) < 0.5 for title in foreign) == len(foreign)


def test_a_longer_text_stands_for_itself() -> None:
    assert chance_of_english("Frische Vollmilch vom Bauernhof. Aus dem Allgäu, mit 3,8 Prozent Fett und ohne Zusätze.", 1) < 0.5
    assert chance_of_english("Fresh whole milk from the farm. It comes from grass fed cows and has nothing added to it.", 0) > 0.5


def test_a_text_without_a_letter_goes_with_its_catalog() -> None:
    assert (chance_of_english("4006381333931", 1), chance_of_english("", 0)) == (1 - SUREST, SUREST)
    assert chance_of_english("4006381333931", 0.3) == 0.3
