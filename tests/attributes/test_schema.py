"""Attributes keep within their limits, whoever they come from: an LLM, a teacher, an older table."""

import json
from typing import Any

import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from shelfcode.attributes.schema import (
    DIETARY_TAGS,
    FIELDS,
    MAX_CHARACTERS,
    MAX_INGREDIENTS,
    MAX_QUOTE_CHARACTERS,
    MAX_TAGS,
    Attributes,
    Quote,
    attributes_of,
    attributes_text,
    clean_attributes,
    json_schema,
    parse_answer,
    parse_quoted_answer,
)
from shelfcode.attributes.settings import ATTRIBUTE_COLUMNS, ExtraAttribute
from shelfcode.attributes.table import attributes_schema
from shelfcode.keys import text_hash

EXTRA = {
    "season": ExtraAttribute(description="when it is bought", values=["spring", "summer", "all year"], limit=2),
    "mood": ExtraAttribute(description="how it is praised"),
}
ANSWER: dict[str, Any] = {"product_type": "oat milk", "key_ingredients": ["oats", "salt"], "dietary_tags": ["vegan"], "format": "carton"}
OWN_ANSWER = {**ANSWER, "season": ["spring"], "mood": ["cosy"]}
OAT_MILK = Attributes(product_type="oat milk", key_ingredients=("oats", "salt"), dietary_tags=("vegan",), format="carton")
LONG = "x" * (MAX_CHARACTERS + 1)


def parsed(extra: bool = False, **changed: Any) -> Attributes:
    fields = {**(OWN_ANSWER if extra else ANSWER), **changed}
    return parse_answer(json.dumps({name: value for name, value in fields.items() if value is not ...}), EXTRA if extra else {})


# The model


def test_attributes_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Attributes(product_type="salsa").product_type = "dip"  # type: ignore[misc]


def test_an_unknown_tag_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="locally grown"):
        Attributes(product_type="salsa", dietary_tags=("vegan", "locally grown"))


def test_ingredients_are_bounded() -> None:
    many = tuple(f"ingredient {number}" for number in range(MAX_INGREDIENTS + 1))
    assert Attributes(product_type="trail mix", key_ingredients=many[:-1]).key_ingredients == many[:-1]
    with pytest.raises(ValidationError):
        Attributes(product_type="trail mix", key_ingredients=many)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        Attributes.model_validate({"product_type": "salsa", "aisle": "dips"})


def test_tags_are_distinct() -> None:
    assert len(set(DIETARY_TAGS)) == len(DIETARY_TAGS)


# The table


def test_the_contracts_columns_come_first_and_a_recipes_own_before_what_is_known_of_the_extraction() -> None:
    assert attributes_schema({}).names[:6] == ["item_id", "text_hash", "product_type", "key_ingredients", "dietary_tags", "format"]
    assert attributes_schema({}).names == list(ATTRIBUTE_COLUMNS)
    assert attributes_schema(EXTRA).names == [*ATTRIBUTE_COLUMNS[:6], "season", "mood", *ATTRIBUTE_COLUMNS[6:]]


def test_attributes_fit_the_table_and_come_back_as_they_were() -> None:
    attributes = OAT_MILK.model_copy(update={"extra": {"season": ("spring",), "mood": ()}})
    row = {"item_id": "1", "text_hash": "ab", **attributes.columns(), "extractor": "e", "truncated": False, "unsupported": []}
    table = pa.Table.from_pylist([row], schema=attributes_schema(EXTRA))
    assert table.to_pylist() == [{**row, "failure": None}]
    assert attributes_of(table.to_pylist()[0], EXTRA) == attributes


def test_attributes_of_a_table_are_cut_to_the_limits() -> None:
    many = [f"ingredient {number}" for number in range(MAX_INGREDIENTS + 5)]
    columns = {"product_type": "mix", "key_ingredients": many, "dietary_tags": [], "format": "", "season": ["spring", "summer", "all year"]}
    found = attributes_of(columns, EXTRA)
    assert found.key_ingredients == tuple(many[:MAX_INGREDIENTS])
    assert found.extra == {"season": ("spring", "summer"), "mood": ()}


