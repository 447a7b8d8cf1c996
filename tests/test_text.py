"""A text is cut at a word where it has words, and compared without what only looks different."""

import pytest

from shelfcode.text import LONGEST_WORD, cut, fold


@pytest.mark.parametrize(
    ("characters", "expected"), [(100, "oat milk bread"), (14, "oat milk bread"), (13, "oat milk"), (8, "oat milk"), (7, "oat"), (2, "oa")]
)
def test_a_long_text_is_cut_at_a_word(characters: int, expected: str) -> None:
    assert cut("oat milk bread", characters) == expected


@pytest.mark.parametrize("start", ["", "oat ", "oat milk "])
def test_a_text_without_spaces_is_not_lost_with_what_stands_before_it(start: str) -> None:
    text = start + "牛奶" * LONGEST_WORD
    assert cut(text, len(start) + LONGEST_WORD + 1) == text[: len(start) + LONGEST_WORD + 1]


def test_the_longest_word_is_still_left_out_whole() -> None:
    assert cut("oat " + "x" * 100, 3 + LONGEST_WORD) == "oat"
    assert cut("oat " + "x" * 100, 4 + LONGEST_WORD) == "oat " + "x" * LONGEST_WORD


@pytest.mark.parametrize("characters", range(1, 30))
def test_no_text_is_longer_than_asked_for(characters: int) -> None:
    found = cut("brød og smør, 🥖 på 麵包店麵包店", characters)
    assert 0 < len(found) <= characters


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Oat MILK", "oat milk"), ("Crème Brûlée", "creme brulee"), ("\uff2f\uff41\uff54", "oat"), ("ﬁne 10²", "fine 102"),
        ("무설탕", "무설탕"), ("フリー", "フリー"), ("ﾌﾘｰ", "フリー"), ("ガ", "ガ"), ("", ""),
    ],
)  # fmt: skip
def test_texts_that_read_the_same_are_folded_to_the_same(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(fold(text)) == folded
