"""The endpoint's HTTP as Ray Serve runs it, over canned answers: what it lets in, and what it never says."""

import gzip
import json
import re
import socket
import time
from typing import Any

import pytest
from boundless import boundless
from canned import GOOD, LIMITED, NASTY_ID, Canned
from fastapi.testclient import TestClient
from fronted import fronted, listening

from serve_apps.ingress import api
from shelfcode.serving.api.questions import ItemPage, Neighbours, PrefixPage

BODY = json.dumps({"products": [{"title": "Oat Drink, 1 l"}]}).encode()
ENCODE, SIMILAR = "/v1/surfaces/search/encode", "/v1/surfaces/search/similar"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def canned() -> Canned:
    return Canned("keys")


@pytest.fixture
def client(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    return TestClient(fronted(canned, monkeypatch), headers=bearer(GOOD), follow_redirects=False, raise_server_exceptions=False)


def kind(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


# Methods.


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/health", "GET, HEAD"),
        ("/v1/surfaces", "GET, HEAD"),
        ("/explore", "GET, HEAD, POST"),
        (ENCODE, "POST"),
        ("/v1/items/a%2Fb", "GET, HEAD"),
    ],
)
def test_head_is_answered_where_get_is_and_other_methods_are_told_which_there_are(client: TestClient, path: str, allowed: str) -> None:
    head = client.head(path)
    assert head.content == b""
    assert (head.status_code == 405) == ("GET" not in allowed)
    refused = client.request("PUT", path)
    assert (refused.status_code, refused.headers["allow"], kind(refused)) == (405, allowed, "method-not-allowed")


def test_an_address_is_not_redirected_to_whatever_host_was_named(client: TestClient) -> None:
    answer = client.post(f"{ENCODE}/", content=BODY, headers={"Host": "evil.example"})
    assert (answer.status_code, kind(answer)) == (404, "not-found")
    assert "evil.example" not in answer.text


# Bodies.


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_packed_body_and_one_with_a_byte_order_mark_are_read(client: TestClient, encoding: str) -> None:
    plain = client.post(ENCODE, content=BODY).json()["results"]
    assert client.post(ENCODE, content=gzip.compress(BODY), headers={"Content-Encoding": encoding}).json()["results"] == plain
    assert client.post(ENCODE, content=b"\xef\xbb\xbf" + BODY).json()["results"] == plain


def test_a_body_is_measured_as_it_unpacks(client: TestClient) -> None:
    bomb = gzip.compress(b" " * 50 * 2**20)
    assert len(bomb) < 300_000
    answer = client.post(ENCODE, content=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, kind(answer)) == (413, "body-too-large")


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (gzip.compress(BODY, mtime=0)[:-3], "gzip", 400),
        (BODY, "gzip", 400),
        (gzip.compress(BODY, mtime=0) * 2, "gzip", 400),
        (BODY, "br", 415),
        (BODY, "gzip, gzip", 415),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(client: TestClient, body: bytes, encoding: str, status: int) -> None:
    assert client.post(ENCODE, content=body, headers={"Content-Encoding": encoding}).status_code == status


