"""Who reviews, and as what."""

from typing import Any

import pytest
from fastapi import Request, Response

from shelfcode.serving.api.access import Gate, key_hash
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.review.reviewers import COOKIE, HEADER, Reviewer, remember_name, reviewer_of
from shelfcode.serving.surface_settings import SurfaceSettings

ROLES = ("none", "reviewer", "lead")
KEYS = [{"name": role, "sha256": key_hash(role), "review": role} for role in ROLES]


def gate(auth: str) -> Gate:
    return Gate.of(SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "auth": auth, "keys": KEYS}))


def request(**headers: str) -> Request:
    encoded: Any = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": encoded})


def reviewer(opened: Gate, key: str | None, role: Any = "reviewer", **headers: str) -> Reviewer:
    return reviewer_of(opened, request(**headers), opened.caller(key), role)


def test_a_key_reviews_under_its_own_name_and_does_what_it_is_good_for() -> None:
    opened = gate("keys")
    assert reviewer(opened, "reviewer", **{HEADER: "somebody else"}) == Reviewer("reviewer", "reviewer")
    assert reviewer(opened, "lead", "lead") == Reviewer("lead", "lead")
    for key, role, told in (("none", "reviewer", "make_key"), ("none", "lead", "make_key"), ("reviewer", "lead", "for a lead")):
        with pytest.raises(Problem, match=told) as refused:
            reviewer(opened, key, role)
        assert refused.value.status == 403


def test_without_keys_anybody_leads_and_says_who_they_are() -> None:
    opened = gate("none")
    assert reviewer(opened, None, "lead") == Reviewer("anybody", "lead")
    assert reviewer(opened, None, **{HEADER: "Zo%C3%AB"}).name == "Zoë"
    assert reviewer(opened, None, Cookie=f"{COOKIE}=Ann%20B").name == "Ann B"
    assert reviewer(opened, None, Cookie=f"{COOKIE}=Ann", **{HEADER: "Zoe"}).name == "Zoe"
    assert reviewer(opened, None, Cookie=f"{COOKIE}=%00").name == "anybody"
    for odd in ("a%0Ab", "x" * 129):
        with pytest.raises(Problem, match=HEADER):
            reviewer(opened, None, **{HEADER: odd})


def test_a_browser_keeps_the_name() -> None:
    answer = Response()
    remember_name(answer, " Zoë ", "/shelf", https=True)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=Zo%C3%AB;")
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/shelf"))
    for odd in ("", "  ", "a\nb", "x" * 129):
        with pytest.raises(Problem):
            remember_name(Response(), odd, "", https=False)
