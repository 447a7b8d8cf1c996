"""However odd the id that a caller sends, the answer has one, and it is a short plain word."""

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from ray.serve._private.http_util import RequestIdMiddleware

from shelfcode.serving.api.http_wire import json_response, request_id
from shelfcode.serving.api.request_ids import LeftToServe, middlewares


@pytest.fixture(scope="module")
def client() -> TestClient:
    """An application as Ray Serve runs it: our middleware, Serve's, the application's."""
    api = FastAPI()
    api.add_middleware(LeftToServe)

    @api.get("/")
    async def root(request: Request) -> Response:
        return json_response(request, {"id": request_id(request)})

    (front,) = middlewares()
    return TestClient(front.cls(RequestIdMiddleware(api)))


@pytest.mark.parametrize("given", ["abc-123", "x" * 128])
def test_a_plain_word_comes_back_once(client: TestClient, given: str) -> None:
    answer = client.get("/", headers={"X-Request-Id": given})
    assert answer.headers.get_list("x-request-id") == [given] == [answer.json()["id"]]


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 10_000, b"\xff\xfe", b"caf\xc3\xa9", "<script>", "a;b=c"])
def test_anything_else_is_replaced_by_one_new_id(client: TestClient, given: str | bytes | None) -> None:
    answer = client.get("/", headers={} if given is None else {"X-Request-Id": given})
    (made,) = answer.headers.get_list("x-request-id")
    assert made == answer.json()["id"]
    assert len(made) in (32, 36)


def test_of_two_ids_neither_is_taken(client: TestClient) -> None:
    answer = client.get("/", headers=[("X-Request-Id", "a"), ("X-Request-Id", "b")])
    (made,) = answer.headers.get_list("x-request-id")
    assert made not in ("a", "b")
