"""Whatever callers send is read, or refused with a problem that names the field; nothing else ever comes of it."""

import json
import random
from typing import Any

import pytest

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.requests import (
    Product,
    catalog_id,
    catalog_ids,
    characters_sent,
    read_encode_request,
    read_product,
    read_similar_request,
)
from shelfcode.serving.surface_settings import LimitSettings

LIMITS = LimitSettings(text_characters=100, products=3, neighbours=50)


def product(value: Any) -> Product:
    return read_product(value, LIMITS)[0]


def refused(value: Any) -> Problem:
    with pytest.raises(Problem) as raised:
        read_product(value, LIMITS)
    assert raised.value.kind == "invalid-product"
    return raised.value


def encode(body: Any) -> Any:
    return read_encode_request(body if isinstance(body, bytes) else json.dumps(body).encode(), LIMITS)


def similar(body: Any) -> Any:
    return read_similar_request(body if isinstance(body, bytes) else json.dumps(body).encode(), LIMITS)


# Products.


def test_a_product_is_read_with_its_texts_trimmed_and_what_nobody_reads_left_out() -> None:
    read, warnings = read_product({"item_id": "a", "title": "  Oat Drink\t1 l ", "brand": " ", "price": [1], "colour": None}, LIMITS)
    assert (read.item_id, read.title, read.brand, read.description) == ("a", "Oat Drink\t1 l", None, None)
    assert warnings == []


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9f", "\ufdd0", "\ufffe", "\uffff"])
def test_control_characters_become_spaces_and_are_told(character: str) -> None:
    read, warnings = read_product({"title": f"Oat{character}Drink{character}", "brand": character}, LIMITS)
    assert (read.title, read.brand) == ("Oat Drink", None)
    assert warnings == ["control_characters"]


@pytest.mark.parametrize("text", ["Öl & Süßes", "牛乳", "🥛 milk", "a\nb\tc\rd", "e\u0301", "\u200b", "\U0010fffe", "a < b & c", "<3"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    read, warnings = read_product({"title": text}, LIMITS)
    assert (read.title, warnings) == (text, [])


def test_html_is_taken_out_as_it_is_of_catalogs() -> None:
    read = product({"title": "<b>Oat</b> Drink &amp; Co", "description": "<p>Oats.</p><p>Water.</p>", "brand": "<br>"})
    assert (read.title, read.description, read.brand) == ("Oat Drink & Co", "Oats. Water.", None)


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        ("SKU-1", "SKU-1"),
        (" a\u200b ", "a"),
        ("e\u0301", "é"),
        ("a b", "a b"),
        ("4006381333931.0", "4006381333931"),
        ("a.0", "a.0"),
        ("ключ-1", "ключ-1"),
    ],
)
def test_an_id_is_looked_up_as_catalogs_hold_it(sent: str, held: str) -> None:
    assert catalog_id(sent) == held
    assert catalog_ids(["x", sent, "y"]) == ["x", held, "y"]


def test_the_work_that_products_make_is_told_whatever_is_wrong_with_them() -> None:
    assert characters_sent([{"title": "abc", "brand": 5, "description": "de"}, None, "text", [1], {}]) == 5


@pytest.mark.parametrize("field", ["title", "description", "brand"])
def test_a_text_that_is_too_long_is_refused_by_name(field: str) -> None:
    assert product({"title": "t", field: "x" * 100})
    problem = refused({"title": "t", field: "x" * 101})
    assert field in problem.detail
    assert "100" in problem.detail
    assert len(refused({"title": "t", field: "x" * 5_000_000}).detail) < 200


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"title": 5}, "title"), ({"title": True}, "title"), ({"title": ["a"]}, "title"), ({"brand": {"name": "a"}}, "brand"),
        ({"description": 1.5}, "description"), ({"item_id": ""}, "item_id"), ({"item_id": 7.5}, "item_id"), ({"item_id": True}, "item_id"),
        ({"item_id": "x" * 1025}, "item_id"), ({"title": "t", "attributes": []}, "attributes"),
        ({"attributes": {"product_type": None}}, "attributes.product_type"),
        ({"attributes": {"key_ingredients": "oats"}}, "attributes.key_ingredients"),
        ({"attributes": {"dietary_tags": [1]}}, "attributes.dietary_tags.0"),
    ],
)  # fmt: skip
def test_a_product_with_a_wrong_field_is_refused_by_its_name(value: Any, named: str) -> None:
    assert named in refused(value).detail


