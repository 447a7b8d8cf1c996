"""Neighbours fill a field only where nearly all of them agree."""

import numpy as np

from shelfcode.evaluation.sparse.agreement import Agreed, agreed_values
from shelfcode.evaluation.sparse.settings import SparseSettings

SIZES = (4, 4, 4, 4)
SETTINGS = SparseSettings()


def ask(values: list[str | None], codes: list[list[int]], asked: list[int], own: int = -1) -> Agreed | None:
    return agreed_values(values, np.array(codes), np.array([asked]), np.array([own]), SIZES, SETTINGS)[0]


def test_the_deepest_prefix_that_agrees_is_taken() -> None:
    codes = [[0, 1, 2, 3]] * 3 + [[0, 1, 2, 0]] * 12
    found = ask(["A"] * 3 + ["B"] * 12, codes, [0, 1, 2, 3])
    assert found == Agreed("A", "0_1_2_3", 3, 1.0)
    shallower = ask([None, "A", "A"] + ["B"] * 12, codes, [0, 1, 2, 3])
    assert shallower == Agreed("B", "0_1_2", 12, 12 / 14), "two are too few at L4"


def test_less_than_the_share_is_no_agreement() -> None:
    codes = [[0, 0, 0, 0]] * 10
    assert ask(["A"] * 8 + ["B"] * 2, codes, [0, 0, 0, 0]) == Agreed("A", "0_0_0_0", 8, 0.8)
    assert ask(["A"] * 7 + ["B"] * 3, codes, [0, 0, 0, 0]) is None
    assert ask(["A"] * 8 + ["B"] * 2, codes, [1, 0, 0, 0]) is None, "nobody lives there"


def test_no_product_votes_on_itself() -> None:
    codes = [[0, 0, 0, 0]] * 3
    assert ask(["A"] * 3, codes, [0, 0, 0, 0]) is not None
    assert ask(["A"] * 3, codes, [0, 0, 0, 0], own=1) is None
    elsewhere = [[0, 0, 0, 0]] * 3 + [[3, 0, 0, 0]]
    assert ask(["A"] * 4, elsewhere, [0, 0, 0, 0], own=3) == Agreed("A", "0_0_0_0", 3, 1.0), "its own vote was never there"


def test_spellings_are_one_value_and_the_commonest_is_shown() -> None:
    assert ask(["Nestlé", "NESTLE", "Nestlé"], [[0, 0, 0, 0]] * 3, [0, 0, 0, 0]) == Agreed("Nestlé", "0_0_0_0", 3, 1.0)


def test_a_field_that_nobody_has_is_filled_for_nobody() -> None:
    assert ask([None, None, ""], [[0, 0, 0, 0]] * 3, [0, 0, 0, 0]) is None
