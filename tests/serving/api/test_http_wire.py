"""Bodies up to a limit, keys from where they belong, ids that are plain words, and logs that say nothing of what was asked."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from shelfcode.serving.api.http_wire import RequestLog, bearer_key, json_response, problem_response, read_body, request_id
from shelfcode.serving.api.problems import MEDIA_TYPE, Problem


def request(*chunks: bytes, **headers: str) -> Request:
    """A request whose body arrives in chunks."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0) if waiting else b"", "more_body": bool(waiting)}

    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "headers": sent, "server": ("h", 80), "scheme": "http"}
    made = Request(scope, receive)
    made.scope["left"] = waiting
    return made


# Bodies.


def body(most: int, *chunks: bytes, **headers: str) -> bytes:
    return asyncio.run(read_body(request(*chunks, **headers), most, 5))


def test_a_body_of_the_largest_size_is_read_whole() -> None:
    assert body(6, b"abc", b"", b"def") == b"abcdef"
    assert body(6, b"abc", content_length="3") == b"abc"
    assert body(6) == b""


@pytest.mark.parametrize("headers", [{}, {"content_length": "odd"}, {"content_length": "-1"}, {"content_length": "2"}])
def test_a_larger_body_is_not_read_to_its_end(headers: dict[str, str]) -> None:
    asked = request(b"abc", b"defg", b"never read", **headers)
    with pytest.raises(Problem, match="more than 6 bytes") as raised:
        asyncio.run(read_body(asked, 6, 5))
    assert (raised.value.kind, raised.value.more["limit"]) == ("body-too-large", 6)
    assert asked.scope["left"] == [b"never read"]


def test_a_body_that_says_it_is_larger_is_not_read_at_all() -> None:
    asked = request(b"abc", content_length="7")
    with pytest.raises(Problem, match="body-too-large"):
        asyncio.run(read_body(asked, 6, 5))
    assert asked.scope["left"] == [b"abc"]


# Keys.


@pytest.mark.parametrize("header", ["Bearer k1", "bearer k1", "BEARER   k1 "])
def test_a_key_is_read_from_its_header(header: str) -> None:
    assert bearer_key(request(authorization=header)) == "k1"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic k1", "k1"])
def test_nothing_else_is_a_key(header: str) -> None:
    assert bearer_key(request(authorization=header)) is None
    assert bearer_key(request()) is None


# Ids and answers.


@pytest.mark.parametrize("given", ["abc", "A-1_2.3:4", "x" * 128])
def test_a_callers_own_id_is_kept_where_it_is_a_plain_word(given: str) -> None:
    assert request_id(request(x_request_id=given)) == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\nb", "é", "<script>", "a;b"])
def test_any_other_id_is_replaced_by_one_that_stays_the_same_for_the_request(given: str) -> None:
    asked = request(x_request_id=given)
    made = request_id(asked)
    assert made != given
    assert len(made) == 32
    assert request_id(asked) == made
    assert request_id(request()) != made


def test_answers_are_json_that_nobody_keeps() -> None:
    answer = json_response(request(x_request_id="r1"), {"title": "Süß", "price": float("nan")}, 201)
    assert json.loads(answer.body) == {"title": "Süß", "price": None}
    assert (answer.status_code, answer.headers["x-request-id"], answer.headers["cache-control"]) == (201, "r1", "no-store")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("no-key", "www-authenticate", 'Bearer realm="shelfcode"'),
        ("too-many-requests", "retry-after", "1"),
        ("not-ready", "retry-after", "1"),
    ],
)
def test_a_problem_is_told_with_what_its_status_wants(kind: str, name: str, value: str) -> None:
    answer = problem_response(request(x_request_id="r1"), Problem(kind, "d", more=1))
    assert (answer.media_type, answer.headers[name]) == (MEDIA_TYPE, value)
    told = json.loads(answer.body)
    assert (told["status"], told["request_id"], told["instance"], told["more"]) == (answer.status_code, "r1", "/v1/x", 1)
    assert name not in problem_response(request(), Problem("unknown-item", "d")).headers


# Logs.


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the endpoint logs, also in a process where Ray Serve has taken its log over and passes nothing on."""
    log = logging.getLogger("ray.serve")
    log.addHandler(caplog.handler)
    propagate, log.propagate = log.propagate, False
    yield caplog
    log.propagate = propagate
    log.removeHandler(caplog.handler)


@pytest.fixture
def client() -> TestClient:
    api = FastAPI()
    api.add_middleware(RequestLog)

    @api.post("/v1/items/{item_id}")
    async def item(asked: Request, item_id: str) -> Response:
        asked.scope["shelfcode.caller"] = "team"
        asked.scope["shelfcode.log"] = item_id != "unlogged"
        if item_id == "broken":
            raise RuntimeError(item_id)
        return json_response(asked, {"item_id": item_id})

    return TestClient(api, raise_server_exceptions=False)


def lines(logged: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in logged.records if record.name == "ray.serve"]


def test_a_request_is_one_line_of_ids_and_sizes(client: TestClient, logged: pytest.LogCaptureFixture) -> None:
    with logged.at_level(logging.INFO, "ray.serve"):
        client.post(
            "/v1/items/secret?name=secret", json={"title": "secret"}, headers={"X-Request-Id": "r1", "Authorization": "Bearer secret"}
        )
    (line,) = lines(logged)
    assert "secret" not in line
    for told in ("method=POST", "status=200", "route=/v1/items/{item_id}", "request_id=r1", "caller=team", "bytes_out=20"):
        assert told in line


def test_a_request_that_fails_and_one_that_goes_nowhere_are_logged_too(client: TestClient, logged: pytest.LogCaptureFixture) -> None:
    with logged.at_level(logging.INFO, "ray.serve"):
        client.post("/v1/items/broken")
        client.get("/secret")
    failed, nowhere = lines(logged)
    assert "route=/v1/items/{item_id}" in failed
    assert "status=404" in nowhere
    assert "secret" not in nowhere


def test_what_shall_not_be_logged_is_not(client: TestClient, logged: pytest.LogCaptureFixture) -> None:
    with logged.at_level(logging.INFO, "ray.serve"):
        client.post("/v1/items/unlogged")
    with logged.at_level(logging.WARNING, "ray.serve"):
        client.post("/v1/items/secret")
    assert lines(logged) == []