@pytest.mark.parametrize("value", [None, 5, 1.5, "text", True, [], [{}], b"bytes", float("nan"), [[[[]]]]])
def test_what_is_no_product_is_refused(value: Any) -> None:
    refused(value)


@pytest.mark.parametrize("value", [5, "sweet", None, {"a": 1}, [1], [None], [["a"]], True])
def test_a_flavors_own_attributes_are_lists_of_texts(value: Any) -> None:
    given = product({"attributes": {"product_type": "oat drink", "occasion": ["breakfast"]}}).attributes
    assert given is not None
    assert given.model_dump()["occasion"] == ["breakfast"]
    assert "occasion" in refused({"title": "t", "attributes": {"occasion": value}}).detail


@pytest.mark.parametrize("field", ["title", "description", "brand", "item_id"])
def test_half_of_a_surrogate_pair_refuses_the_product_that_it_stands_in_and_no_other(field: str) -> None:
    products = encode(
        b'{"products": [{"title": "a"}, {"title": "b", "%s": "x\\ud800"}, {"title": "\\ud83e\\udd5b"}]}' % field.encode()
    ).products
    assert (product(products[0]).title, product(products[2]).title) == ("a", "🥛")
    assert field in refused(products[1]).detail


def test_half_of_a_surrogate_pair_refuses_attributes_by_name_and_value() -> None:
    for given in ({"\ud800": ["x"]}, {"occasion": ["\udc00"]}, {"product_type": "\ud800"}):
        json.dumps(refused({"title": "t", "attributes": given}).detail, ensure_ascii=False).encode()


def test_an_id_may_be_a_whole_number_as_catalogs_hold_them() -> None:
    assert product({"item_id": 1040, "title": "t"}).item_id == "1040"
    asked = similar({"item_id": 1040, "exclude": [0, "00"], "retailer_id": -7})
    assert (asked.item_id, asked.exclude, asked.retailer_id) == ("1040", ["0", "00"], "-7")


def test_attributes_lose_control_characters_like_texts() -> None:
    read, warnings = read_product({"attributes": {"product_type": "oat\x00drink", "occasion": ["a\x1bb"]}}, LIMITS)
    assert read.attributes is not None
    assert read.attributes.model_dump() == {
        "product_type": "oat drink", "key_ingredients": [], "dietary_tags": [], "format": "", "occasion": ["a b"],
    }  # fmt: skip
    assert warnings == ["control_characters"]


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"product_type": "x" * 1025}, "product_type"), ({"key_ingredients": ["x"] * 65}, "key_ingredients"),
        ({"occasion": ["x"] * 65}, "occasion"),
        ({"occasion": ["x" * 1025]}, "occasion.0"), ({f"a{number}": [] for number in range(33)}, "at most 32"),
        ({"a" * 300: []}, "a" * 100),
    ],
)  # fmt: skip
def test_attributes_have_limits(attributes: Any, named: str) -> None:
    problem = refused({"title": "t", "attributes": attributes})
    assert named in problem.detail
    assert len(problem.detail) < 400


def test_a_product_that_was_read_before_is_checked_again() -> None:
    assert product(Product(title=" a\x00b ")).title == "a b"
    refused(Product(title="x" * 101))


# Requests.


