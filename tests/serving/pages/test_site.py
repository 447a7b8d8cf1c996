"""The pages over an endpoint of canned answers: rendering, escaping, problems and keys. serve_apps/test_browser.py has a real one."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from canned import DISABLED, GOOD, LIMITED, NASTY, NASTY_ID, Canned, browser
from fastapi.testclient import TestClient

from shelfcode.serving.api.questions import ItemPage
from shelfcode.serving.api.sessions import COOKIE


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
def client(canned: Canned) -> TestClient:
    return browser(canned)


def explore(client: TestClient, **asked: object) -> Any:
    return client.get(f"/explore?{urlencode(asked)}")


# What is shown.


def test_a_typed_product_has_its_codes_labels_confidence_and_warnings_in_every_flavor(client: TestClient) -> None:
    answer = client.post("/explore", data={"title": "Oat", "brand": "", "description": ""})
    assert answer.status_code == 200
    for flavor, release in (("precision", "precision@v0002"), ("discovery", "discovery@v0001")):
        card = re.search(rf'data-flavor="{flavor}".*?</table>.*?</div>\s*(?=<div|</div>)', answer.text, re.S)
        assert card
        assert release in card[0]
        assert "data-semantic-id>1_2<" in card[0]
        assert "&lt;i&gt;oat" in card[0]
        assert 'value="0.75"' in card[0]
        assert "0.25" in card[0]
        assert "fewer than three words" in card[0]
    assert answer.text.count("Rules read the attributes") == 1


def test_a_typed_product_also_comes_by_an_address(client: TestClient) -> None:
    assert "data-semantic-id>1_2<" in explore(client, title="Oat").text


def test_flavors_are_compared_and_what_both_found_is_marked(client: TestClient) -> None:
    text = explore(client, item_id=NASTY_ID).text
    assert text.count("in both") == 2
    assert "level 2 of 2" in text
    assert "only precision@v0002" in text
    assert "only discovery@v0001" in text


def test_a_surface_tells_its_route_and_what_it_would_return(client: TestClient) -> None:
    text = explore(client, item_id=NASTY_ID, surface="inspiration").text
    assert "<option selected>inspiration" in text
    assert "discovery 70%" in text
    assert "of discovery+precision" in text
    assert "score 0.50" in text
    assert "discovery level 0 of 2" in text
    assert "precision level 1 of 2" in text
    assert "of discovery<" in explore(client, title="Oat", surface="homepage").text


def test_the_tree_is_walked_by_links_that_keep_to_a_release(client: TestClient) -> None:
    root = explore(client, flavor="precision").text
    assert "All of precision" in root
    assert "/explore?flavor=precision&amp;release=precision%40v0002&amp;prefix=1" in root
    assert "children_from=24" in root
    leaf = explore(client, flavor="precision", prefix="1_2", products_from=24).text
    assert "Prefixes below it" not in leaf
    assert 'aria-current="page"><span class="mono">1_2' in leaf
    assert 'release=precision%40v0002&amp;prefix=1">' in leaf
    assert "25 to 25 of 60 products" in leaf


def test_children_alone_are_a_list_for_the_script(client: TestClient) -> None:
    text = explore(client, flavor="precision", part="children").text
    assert text.startswith("<ul")
    assert text.rstrip().endswith("</ul>")


def test_text_of_catalog_and_user_shows_as_text_and_links_lead_back(client: TestClient, canned: Canned) -> None:
    for asked in ({}, {"item_id": NASTY_ID}, {"title": NASTY, "description": "</textarea>" + NASTY}, {"flavor": "precision"}):
        text = explore(client, **asked).text
        assert NASTY not in text
        assert "<b>Brand" not in text
        assert "<i>" not in text
    link = f"/explore?{urlencode({'item_id': NASTY_ID})}"
    assert f'href="{link}"' in explore(client, flavor="precision").text
    assert client.get(link).status_code == 200
    assert ItemPage(NASTY_ID, ("precision@v0002",), 0, 0) in canned.asked


def test_a_very_long_title_is_cut_in_the_view_and_whole_in_the_form(client: TestClient) -> None:
    text = client.post("/explore", data={"title": "very long " * 500}).text
    assert "very long …" in text
    assert text.count(("very long " * 500).strip()) == 2  # the form itself, and that of the surfaces


def test_pages_keep_to_themselves(client: TestClient) -> None:
    answer = client.get("/explore")
    nonce = re.search(r"script-src 'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert nonce
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(f'nonce="{nonce[1]}"' in tag for tag in re.findall(r"<(?:script|style)[^>]*>", answer.text))
    assert nonce[1] not in client.get("/explore").text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert ' style="' not in answer.text
    assert " onclick" not in answer.text


def test_the_root_leads_to_explore_also_behind_a_prefix(canned: Canned) -> None:
    assert browser(canned).get("/").headers["location"] == "/explore"
    behind = browser(canned, root_path="/shelf")
    assert behind.get("/").headers["location"] == "/shelf/explore"
    assert 'action="/shelf/explore"' in behind.get("/explore").text


# What goes wrong.


@pytest.mark.parametrize(("asked", "status", "words"), [
    ({"item_id": "nobody"}, 404, "the item_id &#39;nobody&#39;"),
    ({"flavor": "nothing"}, 404, "there are precision, discovery"),
    ({"flavor": "precision", "prefix": "9_9"}, 404, "has no product under"),
    ({"flavor": "precision", "release": "../etc"}, 404, "no release"),
    ({"flavor": "precision", "release": "discovery@v0001"}, 404, "no release"),
    ({"title": "  ", "brand": ""}, 422, "nothing was typed"),
    ({"title": "a" * 20_001}, 422, "20,001 characters"),
    ({"flavor": "precision", "products_from": "-1"}, 422, "number of the first row"),
    ({"title": "Oat", "surface": "nowhere"}, 404, "there is no surface"),
])  # fmt: skip
def test_problems_are_told_in_the_page(client: TestClient, asked: dict[str, str], status: int, words: str) -> None:
    answer = explore(client, **asked)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text
    assert "Traceback" not in answer.text


def test_a_flavor_without_a_release_says_why_and_the_other_is_shown(client: TestClient, canned: Canned) -> None:
    del canned.releases.live["discovery"]
    canned.releases.problems["discovery"] = "discovery@v0001 was refused: <damaged>"
    answer = explore(client, title="Oat")
    assert answer.status_code == 200
    assert "no release of flavor discovery can be shown: discovery@v0001 was refused: &lt;damaged&gt;" in answer.text
    assert "data-semantic-id>1_2<" in answer.text
    assert explore(client, flavor="discovery").status_code == 503
    assert explore(client).status_code == 200
    canned.releases.live.clear()
    assert explore(client, title="Oat").status_code == 503


def test_a_release_that_was_refused_is_told_while_the_one_before_is_served(client: TestClient, canned: Canned) -> None:
    canned.releases.problems["precision"] = "precision@v0003 was refused: damaged"
    text = explore(client).text
    assert "precision@v0003 was refused" in text
    assert "precision@v0002 is served meanwhile" in text


@pytest.mark.parametrize(("failure", "status"), [(ConnectionError("secret"), 503), (RuntimeError("secret"), 500)])
def test_a_server_that_fails_says_so_without_its_insides(client: TestClient, canned: Canned, failure: Exception, status: int) -> None:
    canned.failure = failure
    answer = explore(client, flavor="precision")
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert "request_id" in answer.text


# Keys.


def signed_in(canned: Canned, key: str) -> TestClient:
    client = browser(canned)
    answer = client.post("/explore", data={"key": f" {key} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/explore")
    return client


def test_without_a_key_there_is_a_form_and_nothing_else() -> None:
    client = browser(Canned("keys"))
    for path in ("/explore", "/explore?item_id=x", "/docs-page"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert 'name="key"' in answer.text
        assert "precision" not in answer.text
    assert client.post("/explore", data={"title": "Oat"}).status_code == 401
    assert client.post("/explore", data={"title": "a" * 10_000}).status_code == 401


def test_a_good_key_becomes_a_cookie_that_scripts_cannot_read() -> None:
    canned = Canned("keys")
    cookie = browser(canned).post("/explore", data={"key": GOOD}).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert GOOD not in cookie
    assert f"max-age={12 * 3600}" in cookie.lower()
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert "secure" not in cookie.lower()
    assert "Secure" in browser(canned, base_url="https://shelf").post("/explore", data={"key": GOOD}).headers["set-cookie"]
    client = signed_in(canned, GOOD)
    assert client.get("/explore").status_code == 200
    assert "Sign out" in client.get("/explore").text
    assert client.get("/docs-page").status_code == 200


@pytest.mark.parametrize(("key", "status"), [("shelf_wrong", 401), ("", 401), (DISABLED, 403)])
def test_a_bad_key_sets_nothing(key: str, status: int) -> None:
    answer = browser(Canned("keys")).post("/explore", data={"key": key})
    assert answer.status_code == status
    assert 'name="key"' in answer.text
    assert "set-cookie" not in answer.headers


def test_a_header_is_as_good_as_a_cookie_and_a_disabled_one_as_bad() -> None:
    client = browser(Canned("keys"))
    assert client.get("/explore", headers={"Authorization": f"Bearer {GOOD}"}).status_code == 200
    assert client.get("/explore", headers={"Authorization": f"Bearer {DISABLED}"}).status_code == 403
    assert client.get("/explore", headers={"Cookie": f"{COOKIE}={GOOD}"}).status_code == 401  # the key itself is no session


def test_signing_out_takes_the_cookie_away() -> None:
    client = signed_in(Canned("keys"), GOOD)
    assert client.post("/explore", data={"sign_out": "1"}).status_code == 303
    assert client.get("/explore").status_code == 401


def test_a_limited_key_sees_its_surfaces_and_their_flavors() -> None:
    client = signed_in(Canned("keys"), LIMITED)
    for path in ("/explore", f"/explore?{urlencode({'item_id': NASTY_ID})}", "/explore?title=Oat"):
        text = client.get(path).text
        assert "precision@v0002" in text
        assert "discovery" not in text
        assert "homepage" not in text
    assert explore(client, flavor="discovery").status_code == 403
    assert explore(client, title="Oat", surface="homepage").status_code == 403


def test_where_anybody_may_ask_there_is_no_sign_in(client: TestClient) -> None:
    assert "Sign out" not in client.get("/explore").text
    assert "set-cookie" not in client.post("/explore", data={"key": GOOD}).headers


def test_too_many_requests_are_told_without_a_form() -> None:
    client = browser(Canned("keys", requests_per_second=1))
    answers = [client.get("/explore", headers={"Authorization": f"Bearer {GOOD}"}) for _ in range(8)]
    late = next(answer for answer in answers if answer.status_code == 429)
    assert 'name="key"' not in late.text
