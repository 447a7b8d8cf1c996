"""Words are compared by their stems."""

import pytest

from shelfcode.attributes.rules.words import stem


@pytest.mark.parametrize(
    ("one", "many"),
    [
        *(("berry", "berries"), ("cookie", "cookies"), ("pie", "pies"), ("tomato", "tomatoes"), ("shoe", "shoes"), ("peach", "peaches")),
        *(("quiche", "quiches"), ("radish", "radishes"), ("box", "boxes"), ("glass", "glasses"), ("olive", "olives"), ("spice", "spices")),
        *(("leaf", "leaves"), ("loaf", "loaves"), ("half", "halves"), ("oat", "oats"), ("turkey", "turkeys"), ("kiwi", "kiwis")),
        *(("clove", "cloves"), ("pea", "peas"), ("avocado", "avocadoes"), ("cheese", "cheeses")),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert stem(one) == stem(many)


@pytest.mark.parametrize(
    ("word", "other"),
    [("hop", "hope"), ("cod", "code"), ("pas", "pa"), ("glass", "glas"), ("pear", "pea"), ("oat", "oath"), ("lim", "lime"), ("gas", "ga")],
)
def test_words_that_only_look_alike(word: str, other: str) -> None:
    assert stem(word) != stem(other)


def test_n_is_and() -> None:
    assert stem("n") == stem("and")