def test_what_a_table_does_not_say_is_empty() -> None:
    assert attributes_of(dict.fromkeys(FIELDS), {}) == Attributes(product_type="")


def test_tags_that_only_a_teacher_knows_are_left_out() -> None:
    columns = {**ANSWER, "dietary_tags": ["Vegan", "locally grown", "gluten free"]}
    assert attributes_of(columns, {}).dietary_tags == ("vegan", "gluten free")


def test_attributes_from_anywhere_are_held_to_what_an_answer_is_held_to() -> None:
    given = {
        "product_type": "  Oat\n MILK ", "key_ingredients": ["Oats", " oats ", "", "x" * 500],
        "dietary_tags": ["gluten free", "VEGAN", "tasty"],
        "format": "Carton", "season": ["Summer ", "dusk", "summer", "spring"], "stranger": ["x"],
    }  # fmt: skip
    found = clean_attributes(given, EXTRA)
    assert (found.product_type, found.format) == ("oat milk", "carton")
    assert found.key_ingredients == ("oats", "x" * MAX_CHARACTERS)
    assert found.dietary_tags == ("vegan", "gluten free")
    assert found.extra == {"season": ("summer", "spring"), "mood": ()}
    assert clean_attributes(found.columns(), EXTRA) == found
    assert clean_attributes(dict.fromkeys(FIELDS), {}) == Attributes(product_type="")


# What an LLM is held to


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"key_ingredients": [], "dietary_tags": [], "format": "", "season": [], "mood": []},
        {"product_type": "x" * MAX_CHARACTERS, "format": "x" * MAX_CHARACTERS},
        {"key_ingredients": ["x" * MAX_CHARACTERS] * MAX_INGREDIENTS, "dietary_tags": list(DIETARY_TAGS[:MAX_TAGS])},
        {"season": ["all year", "spring"], "mood": ["a", "b", "c"]},
    ],
)
def test_an_answer_within_the_limits_meets_the_json_schema_and_is_read(changed: dict[str, Any]) -> None:
    answer = {**OWN_ANSWER, **changed}
    Draft202012Validator.check_schema(json_schema(EXTRA))
    Draft202012Validator(json_schema(EXTRA)).validate(answer)
    assert parse_answer(json.dumps(answer), EXTRA).product_type == answer["product_type"]


