"""Carts and stock over a running endpoint: who may ask, what is refused, and that nothing is lost or mixed while things change or die."""

import gzip
import json
import os
import signal
import socket
import time
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from released import Shop
from served import KEYS, Endpoint, asking, replica, wait_for

from shelfcode.releases.promotion import promote

RETRIEVE, CHOSEN = "/v1/surfaces/search/retrieve", "/v1/surfaces/search/chosen"
STOCK = "/v1/retailers/8/availability"
RELEASES = ("precision@v0001", "precision@v0002")


def retrieve(endpoint: Endpoint, **body: Any) -> dict[str, Any]:
    answer = endpoint.ask(RETRIEVE, body)
    assert answer.status == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["item_id"] for row in answer["results"]]


def put(endpoint: Endpoint, body: Any, path: str = STOCK, **headers: str) -> Any:
    return endpoint.ask(path, body, KEYS["stock"], "PUT", **headers)


def test_a_cart_is_answered_with_what_the_retailer_has(endpoint: Endpoint, shop: Shop) -> None:
    stocked = shop.products["item_id"].to_pylist()[::3]
    answer = retrieve(endpoint, cart=stocked[:2], retailer_id=7, k=12, fields=["title", "brand"], at="2026-11-29T18:30:00+01:00")
    assert len(set(ids(answer))) == 12
    assert set(ids(answer)) <= set(stocked[2:])
    assert (answer["side"], answer["fallbacks"]) == ("generator", ["no_history"])
    assert all(row["title"] for row in answer["results"])
    assert answer["counts"]["at_retailer"] == len(stocked)
    assert answer["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "status", "kind"),
    [
        *((method, path, {}, "", 401, "no-key") for method, path in (("POST", RETRIEVE), ("POST", CHOSEN), ("PUT", STOCK), ("GET", STOCK))),
        *((method, path, {}, "gone", 403, "key-not-permitted") for method, path in (("POST", RETRIEVE), ("POST", CHOSEN), ("PUT", STOCK))),
        ("GET", STOCK, None, "gone", 403, "key-not-permitted"),
        ("POST", "/v1/surfaces/homepage/retrieve", {}, "search", 403, "key-not-permitted"),
        ("PUT", STOCK, {"add": ["a"]}, "all", 403, "key-not-permitted"),  # which may not say what retailers have
        ("PUT", "/v1/retailers/9/availability", {"add": ["a"]}, "stock", 403, "key-not-permitted"),  # another's
        ("GET", "/v1/retailers/9/availability", None, "stock", 403, "key-not-permitted"),
        ("POST", RETRIEVE, {"retailer_id": "9"}, "stock", 403, "key-not-permitted"),
        ("POST", RETRIEVE, {}, "stock", 403, "key-not-permitted"),  # a key for some retailers names one of them
        ("POST", CHOSEN, {"request_id": "a", "item_ids": ["b"], "retailer_id": "9"}, "stock", 403, "key-not-permitted"),
        ("POST", "/v1/surfaces/search/similar", {"item_id": "a", "retailer_id": "9"}, "stock", 403, "key-not-permitted"),
        ("POST", "/v1/surfaces/nowhere/retrieve", {}, "all", 404, "unknown-surface"),
        ("POST", "/v1/surfaces/nowhere/chosen", {}, "all", 404, "unknown-surface"),
        ("POST", CHOSEN, {"request_id": "a", "item_ids": ["b"]}, "all", 404, "no-impressions"),
        ("GET", "/v1/retailers/nobody%22s/availability", None, "all", 404, "unknown-retailer"),
        ("POST", RETRIEVE, {"beam_width": 100_000}, "all", 422, "invalid-request"),
        ("POST", RETRIEVE, {"beam_width": 0}, "all", 422, "invalid-request"),
        ("POST", RETRIEVE, {"at": "yesterday"}, "all", 422, "invalid-request"),
        ("POST", RETRIEVE, {"fields": ["cost"]}, "all", 422, "invalid-request"),
        ("POST", RETRIEVE, {"attributes": {"supplier": "x"}}, "all", 422, "invalid-request"),
        ("POST", CHOSEN, {"request_id": "a"}, "all", 422, "invalid-request"),
        ("PUT", STOCK, {}, "stock", 422, "invalid-request"),
        ("POST", RETRIEVE, b'{"cart": [', "all", 400, "malformed-json"),
        ("GET", RETRIEVE, None, "all", 405, "method-not-allowed"),
    ],
)  # fmt: skip
def test_who_may_not_ask_or_asks_wrongly_is_told(
    endpoint: Endpoint, method: str, path: str, body: Any, key: str, status: int, kind: str
) -> None:
    answer = endpoint.ask(path, body, KEYS.get(key, ""), method)
    assert answer.status == status, answer.text
    assert answer.json["type"].endswith(kind)