def trickle(port: int, path: str, headers: str, seconds: float = 20) -> bytes:
    """What comes back to a client that sends one byte of its body every now and then, for as long as it is let."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.05)
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode())
        end = time.monotonic() + seconds
        answer = b""
        while time.monotonic() < end:
            try:
                received = client.recv(65536)
            except TimeoutError:
                client.sendall(b"x" if "chunked" not in headers else b"1\r\nx\r\n")
                continue
            except ConnectionError:  # closed while a byte was under way
                return answer
            if not received:
                return answer
            answer += received
    raise AssertionError(f"still connected after {seconds} s: {answer[:200]!r}")


def test_whoever_sends_slowly_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(fronted(Canned("keys", body_seconds=0.2), monkeypatch)) as port:
        for path in (ENCODE, SIMILAR, "/explore"):
            for size in ("Content-Length: 3000", "Transfer-Encoding: chunked"):
                answer = trickle(port, path, f"Authorization: Bearer {GOOD}\r\n{size}")
                assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
        assert trickle(port, "/explore", "Content-Length: 3000").startswith(b"HTTP/1.1 408 ")  # a key that never ends


def test_nobody_without_a_good_key_has_more_than_a_key_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(fronted(Canned("keys", body_seconds=60), monkeypatch)) as port:
        for path in (ENCODE, SIMILAR, "/explore"):
            for headers in (
                "Content-Length: 30000",
                "Transfer-Encoding: chunked",
                "Authorization: Bearer shelf_nobody\r\nContent-Length: 30000",
            ):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.settimeout(20)
                    client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode())
                    assert client.recv(100).startswith(b"HTTP/1.1 401 "), (path, headers)


# Failures.


def test_a_failure_says_nothing_but_its_request_id_once(client: TestClient, canned: Canned) -> None:
    canned.failure = RuntimeError("secret")
    for path in ("/v1/items/a", "/explore?flavor=precision"):
        answer = client.get(path, headers={"X-Request-Id": "r1"})
        assert answer.status_code == 500
        assert answer.headers.get_list("x-request-id") == ["r1"]
        assert "r1" in answer.text
        assert "secret" not in answer.text


# What a caller may see.


def test_columns_go_along_with_every_question(client: TestClient, canned: Canned) -> None:
    client.get(f"/v1/items/{NASTY_ID}")
    client.get("/v1/flavors/precision/prefixes")
    for asked in ({"item_id": NASTY_ID}, {"flavor": "precision"}):
        client.get("/explore", params=asked)
    questions = [each for each in canned.asked if isinstance(each, ItemPage | PrefixPage | Neighbours)]
    assert {type(each) for each in questions} == {ItemPage, PrefixPage, Neighbours}
    assert {each.columns for each in questions} == {("title", "brand", "category_path", "price", "attributes")}


def test_a_key_may_see_other_columns_than_the_endpoint_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    canned = Canned("keys", {"columns": ["brand"]})
    client = TestClient(fronted(canned, monkeypatch), headers=bearer(GOOD))
    client.get("/explore", params={"item_id": NASTY_ID})
    client.get("/v1/flavors/precision/prefixes")
    shown = [each.fields for each in canned.asked if isinstance(each, Neighbours)]
    assert shown == [("brand",)] * len(shown)
    assert [each.title for each in canned.asked if isinstance(each, PrefixPage)][-1] == ()


def test_a_limited_key_learns_of_no_flavor_or_surface_but_its_own(client: TestClient) -> None:
    paths = [f"/v1/flavors/{name}/prefixes" for name in ("discovery", "nothing")]
    paths += [f"/v1/items/x?release={name}@v0001" for name in ("discovery", "nothing")]
    paths += [f"/explore?flavor={name}" for name in ("discovery", "nothing")]
    for one, other in zip(paths[::2], paths[1::2], strict=True):
        there, nowhere = (client.get(path, headers=bearer(LIMITED)) for path in (one, other))
        assert there.status_code == nowhere.status_code == 403
        assert "inspiration" not in there.text + nowhere.text
        assert "discovery" not in nowhere.text
    for surface in ("homepage", "nothing"):
        answer = client.post(f"/v1/surfaces/{surface}/encode", content=BODY, headers=bearer(LIMITED))
        assert answer.status_code == 403
        assert "inspiration" not in answer.text
    assert client.get("/v1/flavors/nothing/prefixes").json()["detail"].endswith("there are precision, discovery")


def test_a_web_page_that_has_its_name_lead_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(fronted(Canned(), monkeypatch), base_url="http://localhost:8000")
    assert client.get("/explore").status_code == 200
    assert client.get("/explore", headers={"Host": "evil.example:8000"}).status_code == 421
    assert client.post(ENCODE, content=BODY, headers={"Host": "evil.example:8000"}).status_code == 421


def test_links_below_a_proxys_prefix_lead_back_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(fronted(Canned("keys", {"http": {"prefix": "/shelf"}}), monkeypatch), headers=bearer(GOOD), follow_redirects=False)
    assert client.get("/").headers["location"] == "/shelf/explore"
    text = client.get("/explore", params={"flavor": "precision"}).text
    links = re.findall(r'(?:href|action)="(/[^"]*)"', text)
    assert links
    assert all(link.startswith("/shelf/") for link in links)
    assert client.get("/v1/flavors/precision/prefixes").json()["children"]["next"].startswith("/shelf/v1/flavors/precision/prefixes?")


# What OpenAPI tells.


def test_every_parameter_and_body_in_openapi_has_its_limits() -> None:
    told = api.openapi()
    operations = [operation for methods in told["paths"].values() for operation in methods.values()]
    parameters = {parameter["name"]: parameter["schema"] for operation in operations for parameter in operation.get("parameters", [])}
    assert {"surface", "flavor", "prefix", "item_id", "release", "limit", "from", "children_from"} <= set(parameters)
    assert list(boundless(parameters)) == []
    numbers = {name: schema for name, schema in parameters.items() if schema.get("type") == "integer"}
    assert [name for name, schema in numbers.items() if "maximum" not in schema] == []
    assert list(boundless([operation.get("requestBody", {}) for operation in operations])) == []
