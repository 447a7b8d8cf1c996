"""A product type is right when the product's own category path says so, and words that merely stand in the title are not."""

import pytest

from shelfcode.attributes.distil.type_scores import TypeAnswers, clause_ends, drawn, path_names_type, right_types

HERBS, SAUCES, SNACKS = ["produce", "fresh herbs"], ["pantry", "pasta sauce"], ["snacks", "popcorn jerky"]
CATALOG = [
    ("Fresh Basil", HERBS), ("Living Herbs Potted Basil, 1 ct", HERBS), ("Organic Basil", HERBS), ("Thai Basil", HERBS),
    ("Acme Tomato Basil Pasta Sauce", SAUCES), ("Acme Vodka Sauce", SAUCES), ("Acme Alfredo Sauce with Basil", SAUCES),
    ("Sea Salt", SAUCES), ("Kettle Corn", SNACKS), ("Turkey Jerky", SNACKS),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers() -> TypeAnswers:
    return TypeAnswers([title for title, _ in CATALOG], [path for _, path in CATALOG])


@pytest.mark.parametrize(
    ("product_type", "path", "named"),
    [
        ("beef jerky", SNACKS, True),  # by its head
        ("jerky strips", SNACKS, False),  # the head is another word
        ("Jerkies", SNACKS, True),  # compared by stems
        ("thermostat", ["home", "hvac", "thermostats", "programmable"], True),  # the last name but one
        ("hvac", ["home", "hvac", "thermostats", "programmable"], False),  # higher up is no answer
        ("123", SNACKS, False),
        ("", SNACKS, False),
        ("snacks and", ["snacks"], True),  # joining words are no heads
    ],
)
def test_a_path_names_a_type_by_the_head_and_in_its_last_two_names(product_type: str, path: list[str], named: bool) -> None:
    assert path_names_type(product_type, path) is named


def test_clauses_end_at_marks_sizes_and_words_that_open_another() -> None:
    assert clause_ends("Rye Crackers with Sea Salt, 5 oz") == {"cracker", "salt", "oz"}
    assert clause_ends("Jerky, Honey Barbecue") == {"jerki", "barbecue"}
    assert clause_ends("42") == frozenset()


def test_a_type_is_at_home_where_products_that_are_called_so_are_filed(answers: TypeAnswers) -> None:
    assert answers.right("basil", HERBS)
    assert not answers.right("basil", SNACKS)
    assert not answers.right("basil", SAUCES), "one of five is no quarter"


def test_a_brand_is_no_type_however_surely_it_tells_the_leaf(answers: TypeAnswers) -> None:
    assert not answers.right("acme", SAUCES)


def test_a_word_that_too_few_products_are_called_by_is_at_home_nowhere(answers: TypeAnswers) -> None:
    assert not answers.right("turkey", SNACKS)
    assert answers.right("turkey jerky", SNACKS), "but the path may name it"


def test_where_enough_products_hold_the_whole_type_they_alone_are_asked() -> None:
    titles = ["Rice Cakes"] * 3 + ["Pound Cakes"] * 9
    narrow = TypeAnswers(titles, [["snacks", "crackers"]] * 3 + [["bakery", "desserts"]] * 9)
    assert narrow.right("rice cakes", ["snacks", "crackers"])
    assert not narrow.right("rice cakes", ["bakery", "desserts"])
    assert narrow.right("marble cakes", ["bakery", "desserts"]), "none holds it, so its head answers"


def test_the_share_is_of_all_products(answers: TypeAnswers) -> None:
    assert right_types(answers, ["basil", "jerky", "nothing", ""], [HERBS, SNACKS, SNACKS, SAUCES]) == 0.5
    assert right_types(answers, [], []) == 0.0
    with pytest.raises(ValueError, match="shorter"):
        right_types(answers, ["basil", "jerky"], [HERBS])


def test_the_products_drawn_do_not_depend_on_the_order_or_the_rest_of_a_catalog() -> None:
    items = [f"p{number}" for number in range(100)]
    first = {items[row] for row in drawn(items, 10)}
    assert len(first) == 10
    turned = items[::-1]
    assert {turned[row] for row in drawn(turned, 10)} == first
    fewer = [item for item in items if item in first or item < "p5"]
    assert {fewer[row] for row in drawn(fewer, 10)} == first
