"""Whatever callers send of carts and stock is read, or refused with a problem that names the field."""

import json
from typing import Any

import pytest

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.retrieve_requests import (
    read_availability_request,
    read_chosen_request,
    read_retrieve_request,
    seconds_of,
)
from shelfcode.serving.surface_settings import LimitSettings

LIMITS = LimitSettings(neighbours=50, beams=300)


def retrieve(body: Any) -> Any:
    return read_retrieve_request(body if isinstance(body, bytes) else json.dumps(body).encode(), LIMITS)


def told(read: Any, body: Any) -> str:
    with pytest.raises(Problem) as raised:
        read(body)
    assert raised.value.status in (400, 422)
    return raised.value.detail


@pytest.mark.parametrize("body", [b"", b" \n", {}, b"\xef\xbb\xbf{}"])
def test_nothing_need_be_known(body: Any) -> None:
    request = retrieve(body)
    assert (request.cart, request.history, request.retailer_id, request.k, request.fields) == ([], [], None, None, ["title"])


def test_numbers_may_stand_for_ids() -> None:
    request = retrieve({"cart": [1040, "a"], "history": [7], "events": [{"item_id": 3}], "retailer_id": 12, "exclude": [4]})
    assert (request.cart, request.history, request.events[0].item_id, request.retailer_id, request.exclude) == (
        ["1040", "a"],
        ["7"],
        "3",
        "12",
        ["4"],
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cart": "a"}, "cart"), ({"cart": [""]}, "cart.0"), ({"cart": [None]}, "cart.0"), ({"cart": ["a"] * 10_001}, "cart"),
        ({"cart": ["\ud800"]}, "cart.0"), ({"cart": ["a" * 1025]}, "cart.0"), ({"history": [["a"]]}, "history.0"),
        ({"events": [{"at": 3}]}, "events.0.item_id"), ({"events": [{"item_id": "a", "x": 1}]}, "events.0.x"),
        ({"k": 0}, "k"), ({"k": 51}, "k"), ({"k": 1.5}, "k"), ({"beam_width": 0}, "beam_width"), ({"beam_width": 100_000}, "beam_width"),
        (b'{"temperature": NaN}', "temperature"), (b'{"temperature": Infinity}', "temperature"), ({"temperature": -0.1}, "temperature"),
        ({"price": {}}, "price"), ({"price": {"min": 3, "max": 2}}, "price"), (b'{"price": {"min": NaN}}', "price.min"),
        ({"price": {"min": -1}}, "price.min"), ({"attributes": {"brand": 3}}, "attributes.brand"), ({"fields": ["x"] * 33}, "fields"),
        ({"explain": "maybe"}, "explain"), ({"user": "me"}, "user"), ({"user_key": "k" * 1025}, "user_key"), ([], ""), (3, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(body: Any, field: str) -> None:
    assert field in told(retrieve, body)


def test_a_cart_of_ten_thousand_is_read() -> None:
    assert len(retrieve({"cart": [f"item {number}" for number in range(10_000)]}).cart) == 10_000


@pytest.mark.parametrize("body", [b"{", b'{"cart": ["a"', b"\xff", b"null x"])
def test_a_body_that_breaks_off_is_no_json(body: bytes) -> None:
    for read in (retrieve, read_availability_request, read_chosen_request):
        assert "JSON" in told(read, body)


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        (0, 0), (1764441000, 1764441000), ("2025-11-29T18:30:00Z", 1764441000), ("2025-11-29T19:30:00+01:00", 1764441000),
        ("2025-11-29T13:00:00-05:30", 1764441000), ("2025-11-29 18:30", 1764441000), ("2025-11-29", 1764374400),
        (1764441000000, 1764441000),
        ("1969-12-31T23:59:59Z", -1), ("9999-12-31T23:59:59Z", 253402300799),
    ],
)  # fmt: skip
def test_times_are_read_as_those_of_a_log(at: Any, seconds: int) -> None:
    assert seconds_of(at) == seconds


@pytest.mark.parametrize("at", ["", "soon", "2025-13-01", "2025-11-29T18:30:00+99:00", float("nan"), float("inf"), 1e300, -1e300])
def test_what_is_no_time_is_refused(at: Any) -> None:
    with pytest.raises(Problem, match="at: "):
        seconds_of(at)


def test_stock_is_all_of_it_or_a_change() -> None:
    assert read_availability_request(b'{"item_ids": []}').item_ids == []
    change = read_availability_request(b'{"add": [1, "b"], "remove": ["c"]}')
    assert (change.add, change.remove, change.item_ids) == (["1", "b"], ["c"], None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "either item_ids"), ({"item_ids": ["a"], "add": ["b"]}, "either item_ids"),
        ({"add": ["a"], "remove": ["a"]}, "both added and removed"),
        ({"item_ids": "a"}, "item_ids"), ({"item_ids": [{"a": 1}]}, "item_ids.0"), ({"add": ["a"], "stock": 3}, "stock"),
    ],
)  # fmt: skip
def test_stock_that_says_nothing_or_two_things_is_refused(body: Any, field: str) -> None:
    assert field in told(read_availability_request, json.dumps(body).encode())


def test_a_choice_names_its_request_and_products() -> None:
    chosen = read_chosen_request(b'{"request_id": "abc", "item_ids": [1], "event": "order"}')
    assert (chosen.request_id, chosen.item_ids, chosen.event) == ("abc", ["1"], "order")
    for body in (
        {"request_id": "a b", "item_ids": ["a"]},
        {"request_id": "a", "item_ids": []},
        {"request_id": "a", "item_ids": ["b"], "event": "shown"},
        {"request_id": "a", "item_ids": ["b"], "event": "A B"},
    ):
        assert told(read_chosen_request, json.dumps(body).encode())