@pytest.mark.parametrize(
    "changed",
    [
        *({name: ...} for name in OWN_ANSWER),
        {"product_type": ""}, {"product_type": LONG}, {"product_type": None}, {"product_type": ["oat milk"]},
        {"key_ingredients": ["x"] * (MAX_INGREDIENTS + 1)}, {"key_ingredients": [LONG]}, {"key_ingredients": [""]},
        {"key_ingredients": "oats"}, {"format": LONG},
        {"dietary_tags": ["locally grown"]}, {"dietary_tags": list(DIETARY_TAGS[: MAX_TAGS + 1])},
        {"season": ["winter"]}, {"season": ["spring", "summer", "all year"]},
        {"mood": ["a", "b", "c", "d"]}, {"mood": [""]}, {"mood": [LONG]},
        {"aisle": "dairy"},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_beyond_the_limits_does_not_meet_the_json_schema(changed: dict[str, Any]) -> None:
    answer = {name: value for name, value in {**OWN_ANSWER, **changed}.items() if value is not ...}
    assert not Draft202012Validator(json_schema(EXTRA)).is_valid(answer)


# Reading an answer


def test_an_answer_is_read() -> None:
    assert parsed() == OAT_MILK
    assert parsed(extra=True).extra == {"season": ("spring",), "mood": ("cosy",)}


def test_white_space_case_and_repetitions_are_evened_out() -> None:
    found = parsed(
        extra=True, product_type=" Oat\n Milk ", key_ingredients=["Oats", "oats ", "", "SALT"], dietary_tags=["Vegan", "vegan"],
        season=["Summer", "summer", "SPRING"], format="Carton",
    )  # fmt: skip
    assert found == OAT_MILK.model_copy(update={"extra": {"season": ("summer", "spring"), "mood": ("cosy",)}})


def test_tags_come_in_the_order_of_the_list() -> None:
    assert parsed(dietary_tags=["kosher", "vegan", "gluten free"]).dietary_tags == ("vegan", "gluten free", "kosher")


def test_values_outside_a_closed_list_are_left_out() -> None:
    found = parsed(extra=True, dietary_tags=["locally grown", "vegan"], season=["winter", "summer"], mood=["winter"])
    assert (found.dietary_tags, found.extra) == (("vegan",), {"season": ("summer",), "mood": ("winter",)})


def test_own_values_are_cut_to_their_limit() -> None:
    found = parsed(extra=True, season=["spring", "summer", "all year"], mood=["a", "a", "b", "c", "d"])
    assert found.extra == {"season": ("spring", "summer"), "mood": ("a", "b", "c")}


def test_an_answer_that_is_cut_off_anywhere_is_refused() -> None:
    text = json.dumps(OWN_ANSWER)
    for kept in range(len(text)):
        with pytest.raises(ValueError, match="Invalid JSON"):
            parse_answer(text[:kept], EXTRA)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(({name: ...}, f"{name}: Field required") for name in ANSWER),
        ({"season": ..., "mood": None}, "the answer lacks season, mood"),
        ({"product_type": ""}, "product_type: String should have at least 1 character"),
        ({"product_type": " \n"}, "product_type: String should have at least 1 character"),
        ({"product_type": LONG}, "product_type: String should have at most 60"),
        ({"format": LONG}, "format: String should have at most 60"),
        ({"key_ingredients": ["oats", LONG]}, "key_ingredients.1: String should have at most 60"),
        ({"key_ingredients": ["x"] * (MAX_INGREDIENTS + 1)}, "key_ingredients: List should have at most 8"),
        ({"key_ingredients": "oats"}, "key_ingredients: Input should be a valid array"),
        ({"mood": [LONG]}, "String should have at most 60"),
        ({"mood": [{"a": 1}]}, "Input should be a valid string"),
    ],
    ids=str,
)
def test_an_answer_that_the_schema_forbids_is_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed(extra=True, **changed)


@pytest.mark.parametrize("text", ["", "null", "[]", '"oat milk"', "{}", "I cannot help with that.", json.dumps(ANSWER) * 2])
def test_what_is_no_answer_at_all_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_answer(text, {})


def test_an_answer_in_any_language_is_read() -> None:
    found = parsed(product_type="燕麦奶", key_ingredients=["Hafer", "ÉPINARDS", "🥜"])
    assert (found.product_type, found.key_ingredients) == ("燕麦奶", ("hafer", "épinards", "🥜"))


# With quotes

STATED = {**EXTRA, "mood": ExtraAttribute(description="how it is praised", stated=True)}
QUOTED: dict[str, Any] = {
    "product_type": "oat milk",
    "key_ingredients": [{"value": "Oats ", "quote": "Hafer"}, {"value": "salt", "quote": "Meersalz"}],
    "dietary_tags": [{"value": "vegan", "quote": "VEGAN"}],
    "format": "carton",
    "season": ["spring"],
    "mood": [{"value": "cosy", "quote": "gemütlich"}],
}