def test_an_encode_request_is_read() -> None:
    request = encode({"products": [{"title": "a"}, 5, None], "routing_key": "k"})
    assert (request.products, request.routing_key) == ([{"title": "a"}, 5, None], "k")


def test_a_similar_request_is_read_with_its_defaults() -> None:
    request = similar({"item_id": "a"})
    assert (request.k, request.min_level, request.exclude, request.attributes, request.fields) == (10, 1, [], {}, ["title"])
    assert similar({"product": {"title": "a", "price": 3}, "k": 50, "min_level": 0}).product.title == "a"


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"products": [', b"\xff\xfe", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}",
        "{}".encode("utf-16"), b"{}{}", b"{'products': []}", b"[" * 10_000, b"\x00",
        b'{"item_id": "\\ud800}', b'{"products": ["\\ud800", ' + b"[" * 100_000, b'{"products": [' + b"9" * 5000 + b"]}",
    ],
)  # fmt: skip
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    for read in (encode, similar):
        with pytest.raises(Problem) as raised:
            read(body)
        assert raised.value.kind == "malformed-json"
        assert len(raised.value.detail) < 300


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "products"), ({"products": []}, "products"), ({"products": {}}, "products"), ({"products": None}, "products"),
        ({"products": [1], "prodcts": 1}, "prodcts"), ({"products": [1], "routing_key": 5}, "routing_key"),
        ({"products": [1], "routing_key": "k" * 1025}, "routing_key"), ([], ""), (5, ""), (None, ""), ("text", ""),
    ],
)  # fmt: skip
def test_an_encode_request_with_a_wrong_field_is_refused_by_its_name(body: Any, field: str) -> None:
    with pytest.raises(Problem) as raised:
        encode(body)
    assert raised.value.kind == "invalid-request"
    assert field in [each["field"] for each in raised.value.more["errors"]]
    assert field in raised.value.detail


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"k": 0}, "k"), ({"k": -1}, "k"), ({"k": 1.5}, "k"), ({"k": "many"}, "k"), ({"k": float("nan")}, "k"), ({"k": None}, "k"),
        ({"min_level": -1}, "min_level"), ({"min_level": 9}, "min_level"), ({"exclude": "a"}, "exclude"), ({"exclude": [""]}, "exclude.0"),
        ({"exclude": ["x"] * 10_001}, "exclude"), ({"fields": ["title"] * 33}, "fields"), ({"fields": ["f" * 257]}, "fields.0"),
        ({"attributes": {f"a{number}": "x" for number in range(17)}}, "attributes"),
        ({"attributes": {"brand": "x" * 1025}}, "attributes.brand"),
        ({"retailer_id": "r" * 1025}, "retailer_id"), ({"retailer_id": 7.5}, "retailer_id"),
        ({"attributes": {"brand": 5}}, "attributes.brand"),
        ({"attributes": {"brand": ["a"]}}, "attributes.brand"), ({"attributes": []}, "attributes"), ({"fields": "title"}, "fields"),
        ({"fields": [None]}, "fields.0"), ({"item_id": ""}, "item_id"), ({"colour": 1}, "colour"), ({"product": {}}, ""),
    ],
)  # fmt: skip
def test_a_similar_request_with_a_wrong_field_is_refused_by_its_name(body: Any, field: str) -> None:
    with pytest.raises(Problem) as raised:
        similar({"item_id": "a", **body})
    assert raised.value.kind == "invalid-request"
    assert field in [each["field"] for each in raised.value.more["errors"]]


def test_a_byte_order_mark_in_front_of_the_body_is_passed_over() -> None:
    assert encode(b"\xef\xbb\xbf" + b'{"products": [1]}').products == [1]


@pytest.mark.parametrize("body", [b'{"item_id": "\\ud800"}', b'{"item_id": "a", "fields": ["\\udfff"]}', b'{"item_id": "a", "\\ud800": 1}'])
def test_half_of_a_surrogate_pair_refuses_a_request_that_is_about_one_product(body: bytes) -> None:
    with pytest.raises(Problem) as raised:
        similar(body)
    assert raised.value.kind == "invalid-request"
    json.dumps(raised.value.body(), ensure_ascii=False).encode()


