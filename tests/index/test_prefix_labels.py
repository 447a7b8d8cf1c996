"""A prefix is named by the words that tell its products from those around."""

import pytest

from shelfcode.index.prefix_labels import telling_words as telling_words_of
from shelfcode.index.prefix_labels import title_words, without_words

MILKS = [f"oat milk {kind}" for kind in ("barista", "vanilla", "original", "plain", "fresh")]
OTHERS = [f"{kind} milk" for kind in ("soy", "cow", "goat", "almond", "rice")] * 4


def telling_words(titles: list[str], around: list[str], **limits: int) -> list[str]:
    return telling_words_of(title_words(titles), title_words(around), **limits)


def test_words_that_are_everywhere_say_nothing_and_those_that_are_only_here_say_most() -> None:
    assert telling_words(MILKS, OTHERS)[0] == "oat"
    assert "milk" not in telling_words(MILKS, OTHERS)


def test_a_word_of_one_title_among_many_is_not_told() -> None:
    assert "barista" not in telling_words(MILKS, OTHERS)
    assert "barista" in telling_words(MILKS[:1], OTHERS)


def test_three_words_at_the_most_and_fewer_on_request() -> None:
    titles = ["one two three four five six"] * 5
    assert len(telling_words(titles, ["eleven"])) == 3
    assert len(telling_words(titles, ["eleven"], words=1)) == 1


def test_where_no_word_tells_them_apart_the_most_frequent_ones_name_them() -> None:
    assert telling_words(["oat milk", "oat drink"] * 3, ["oat milk", "oat drink"] * 3) == ["oat", "drink", "milk"]


@pytest.mark.parametrize("titles", [[], [""], ["1 l", "12 x 5"], ["! ?"]])
def test_titles_without_words_have_no_name(titles: list[str]) -> None:
    assert telling_words(titles, ["oat milk"]) == []


def test_the_same_titles_have_the_same_name_in_any_order() -> None:
    assert telling_words(MILKS[::-1], OTHERS[::-1]) == telling_words(MILKS, OTHERS)


def test_words_of_any_script_count_and_case_does_not() -> None:
    assert telling_words(["МОЛОКО овсяное", "молоко соевое"], ["хлеб"])[0] == "молоко"
    assert telling_words(["Süße Öle"], ["x"]) == ["süße", "öle"]


def test_a_brand_is_taken_out_of_a_title() -> None:
    assert without_words("Mossy Glen Oat Milk 1 l", "MOSSY Glen") == "oat milk"
    assert without_words("Oat Milk", "") == "oat milk"
