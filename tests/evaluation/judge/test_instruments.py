"""What replies come to: each instrument on replies that a perfect, a wavering and a mute model would give."""

import math

import pytest

from shelfcode.evaluation.judge.instruments import DIGITS, INSTRUMENTS, LETTERS, Titled
from shelfcode.llm.likelihood import Choice, Passage, Reply

SET = Titled(("a", "b", "c", "d", "e", "f", "g", "h"), ("stranger", "nearer"))


def _says(choices: tuple[str, ...], word: str, p: float = 0.9) -> Reply:
    rest = math.log((1 - p) / len(choices))
    return Reply(tuple(math.log(p) if choice == word else rest for choice in choices))


def test_pmi_is_the_share_of_what_titles_say_that_the_others_foretell() -> None:
    pmi = INSTRUMENTS["pmi"]
    together, *alone = pmi.ask(SET, "functional")
    assert isinstance(together, Passage)
    assert [together.parts[place] for place in together.asked] == [f" {title}" for title in SET.titles]
    assert together.text.startswith("A list of similar products:\n- a\n- b\n")
    replies = [Reply((-10.0, *(-3.0,) * 7)), *(Reply((-12.0,)) for _ in alone)]
    assert pmi.read(SET, "functional", replies, []).value == pytest.approx(0.75)
    assert pmi.read(SET, "functional", [Reply(None), *replies[1:]], []).value is None


def test_a_rating_is_the_expected_digit_with_the_prior_taken_out() -> None:
    rating = INSTRUMENTS["rating"]
    prior = [_says(DIGITS, "4", 0.9)]
    assert rating.read(SET, "functional", [_says(DIGITS, "5")], [_says(DIGITS, "3", 0.2)]).value == pytest.approx(4.8, abs=0.1)
    same = rating.read(SET, "functional", prior, prior)
    assert same.value == pytest.approx(3.0)  # what is said of no products says nothing of products
    mute = Reply(tuple(math.log(0.05) for _ in DIGITS))
    assert rating.read(SET, "functional", [mute], prior) == rating.read(SET, "functional", [Reply(None)], prior)
    assert rating.read(SET, "functional", [mute], prior).valid == 0


def test_an_intruder_is_followed_through_all_rotations() -> None:
    intruder = INSTRUMENTS["intruder"]
    asked = intruder.ask(SET, "functional")
    assert len(asked) == 12
    found = []
    for question in asked:
        assert isinstance(question, Choice)
        lines = dict(line.split(". ") for line in question.user.split("\n\n")[0].splitlines())
        found.append(next(letter for letter, title in lines.items() if title in SET.strangers))
    right = intruder.read(SET, "functional", [_says(LETTERS, letter) for letter in found], [])
    assert right.value == pytest.approx(math.log(0.9 / (0.9 + 5 * 0.1 / 6) * 6), abs=0.02)
    assert (right.valid, right.turned, right.flipped) == (12, 10, 0)
    stuck = intruder.read(SET, "functional", [_says(LETTERS, "A") for _ in asked], [])
    assert stuck.flipped == stuck.turned == 10  # a model that always says A names another product each time
    assert stuck.value is not None
    assert stuck.value < 0


def test_triplets_are_asked_in_both_orders_and_a_side_is_no_preference() -> None:
    triplets = INSTRUMENTS["triplets"]
    asked = triplets.ask(SET, "purchase")
    assert len(asked) == 8
    mates = ["A" if isinstance(question, Choice) and "stranger" in question.user.splitlines()[1] else "B" for question in asked]
    right = triplets.read(SET, "purchase", [_says(LETTERS[:2], letter) for letter in mates], [])
    assert right.value is not None
    assert right.value > 2
    assert right.flipped == 0
    stuck = triplets.read(SET, "purchase", [_says(LETTERS[:2], "A") for _ in asked], [])
    assert stuck.value == pytest.approx(0)
    assert stuck.flipped == stuck.turned == 4
