"""The shop window over an endpoint of canned answers: carts, columns, walks, keys, and whatever goes wrong with them."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from canned import GOOD, LIMITED, NASTY, NASTY_ID, OF_A_SHOP, TITLES, Canned, browser
from fastapi.testclient import TestClient

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.pages.beam_tree import CHILDREN
from shelfcode.serving.pages.shop_query import CART, HISTORY


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
def client(canned: Canned) -> TestClient:
    return browser(canned)


def shop(client: TestClient, *more: tuple[str, object], **asked: object) -> Any:
    return client.get(f"/explore?{urlencode([('shop', 1), *asked.items(), *more])}")


def as_caller(key: str, **more: Any) -> tuple[Canned, TestClient]:
    canned = Canned("keys", more)
    return canned, browser(canned, headers={"Authorization": f"Bearer {key}"})


def column(text: str, name: str) -> str:
    """The card of one list."""
    start = re.search(rf'data-column="(?:[a-z-]+ )?{name}[ "]', text)
    assert start, f"there is no column {name}"
    end = re.search(r"data-column=|<section|data-walk", text[start.end() :])
    assert end
    return unescape(text[start.start() : start.end() + end.start()])


def led_to(answer: Any) -> list[tuple[str, str]]:
    """The fields of the address that an answer leads to."""
    assert answer.status_code == 303
    return parse_qsl(urlsplit(answer.headers["location"]).query)


# Carts.


def test_the_window_is_a_link_away(client: TestClient) -> None:
    text = client.get("/explore").text
    assert text.count('href="/explore?shop=1"') == 2
    product = client.get(f"/explore?{urlencode({'item_id': NASTY_ID})}").text
    assert f'href="/explore?{urlencode({"shop": 1, "cart": NASTY_ID}).replace("&", "&amp;")}"' in product


def test_an_empty_cart_is_answered_on_the_first_surface(client: TestClient, canned: Canned) -> None:
    answer = shop(client)
    assert answer.status_code == 200
    assert "Nothing yet" in answer.text
    assert 'What <span class="mono">search</span> returns' in answer.text
    assert canned.carts.asked[0][2].cart == []


def test_an_item_id_goes_into_the_cart_and_words_lead_to_products_like_them(client: TestClient, canned: Canned) -> None:
    put = led_to(shop(client, ("cart", "x"), surface="homepage", add=NASTY_ID, k="", temperature="0", retailer_id=""))
    assert put == [("shop", "1"), ("surface", "homepage"), ("cart", "x"), ("cart", NASTY_ID), ("temperature", "0")]
    assert led_to(shop(client, add="  ")) == [("shop", "1")]
    assert led_to(shop(client, ("cart", "x"), add="x")) == [("shop", "1"), ("cart", "x")]
    found = led_to(shop(client, add="oat drink"))
    assert found == [("shop", "1"), ("find", "oat drink")]
    text = client.get(f"/explore?{urlencode(found)}").text
    assert "Products like “oat drink”" in text
    assert 'href="/explore?shop=1&amp;cart=x">Add' in text
    assert 'href="/explore?shop=1&amp;cart=oat+drink">Put it into the cart all the same' in text
    (request,) = canned.similar
    assert request.product is not None
    assert (request.product.title, request.min_level) == ("oat drink", 0)


def test_the_cart_is_in_every_link_and_a_product_leaves_it_by_one(client: TestClient) -> None:
    text = shop(client, ("cart", "x"), ("cart", NASTY_ID), surface="homepage", retailer_id="7").text
    assert text.count('<input type="hidden" name="cart"') == 2
    kept = urlencode([("shop", 1), ("surface", "homepage"), ("retailer_id", "7"), ("cart", NASTY_ID)]).replace("&", "&amp;")
    assert f'href="/explore?{kept}">Remove' in text
    added = urlencode({"cart": "generator"})
    assert f'&amp;{added}">Add<span' in text
    everywhere = urlencode([("surface", "inspiration"), ("retailer_id", "7"), ("cart", "x"), ("cart", NASTY_ID)]).replace("&", "&amp;")
    assert everywhere in text


def test_a_product_that_nobody_knows_stays_in_the_cart_and_says_so(client: TestClient, canned: Canned) -> None:
    text = shop(client, ("cart", "nobody"), ("cart", "x")).text
    line = re.search(r'data-cart="nobody".*?</li>', text, re.S)
    assert line
    assert "Nothing is known of it" in line[0]
    assert "Nothing is known of it" not in text.replace(line[0], "")
    assert canned.carts.asked[0][2].cart == ["nobody", "x"]


def test_a_full_cart_takes_no_more_and_a_longer_one_is_refused(client: TestClient) -> None:
    full = [("cart", str(number)) for number in range(CART)]
    answer = shop(client, *full)
    assert answer.status_code == 200
    assert "The cart is full" in answer.text
    assert ">Add<" not in answer.text
    refused = shop(client, *full, add="x")
    assert (refused.status_code, "take one out first" in refused.text) == (422, True)
    longer = shop(client, *full, ("cart", "x"))
    assert (longer.status_code, f"cart names {CART + 1} products" in longer.text) == (422, True)


# What a surface returns.


def test_ways_of_answering_stand_side_by_side_and_that_of_the_surface_comes_first(client: TestClient, canned: Canned) -> None:
    text = shop(client, ("cart", "x"), surface="homepage").text
    assert re.findall(r'data-column="([^"]+)"', text) == ["as-set blend", "generator", "cr", "similar"]
    assert "discovery@v0001" in column(text, "as-set")
    assert "generator@v0002" in column(text, "generator")
    assert "1 of 2 also as set" in column(text, "generator")
    assert "1. as set" in column(text, "cr")
    assert "only similar" in column(text, "similar")
    assert "only cr" not in column(text, "similar")
    assert re.findall(r'data-column="([^"]+)"', shop(client).text) == ["as-set generator", "cr", "blend", "similar"]
    assert not any(shown for *_, shown in canned.carts.asked)


def test_a_list_tells_how_it_came_about(client: TestClient) -> None:
    text = shop(client, retailer_id="7").text
    generator = column(text, "generator")
    for words in ("in the catalog</dt><dd>1,200", "at the retailer</dt><dd>300", "to the end</dt><dd>3<", "not in stock</dt><dd>5<"):
        assert words in generator
    assert "retailer in training</dt><dd>no" in generator
    assert "-0.5" in generator
    assert "●○" in generator
    assert "shares 1 of 2 levels" in generator
    assert "followed to the end" not in column(text, "similar")


def test_what_was_not_there_to_go_by_is_told_in_words_unless_it_was_meant_so(client: TestClient, canned: Canned) -> None:
    canned.carts.names = ["similar"]
    text = shop(client).text
    words = ("No retriever of the workspace answers here.", "products similar to those of the cart are answered")
    assert all(each in column(text, "as-set") for each in words)
    assert not any(each in column(text, "similar") for each in words)


def test_the_request_is_the_one_that_was_asked_for(client: TestClient, canned: Canned) -> None:
    asked = {
        "retailer_id": "7",
        "k": "2",
        "beam_width": "9",
        "temperature": "0.5",
        "price_min": "1",
        "history": " a \r\nb\n\nb",
        "exclude": "c",
    }
    text = shop(client, ("cart", "x"), surface="search", **asked).text
    chosen = [request for surface, name, request, *_ in canned.carts.asked if (surface, name) == ("search", "cr")]
    (request,) = chosen
    assert (request.retailer_id, request.k, request.beam_width, request.temperature) == ("7", 2, 9, 0.5)
    assert (request.cart, request.history, request.exclude) == (["x"], ["a", "b", "b"], ["c"])
    assert request.price is not None
    assert (request.price.min, request.price.max) == (1, None)
    assert request.fields == ["title", "brand"]
    assert "<details open><summary>How it is asked" in text
    assert 'value="0.5"' in text
    assert "\na\nb\nb</textarea>" in text
    assert "/v1/surfaces/search/retrieve" in text
    body = unescape(text).partition(" -d '")[2]
    assert body.startswith('{"cart": ["x"], "history": ["a", "b", "b"], "retailer_id": "7", "k": 2, "beam_width": 9')


def test_all_surfaces_are_asked_as_they_are_set(client: TestClient, canned: Canned) -> None:
    text = shop(client, surface="homepage", temperature="2", beam_width="7", k="150").text
    assert re.findall(r'data-everywhere="([^"]+)"', text) == ["search", "homepage", "inspiration"]
    compact = canned.carts.asked[-3:]
    assert [(surface, name) for surface, name, *_ in compact] == [
        ("search", "generator"),
        ("homepage", "blend"),
        ("inspiration", "similar"),
    ]
    assert all((request.temperature, request.beam_width, request.k) == (None, None, 10) for _, _, request, *_ in compact)


def test_a_beam_is_walked_by_prefixes_that_lead_into_the_tree(client: TestClient, canned: Canned) -> None:
    canned.carts.steps = {**canned.carts.steps, **{f"3_{code}": 0.01 / (code + 1) for code in range(CHILDREN + 3)}, "3": 0.05}
    text = shop(client, ("cart", "x")).text
    walk = re.search(r'data-walk="as-set generator".*?</section>', text, re.S)
    assert walk
    assert re.findall(r'<summary><span class="mono">(\w+)</span>', walk[0])[:6] == ["1", "1_2", "1_3", "2", "2_2", "3"]
    assert "60%" in walk[0]
    assert "40%" in walk[0]
    assert "and 3 more, less probable" in walk[0]
    assert "3, 18 prefixes at the 2 levels" in walk[0]
    assert "&lt;i&gt;oat" in walk[0]
    assert 'href="/explore?flavor=precision&amp;release=precision%40v0002&amp;prefix=1_2"' in walk[0]
    assert "in the list: 1, 2" in walk[0]
    assert text.count("data-walk=") == 1


def test_without_a_retriever_the_window_has_what_is_similar(client: TestClient, canned: Canned) -> None:
    canned.carts.names = ["similar"]
    answer = shop(client, ("cart", "x"), surface="inspiration")
    assert answer.status_code == 200
    assert re.findall(r'data-column="([^"]+)"', answer.text) == ["as-set similar"]
    assert "Walk the beam" not in answer.text
    missing = shop(client, surface="search").text
    assert re.findall(r'data-column="([^"]+)"', missing) == ["as-set", "similar"]


# What goes wrong.


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Problem("not-ready", "precision@v0002 is <not> loaded here"), "precision@v0002 is <not> loaded here"),
        (ConnectionError("secret"), "a part of the server is down"),
        (RuntimeError("secret"), "a fault of the server"),
    ],
)
def test_a_problem_is_shown_in_its_own_column(client: TestClient, canned: Canned, failure: Exception, words: str) -> None:
    canned.carts.failures["cr"] = failure
    answer = shop(client, ("cart", "x"))
    assert answer.status_code == 200
    assert words in column(answer.text, "cr")
    assert "only generator" in column(answer.text, "as-set")
    assert words not in column(answer.text, "similar")
    assert "secret" not in answer.text
    assert "<not>" not in answer.text


def test_where_the_surface_itself_fails_the_others_are_shown_without_a_comparison(client: TestClient, canned: Canned) -> None:
    canned.carts.failures["blend"] = Problem("invalid-request", "no")
    text = shop(client, surface="homepage").text
    assert "also as set" not in text
    assert "only cr" in column(text, "cr")


def test_where_every_list_fails_so_does_the_page(client: TestClient, canned: Canned) -> None:
    canned.carts.failures.update(dict.fromkeys(("generator", "cr", "blend", "similar"), Problem("not-ready", "all down")))
    answer = shop(client, ("cart", "x"))
    assert (answer.status_code, answer.text.count("all down")) == (503, 7)
    canned.releases.live.clear()
    assert shop(client, ("cart", "x"), find="oat").status_code == 503


def test_what_is_not_there_leaves_the_rest_of_the_window(client: TestClient, canned: Canned) -> None:
    canned.carts.failures["retailers"] = ConnectionError()
    answer = shop(client, ("cart", "x"), find="a" * 1000)
    assert answer.status_code == 200
    assert '<datalist id="retailers"></datalist>' in answer.text
    canned.failure = ConnectionError()
    answer = shop(client, ("cart", "x"))
    assert answer.status_code == 200
    assert "Nothing is known of it" in answer.text


@pytest.mark.parametrize(("asked", "status", "words"), [
    ({"k": "0"}, 422, "k: "), ({"k": "ten"}, 422, "k: "), ({"k": "201"}, 422, "k is 201; ask for 200 or fewer"),
    ({"beam_width": "501"}, 422, "ask for 500 or fewer"), ({"beam_width": "-1"}, 422, "beam_width: "), ({"k": "9" * 5000}, 422, "k: "),
    ({"temperature": "nan"}, 422, "temperature: "), ({"temperature": "101"}, 422, "temperature: "),
    ({"price_min": "x"}, 422, "price.min: "),
    ({"price_min": "3", "price_max": "2"}, 422, "min 3 is above max 2"), ({"cart": "a" * 1025}, 422, "cart.0: "),
    ({"find": "a" * 1025}, 422, "find: "), ({"history": "a\n" * (HISTORY + 1)}, 422, "history names"),
    ({"retailer_id": "a" * 1025}, 422, "retailer_id"),
    ({"surface": "nowhere"}, 404, "there is no surface"),
])  # fmt: skip
def test_what_cannot_be_asked_is_told(client: TestClient, canned: Canned, asked: dict[str, str], status: int, words: str) -> None:
    answer = shop(client, **asked)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert canned.carts.asked == []


def test_text_of_catalog_and_user_shows_as_text(client: TestClient) -> None:
    nasty = [("cart", NASTY_ID), ("cart", f"{NASTY}\"'>"), ("history", "</textarea>" + NASTY), ("exclude", NASTY), ("find", NASTY)]
    text = shop(client, *nasty, retailer_id='">' + NASTY).text
    assert NASTY not in text
    assert "<b>Brand" not in text
    assert "<i>" not in text
    assert text.count("<script") == 1
    link = next(link for link in re.findall(r'href="([^"]+)">Remove', text))
    again = client.get(unescape(link))
    assert again.status_code == 200
    assert 'data-cart="a/b' not in again.text
    assert ' style="' not in text
    assert " onclick" not in text


# Keys.


def test_a_window_that_was_handed_on_is_shown_after_signing_in() -> None:
    client = browser(Canned("keys"))
    window = f"/explore?{urlencode([('shop', 1), ('cart', NASTY_ID), ('cart', 'x')])}"
    answer = client.get(window)
    assert answer.status_code == 401
    wanted = re.search(r'name="to" value="([^"]+)"', answer.text)
    assert wanted
    assert unescape(wanted[1]) == window
    led = client.post("/explore", data={"key": GOOD, "to": unescape(wanted[1])})
    assert (led.status_code, led.headers["location"]) == (303, window)
    assert client.get(window).text.count("data-cart=") == 2
    for other in ("//evil.example/explore?shop=1", "/explore?item_id=x", "https://evil.example"):
        assert client.post("/explore", data={"key": GOOD, "to": other}).headers["location"] == "/explore"
    long = browser(Canned("keys")).get("/explore?shop=1&cart=" + "a" * 4000)
    assert 'name="to"' not in long.text


def test_a_limited_key_sees_its_surfaces(client: TestClient) -> None:
    canned, client = as_caller(LIMITED)
    text = shop(client, ("cart", "x"), find="oat").text
    assert "homepage" not in text
    assert "discovery" not in text
    assert re.findall(r'data-everywhere="([^"]+)"', text) == ["search"]
    assert shop(client, surface="homepage").status_code == 403
    assert {surface for surface, *_ in canned.carts.asked} == {"search"}


def test_a_key_for_some_retailers_names_one_of_them_first() -> None:
    canned, client = as_caller(OF_A_SHOP)
    first = shop(client, ("cart", "x"))
    assert (first.status_code, "Choose a retailer first" in first.text) == (200, True)
    assert '<option value="7"></option>' in first.text
    assert NASTY not in unescape(first.text)
    other = shop(client, retailer_id="8")
    assert (other.status_code, "is not for retailer" in other.text) == (403, True)
    assert canned.carts.asked == []
    assert shop(client, retailer_id="7").status_code == 200
    assert {request.retailer_id for _, _, request, *_ in canned.carts.asked} == {"7"}


def test_where_titles_are_not_told_products_go_by_their_item_id() -> None:
    canned, client = as_caller(OF_A_SHOP)
    answer = shop(client, ("cart", "x"), retailer_id="7")
    assert answer.status_code == 200
    assert TITLES["x"] not in answer.text
    assert unescape(answer.text).count(NASTY_ID) > 2
    assert 'name="price_min"' not in answer.text
    assert all((request.fields, columns) == (["brand"], ("brand",)) for _, _, request, columns, _ in canned.carts.asked)


def test_a_walk_leads_nowhere_that_the_caller_may_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    canned, client = as_caller(LIMITED)
    as_set = canned.carts.side_of

    def of_the_other_flavor(surface: str, user_key: str, only: str | None = None) -> Any:
        side = as_set(surface, user_key, only)
        return type(side)(side.name, "discovery@v0001", side.parts)

    monkeypatch.setattr(canned.carts, "side_of", of_the_other_flavor)
    text = shop(client, ("cart", "x")).text
    assert "data-walk" in text
    assert "flavor=discovery" not in text


def test_the_command_of_a_window_has_a_place_for_the_key() -> None:
    _, client = as_caller(GOOD)
    assert "Authorization: Bearer YOUR_KEY" in shop(client).text
    assert GOOD not in shop(client).text
