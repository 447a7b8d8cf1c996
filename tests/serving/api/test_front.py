"""What a request passes before a route is looked for: names, prefixes, HEAD and the scripts of other sites."""

from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from shelfcode.serving.api.front import Front
from shelfcode.serving.api.http_wire import json_response, path_of
from shelfcode.serving.pages.rendering import root_of
from shelfcode.serving.surface_settings import SurfaceSettings

KEY = {"name": "team", "sha256": "0" * 64}


def client(auth: str = "none", route_prefix: str = "", **http: Any) -> TestClient:
    settings = SurfaceSettings.model_validate(
        {"surfaces": {"search": "precision"}, "auth": auth, "keys": [KEY] if auth == "keys" else [], "http": http}
    )
    api = FastAPI(redirect_slashes=False)
    api.add_middleware(Front, settings=lambda: settings)

    @api.get("/v1/where")
    @api.get("/explore")
    async def where(request: Request) -> Response:
        return json_response(request, {"root": root_of(request), "path": path_of(request)})

    return TestClient(api, base_url="http://localhost", root_path=route_prefix)


# Names. A web page may have its own name lead to this machine.


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "[::1]", "localhost."]
)
def test_without_keys_this_machines_own_names_are_answered(host: str) -> None:
    assert client().get("/explore", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5", "", "127.0.0.1@evil",
        "[::1].x", "[::2]", "2130706433", "0.0.0.0", "x" * 5000,
    ],
)  # fmt: skip
def test_without_keys_any_other_name_is_refused_on_every_path(host: str) -> None:
    for path in ("/explore", "/v1/where", "/nowhere"):
        answer = client().get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.json()["type"].endswith(":unknown-host")
        assert len(answer.text) < 1000


def test_names_that_surfaces_yaml_adds_are_answered_and_with_keys_they_are_the_only_ones() -> None:
    for auth, local in (("none", 200), ("keys", 421)):
        asked = client(auth, hosts=["Shelf.example"])
        assert asked.get("/explore", headers={"Host": "shelf.example:443"}).status_code == 200
        assert asked.get("/explore", headers={"Host": "other.example"}).status_code == 421
        assert asked.get("/explore", headers={"Host": "localhost"}).status_code == local
    assert client("keys").get("/explore", headers={"Host": "any.example"}).status_code == 200


# Prefixes of a proxy.


def where(asked: TestClient, path: str = "/explore", **headers: str) -> Any:
    return asked.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}).json()


def test_below_a_proxys_prefix_links_have_it() -> None:
    assert where(client()) == {"root": "", "path": "/explore"}
    assert where(client(prefix="/shelf/codes")) == {"root": "/shelf/codes", "path": "/shelf/codes/explore"}


def test_a_proxys_prefix_stands_before_the_applications_own() -> None:
    assert where(client(prefix="/shelf", route_prefix="/app"), "/app/explore")["root"] == "/shelf/app"


def test_a_header_tells_the_prefix_only_where_the_proxy_is_trusted() -> None:
    assert where(client(), X_Forwarded_Prefix="/shelf")["root"] == ""
    assert where(client(trust_proxy=True), X_Forwarded_Prefix="/shelf/")["root"] == "/shelf"
    assert where(client(trust_proxy=True, prefix="/usual"))["root"] == "/usual"


@pytest.mark.parametrize(
    "told", ["//evil.example", "https://evil.example", "/a b", '/a"><script>', "shelf", "/a//b", "/" + "x" * 300, "/%0d%0aX:1", "/é"]
)
def test_a_header_that_is_no_plain_path_is_passed_over(told: str) -> None:
    asked = client(trust_proxy=True)
    assert asked.get("/explore", headers={"X-Forwarded-Prefix": told.encode()}).json()["root"] == ""


# HEAD.


def test_head_is_answered_as_get_without_the_body() -> None:
    asked = client()
    head, get = asked.head("/explore"), asked.get("/explore")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers | {"x-request-id": head.headers["x-request-id"]}
    assert int(head.headers["content-length"]) == len(get.content)
    assert asked.head("/nowhere").status_code == 404


# Scripts of other sites.


def test_scripts_of_other_sites_may_call_nothing_unless_surfaces_yaml_says_so() -> None:
    for path in ("/v1/where", "/explore"):
        answer = client().get(path, headers={"Origin": "https://shop.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_scripts_of_a_named_origin_may_call_the_api_and_not_the_pages() -> None:
    asked = client(cors_origins=["https://shop.example"])
    good, bad = {"Origin": "https://shop.example"}, {"Origin": "https://evil.example"}
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = asked.options("/v1/where", headers=good | preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in allowed.headers
    assert asked.options("/v1/where", headers=bad | preflight).status_code == 400
    assert asked.get("/v1/where", headers=good).headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in asked.get("/v1/where", headers=bad).headers
    assert "access-control-allow-origin" not in asked.get("/explore", headers=good).headers


@pytest.mark.parametrize(
    "http",
    [{"prefix": "shelf"}, {"prefix": "/shelf/"}, {"prefix": "//x"}, {"cors_origins": ["shop.example"]}, {"cors_origins": ["https://a/b"]}],
)
def test_settings_that_cannot_be_meant_are_refused(http: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pattern"):
        client(**http)
