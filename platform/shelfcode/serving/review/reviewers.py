"""Who reviews: by the key of a request, or the session of a browser; where no keys are asked for, by the name that they give themselves."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from fastapi import Request, Response

from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.request_limits import REVIEWER_CHARACTERS
from shelfcode.serving.surface_settings import KeySettings, ReviewRole

HEADER, COOKIE = "X-Reviewer", "shelfcode_reviewer"
COOKIE_SECONDS = 365 * 24 * 3600
PLAIN = re.compile(rf"[^\x00-\x1f\x7f]{{1,{REVIEWER_CHARACTERS}}}")


@dataclass(frozen=True)
class Reviewer:
    """Somebody who reviews, and as what."""

    name: str
    role: ReviewRole

    @property
    def leads(self) -> bool:
        return self.role == "lead"


def reviewer_of(gate: Gate, request: Request, caller: KeySettings, role: ReviewRole = "reviewer") -> Reviewer:
    """The reviewer that a caller is.

    Raises:
        Problem: the key is not good for that, or the name in the header is none.
    """
    gate.permit_review(caller, role)
    own = own_name(request) if gate.settings.auth == "none" else None
    return Reviewer(own or caller.name, caller.review)


def own_name(request: Request) -> str | None:
    """The name that somebody gives themselves, percent-encoded where it is not ASCII: in the header, else in the cookie.

    Raises:
        Problem: what the header says is no name.
    """
    told = unquote(request.headers.get(HEADER, "")).strip()
    if told and not PLAIN.fullmatch(told):
        raise Problem("invalid-request", f"{HEADER} is no name: at most {REVIEWER_CHARACTERS} characters, without line breaks")
    kept = unquote(request.cookies.get(COOKIE, "")).strip()
    return told or (kept if PLAIN.fullmatch(kept) else None)


def remember_name(answer: Response, name: str, root: str, https: bool) -> None:
    """Keep in a browser the name that somebody gave themselves.

    Raises:
        Problem: it is none.
    """
    name = name.strip()
    if not PLAIN.fullmatch(name):
        raise Problem("invalid-request", f"give a name of at most {REVIEWER_CHARACTERS} characters, without line breaks")
    answer.set_cookie(COOKIE, quote(name), COOKIE_SECONDS, path=root or "/", secure=https, httponly=True, samesite="strict")
