"""Sessions of the pages: a browser that sent a key once keeps a signed note of whose it was, and not the key."""

import hashlib
import hmac

from fastapi import Request
from itsdangerous import BadData, URLSafeTimedSerializer

from shelfcode.serving.api.access import Gate
from shelfcode.serving.api.http_wire import bearer_key
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import KeySettings, SessionSettings

COOKIE = "shelfcode_session"
COOKIE_CHARACTERS = 512


def visitor(gate: Gate, request: Request) -> KeySettings:
    """Who looks at a page: the owner of the key in the request's header, else of the session in its cookie.

    Raises:
        Problem: there is neither, or it is no longer good.
    """
    key, session = bearer_key(request), request.cookies.get(COOKIE)
    if key or not session or gate.settings.auth == "none":
        return gate.caller(key)
    return owner(gate, session)


def new_session(settings: SessionSettings, caller: KeySettings) -> str:
    """A session of a caller, for a cookie: signed, and good for some hours."""
    return str(_serializer(settings).dumps(_mark(settings, caller)))


def seconds(settings: SessionSettings) -> int:
    """How long a session lasts."""
    return int(settings.hours * 3600)


def owner(gate: Gate, session: str) -> KeySettings:
    """The caller who signed in.

    Raises:
        Problem: the session has ended, is none of this endpoint's, or the key that it was opened with is gone or disabled.
    """
    settings = gate.settings.sessions
    ended = Problem("no-key", "the session has ended; sign in again")
    try:
        mark = str(_serializer(settings).loads(session[:COOKIE_CHARACTERS].encode("utf-8", "replace"), max_age=seconds(settings)))
    except BadData:
        raise ended from None
    caller = next((key for key in gate.settings.keys if hmac.compare_digest(_mark(settings, key).encode(), mark.encode())), None)
    if caller is None:
        raise ended
    return gate.enabled(caller)


def _serializer(settings: SessionSettings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret, salt="shelfcode.pages", signer_kwargs={"digest_method": hashlib.sha256})


def _mark(settings: SessionSettings, caller: KeySettings) -> str:
    """Tells a key from all others, and says nothing of it, nor of its hash."""
    return hmac.new(settings.secret.encode(), caller.sha256.encode(), hashlib.sha256).hexdigest()
