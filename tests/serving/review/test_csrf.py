"""A page of another site cannot make a browser change anything; tools with a key are not asked for a token."""

import time
from typing import Any

import pytest
from fastapi import Request
from itsdangerous import TimestampSigner

from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.sessions import COOKIE
from shelfcode.serving.review.csrf import HEADER, check_token, new_token
from shelfcode.serving.surface_settings import SessionSettings

SETTINGS = SessionSettings(secret="s" * 32)


def request(**headers: str) -> Request:
    encoded: Any = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": encoded})


def is_refused(asked: Request, token: str | None = None, settings: SessionSettings = SETTINGS) -> bool:
    try:
        check_token(settings, asked, token)
    except Problem as problem:
        return (problem.kind, problem.status) == ("no-csrf-token", 403)
    return False


def browser(session: str = "one", **headers: str) -> Request:
    return request(cookie=f"{COOKIE}={session}", origin="http://localhost", **headers)


def test_a_browser_needs_a_token_that_was_made_for_its_session() -> None:
    token = new_token(SETTINGS, browser())
    assert not is_refused(browser(), token)
    assert not is_refused(browser(**{HEADER: token}))
    assert is_refused(browser("another"), token)
    assert is_refused(browser(**{HEADER: token}), "")  # a form's own token counts, and nothing beside it
    for wrong in ("", "x", token[:-1], token * 9, "\udcff"):
        assert is_refused(browser(), wrong)


@pytest.mark.parametrize("sent", [{"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"cookie": "theme=dark"}])
def test_without_keys_whatever_a_browser_sends_needs_a_token_too(sent: dict[str, str]) -> None:
    assert is_refused(request(**sent))
    assert not is_refused(request(**sent), new_token(SETTINGS, request(**sent)))


def test_a_tool_needs_none() -> None:
    assert not is_refused(request())
    assert not is_refused(browser(authorization="Bearer shelf_key"))
    assert is_refused(browser(authorization="Basic abc"))


def test_a_token_ends_with_the_session_and_is_of_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    token = new_token(SETTINGS, browser())
    assert is_refused(browser(), token, SessionSettings(secret="t" * 32))
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) + 13 * 3600)
    assert is_refused(browser(), token)
