"""Products that are one and the same."""

from shelfcode.audit.findings.same_products import other_label, title_keys

PATHS = [("Snacks", "Candy"), ("Health", "Bars"), ("Snacks",), ("Snacks", "Candy", "Gum"), ("Tea",)]


def test_titles_are_equal_but_for_letters_accents_and_signs() -> None:
    crème, creme, other, empty, signs = title_keys(["Crème  Brûlée (6 oz)", "creme-brulee 6 OZ", "creme brulee 8 oz", "", "***"])
    assert crème == creme
    assert len({crème, other, empty, signs}) == 4


def test_the_other_label_is_the_one_that_most_have() -> None:
    assert other_label(0, {0: 1, 1: 2, 4: 1}, [], PATHS) == (1, 2, 0)
    assert other_label(0, {0: 3, 1: 1}, [], PATHS) == (1, 1, 2)
    assert other_label(0, None, [1, 1, 4], PATHS) == (1, 2, 0)
    assert other_label(0, {0: 2, 1: 1}, [1, 0], PATHS) == (1, 1, 1)  # the nearest of the same title are not counted twice


def test_a_path_further_up_or_down_is_no_contradiction() -> None:
    assert other_label(0, {0: 1, 2: 1}, [3], PATHS) is None
    assert other_label(0, None, [], PATHS) is None