def test_an_answer_with_quotes_is_read_like_one_without_and_the_quotes_apart() -> None:
    found, quotes = parse_quoted_answer(json.dumps(QUOTED), STATED)
    assert found == OAT_MILK.model_copy(update={"extra": {"season": ("spring",), "mood": ("cosy",)}})
    assert quotes == (
        Quote("key_ingredients", "oats", "Hafer"), Quote("key_ingredients", "salt", "Meersalz"), Quote("dietary_tags", "vegan", "VEGAN"),
        Quote("mood", "cosy", "gemütlich"),
    )  # fmt: skip
    assert parse_answer(json.dumps(QUOTED), STATED) == found
    assert parse_quoted_answer(json.dumps(OWN_ANSWER), EXTRA) == (parsed(extra=True), ())


def test_what_has_no_readable_quote_has_none() -> None:
    odd = {**QUOTED, "key_ingredients": [{"value": "oats"}, {"value": "salt", "quote": 3}, "water"], "dietary_tags": [], "mood": []}
    found, quotes = parse_quoted_answer(json.dumps({**odd, "quotes": [["key_ingredients", "oats", "Hafer"]]}), STATED)
    assert (found.key_ingredients, quotes) == (("oats", "salt", "water"), ())


@pytest.mark.parametrize("item", [{"quote": "Hafer"}, {"value": 3, "quote": "Hafer"}, {"value": LONG, "quote": "Hafer"}, 3])
def test_a_quote_without_a_value_is_no_answer(item: Any) -> None:
    with pytest.raises(ValueError, match=r"key_ingredients\.0: "):
        parse_quoted_answer(json.dumps({**QUOTED, "key_ingredients": [item]}), STATED)


def test_the_json_schema_asks_for_quotes_of_what_is_stated() -> None:
    validator = Draft202012Validator(json_schema(STATED, quotes=True))
    Draft202012Validator.check_schema(json_schema(STATED, quotes=True))
    validator.validate({**QUOTED, "key_ingredients": [{"value": "oats", "quote": "x" * MAX_QUOTE_CHARACTERS}]})
    for changed in (
        {"key_ingredients": ["oats"]}, {"key_ingredients": [{"value": "oats"}]}, {"key_ingredients": [{"value": "oats", "quote": ""}]},
        {"key_ingredients": [{"value": "oats", "quote": "x" * (MAX_QUOTE_CHARACTERS + 1)}]}, {"mood": ["cosy"]},
        {"dietary_tags": [{"value": "tasty", "quote": "lecker"}]}, {"season": [{"value": "spring", "quote": "Frühling"}]},
        {"dietary_tags": [{"value": "vegan", "quote": "vegan", "sure": True}]},
    ):  # fmt: skip
        assert not validator.is_valid({**QUOTED, **changed}), changed


def test_without_quotes_the_json_schema_is_the_one_that_small_extractors_were_taught() -> None:
    assert json_schema(STATED) == json_schema(EXTRA)
    closed = {"mood": ExtraAttribute(description="how it is praised", values=["cosy"])}
    assert text_hash(json.dumps(json_schema(closed))) == "782caa4075a94f6f43e124a5cee40a03"


# The text view


def test_the_text_view_names_every_part() -> None:
    assert attributes_text(OAT_MILK) == "oat milk. ingredients: oats, salt. dietary: vegan. format: carton"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (Attributes(product_type="dish soap"), "dish soap"),
        (Attributes(product_type="dish soap", format="liquid"), "dish soap. format: liquid"),
        (Attributes(product_type="salsa", key_ingredients=("tomatoes", "onions")), "salsa. ingredients: tomatoes, onions"),
        (Attributes(product_type="", dietary_tags=("organic",)), "dietary: organic"),
        (Attributes(product_type=""), ""),
    ],
)
def test_the_text_view_leaves_out_empty_parts(attributes: Attributes, text: str) -> None:
    assert attributes_text(attributes) == text


def test_the_text_view_follows_the_order_asked_for_with_own_attributes_by_their_names() -> None:
    attributes = OAT_MILK.model_copy(update={"extra": {"best_season": ("spring", "summer"), "mood": ()}})
    order = ["best_season", "mood", "format", "product_type"]
    assert attributes_text(attributes, order) == "best season: spring, summer. format: carton. oat milk"