def test_an_error_repeats_no_more_of_a_made_up_name_than_tells_it() -> None:
    with pytest.raises(Problem) as raised:
        similar({"item_id": "a", "x" * 1_000_000: 1})
    assert len(json.dumps(raised.value.body())) < 1000


def test_a_similar_request_asks_for_one_thing() -> None:
    for body in ({}, {"item_id": "a", "product": {"title": "a"}}):
        with pytest.raises(Problem, match="either item_id or product"):
            similar(body)


def test_limits_are_told() -> None:
    with pytest.raises(Problem, match="send 3 or fewer") as raised:
        encode({"products": [1] * 4})
    assert (raised.value.kind, raised.value.more["limit"]) == ("too-many-products", 3)
    for k in (51, 10**18, 10**400):
        with pytest.raises(Problem, match="50 or fewer") as raised:
            similar({"item_id": "a", "k": k})
        assert raised.value.more["limit"] == 50


def test_a_request_with_many_errors_tells_the_first_ones() -> None:
    with pytest.raises(Problem) as raised:
        similar({"item_id": "a", "exclude": [0.5] * 9_000})
    assert len(raised.value.more["errors"]) == 20
    assert len(raised.value.detail) < 2000


# Anything at all.

SEEDS = [
    {"products": [{"item_id": "a", "title": "Oat Drink", "attributes": {"product_type": "x", "dietary_tags": ["b"]}}], "routing_key": "k"},
    {"product": {"title": "Oat Drink"}, "k": 3, "exclude": ["b"], "attributes": {"brand": "c"}, "fields": ["title"], "retailer_id": "7"},
]  # fmt: skip


def some_value(chance: random.Random, depth: int = 0) -> Any:
    names = [
        "products",
        "product",
        "item_id",
        "title",
        "brand",
        "description",
        "attributes",
        "key_ingredients",
        "k",
        "exclude",
        "fields",
        "x",
    ]
    kinds = [
        lambda: None, lambda: chance.random() < 0.5, lambda: chance.randint(-(2**70), 2**70), lambda: chance.choice([0.5, 1e308, -0.0]),
        lambda: "".join(chr(chance.choice([0, 10, 65, 0x85, 0x4E00, 0x1F95B, 0xFFFF])) for _ in range(chance.randint(0, 200))),
        lambda: [some_value(chance, depth + 1) for _ in range(chance.randint(0, 4))],
        lambda: {chance.choice(names): some_value(chance, depth + 1) for _ in range(chance.randint(0, 5))},
    ]  # fmt: skip
    return chance.choice(kinds if depth < 4 else kinds[:5])()


def only_problems(read: Any, *arguments: Any) -> None:
    told = None
    try:
        read(*arguments)
    except Problem as problem:
        told = problem
    if told:
        assert told.status in (400, 422)
        json.dumps(told.body()).encode()


def test_damaged_bytes_are_read_or_refused() -> None:
    chance = random.Random(0)
    for turn in range(4000):
        body = bytearray(json.dumps(SEEDS[turn % 2], ensure_ascii=chance.random() < 0.5).encode())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        for read in (read_encode_request, read_similar_request):
            only_problems(read, bytes(body), LIMITS)


def test_nested_junk_is_read_or_refused() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        value = some_value(chance)
        only_problems(read_product, value, LIMITS)
        for read in (read_encode_request, read_similar_request):
            only_problems(read, json.dumps(value).encode(), LIMITS)
            fields = value if isinstance(value, dict) else {"title": value, "fields": value, "attributes": value}
            for seed in SEEDS:
                only_problems(read, json.dumps({**seed, **fields}).encode(), LIMITS)
