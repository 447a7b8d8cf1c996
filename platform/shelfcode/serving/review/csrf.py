"""Tokens that tell a form or a script of these pages from one of another site: a browser sends its cookies along with both.

A token is signed, and bound to the session of the browser that it was made for. Where no keys are asked for there are no sessions: there
any token of this server will do, as no other site can read one. A caller who sends a key in a header needs none: no other site can make a
browser do that.
"""

import hashlib
import hmac

from fastapi import Request
from itsdangerous import BadData, URLSafeTimedSerializer

from shelfcode.serving.api.http_wire import bearer_key
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.sessions import COOKIE, seconds
from shelfcode.serving.surface_settings import SessionSettings

HEADER, FIELD = "X-CSRF-Token", "csrf_token"
TOKEN_CHARACTERS = 512
SENT_BY_BROWSERS = ("origin", "sec-fetch-site", "cookie")
"""Headers of which every request has at least one that a page of another site makes a browser send by POST."""


def new_token(settings: SessionSettings, request: Request) -> str:
    """A token for the pages that are shown to whoever sent this request; good for as long as a session."""
    return str(_serializer(settings).dumps(_bound_to(request)))


def check_token(settings: SessionSettings, request: Request, token: str | None = None) -> None:
    """Refuse a request that changes something and may have been made by another site's page.

    Args:
        token: from a form; where it is left out, that of the header X-CSRF-Token counts.

    Raises:
        Problem: there is no token, or it is none of this session.
    """
    if bearer_key(request) or not any(name in request.headers for name in SENT_BY_BROWSERS):
        return
    told = (request.headers.get(HEADER, "") if token is None else token)[:TOKEN_CHARACTERS]
    try:
        mark = str(_serializer(settings).loads(told.encode("utf-8", "replace"), max_age=seconds(settings)))
    except BadData:
        mark = ""
    if not hmac.compare_digest(mark.encode(), _bound_to(request).encode()):
        raise Problem("no-csrf-token", f"the page is too old, or none of this server: load it again. Scripts send its token in {HEADER}")


def _bound_to(request: Request) -> str:
    """Stands for the session of a browser."""
    return hashlib.sha256(request.cookies.get(COOKIE, "").encode("utf-8", "replace")).hexdigest()


def _serializer(settings: SessionSettings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret, salt="shelfcode.csrf", signer_kwargs={"digest_method": hashlib.sha256})