@pytest.mark.parametrize(
    ("method", "path", "body"), [("POST", RETRIEVE, {}), ("POST", CHOSEN, {}), ("PUT", STOCK, {}), ("GET", STOCK, None)]
)
def test_whoever_asks_too_often_is_told_to_wait(endpoint: Endpoint, method: str, path: str, body: Any) -> None:
    answers = [endpoint.ask(path, body, KEYS["slow"], method) for _ in range(8)]
    limited = [answer for answer in answers if answer.status == 429]
    assert limited
    assert limited[0].headers["Retry-After"] == "1"


def test_a_change_of_stock_is_seen_by_the_next_request(endpoint: Endpoint, shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()
    assert put(endpoint, {"item_ids": items[:5]}).json["seen_by_all"]
    assert set(ids(retrieve(endpoint, retailer_id="8"))) == set(items[:5])
    for number in range(5, 15):
        assert put(endpoint, {"add": [items[number]], "remove": [items[number - 5]]}).status == 200
        assert set(ids(retrieve(endpoint, retailer_id="8"))) == set(items[number - 4 : number + 1])
    told = endpoint.ask(STOCK).json
    assert (told["products"], told["in_release"]["precision@v0002"]) == (5, 5)


def test_of_stock_that_is_cut_off_in_the_middle_nothing_is_applied(endpoint: Endpoint, shop: Shop) -> None:
    items = shop.products["item_id"].to_pylist()
    put(endpoint, {"item_ids": items[:3]})
    body = json.dumps({"item_ids": items}).encode()
    assert put(endpoint, body[: len(body) // 2]).status == 400
    assert put(endpoint, gzip.compress(body)[:-30], **{"Content-Encoding": "gzip"}).status == 400
    address = urlsplit(endpoint.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        headers = [f"Host: {address.netloc}", f"Authorization: Bearer {KEYS['stock']}", f"Content-Length: {len(body)}", "", ""]
        connection.sendall("\r\n".join([f"PUT {STOCK} HTTP/1.1", *headers]).encode() + body[: len(body) // 2])
    time.sleep(0.2)
    assert endpoint.ask(STOCK).json["products"] == 3
    assert put(endpoint, gzip.compress(body), **{"Content-Encoding": "gzip"}).status == 200
    assert endpoint.ask(STOCK).json["products"] == len(items)


def shoppers(endpoint: Endpoint) -> AbstractContextManager[list[dict[str, Any]]]:
    return asking(partial(retrieve, endpoint, retailer_id="7", k=5, beam_width=20), 3)


def test_promotions_under_load_move_release_and_retriever_together(endpoint: Endpoint, shop: Shop) -> None:
    codes = {}
    for release in RELEASES:
        parts = shop.workspace.read_tables(shop.workspace.parts(f"releases/{release.replace('@', '/')}/semantic_ids"))
        codes[release] = {row["item_id"]: row["semantic_id"] for table in parts for row in table.to_pylist()}
    with shoppers(endpoint) as seen:
        for turn in range(6):
            promote(shop.workspace, RELEASES[turn % 2])
            wait_for(endpoint, RELEASES[turn % 2])
    assert {answer["release"] for answer in seen} == set(RELEASES)
    for answer in seen:
        assert answer["retrievers"] == {"generator": f"generator@{answer['release'].partition('@')[2]}"}
        assert answer["fallbacks"] == ["no_history", "no_cart"]
        assert all(codes[answer["release"]][row["item_id"]] == row["semantic_id"] for row in answer["results"])
    assert retrieve(endpoint, retailer_id="7")["release"] == RELEASES[1]


def test_while_the_decoder_is_dead_no_request_fails_and_it_is_soon_back(endpoint: Endpoint) -> None:
    victim = replica(endpoint, "retrieval")
    with shoppers(endpoint) as seen:
        while len(seen) < 10:
            time.sleep(0.05)
        os.kill(victim.pid, signal.SIGKILL)
        before = len(seen)
        while len(seen) < before + 10:
            time.sleep(0.05)
    assert retrieve(endpoint, retailer_id="7")["side"] == "generator"
    assert replica(endpoint, "retrieval", besides=victim.pid).is_running()
