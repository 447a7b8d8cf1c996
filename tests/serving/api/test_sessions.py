"""A session is a signed note that ends by itself, or with its key; nobody can make one, or read a key out of it."""

from typing import Any

import pytest
from itsdangerous import TimestampSigner

from shelfcode.serving.api.access import Gate, key_hash
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.api.sessions import new_session, owner
from shelfcode.serving.surface_settings import SurfaceSettings

SECRET = "s" * 32
KEYS = [{"name": "team", "sha256": key_hash("shelf_team")}, {"name": "other", "sha256": key_hash("shelf_other")}]


def gate(keys: Any = KEYS, **sessions: Any) -> Gate:
    return Gate.of(SurfaceSettings.model_validate({"surfaces": {"search": "precision"}, "keys": keys, "sessions": sessions}))


def refused(opened: Gate, session: str) -> Problem:
    with pytest.raises(Problem) as raised:
        owner(opened, session)
    return raised.value


def test_a_session_is_its_owners_at_every_replica_that_knows_the_secret() -> None:
    one, two = gate(secret=SECRET), gate(secret=SECRET)
    for caller in one.settings.keys:
        assert owner(two, new_session(one.settings.sessions, caller)) == caller


def test_a_session_tells_neither_the_key_nor_its_hash() -> None:
    opened = gate(secret=SECRET)
    session = new_session(opened.settings.sessions, opened.settings.keys[0])
    assert "shelf_" not in session
    assert KEYS[0]["sha256"] not in session
    assert SECRET not in repr(opened.settings)


def test_a_session_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = gate(secret=SECRET, hours=1)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_000)
    session = new_session(opened.settings.sessions, opened.settings.keys[0])
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_000 + 3600)
    assert owner(opened, session).name == "team"
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_000 + 3602)
    assert refused(opened, session).kind == "no-key"


@pytest.mark.parametrize(
    ("later", "kind"),
    [
        ([KEYS[1]], "no-key"), ([{**KEYS[0], "sha256": key_hash("shelf_new")}, KEYS[1]], "no-key"),
        ([{**KEYS[0], "disabled": True}, KEYS[1]], "key-not-permitted"),
    ],
)  # fmt: skip
def test_a_session_ends_with_its_key(later: Any, kind: str) -> None:
    before = gate(secret=SECRET)
    assert refused(gate(later, secret=SECRET), new_session(before.settings.sessions, before.settings.keys[0])).kind == kind


@pytest.mark.parametrize("session", ["", "shelf_team", KEYS[0]["sha256"], "a.b.c", "x" * 100_000, "\ud800", "IjEi.aaaaaa.bbbbbbbb"])
def test_what_nobody_signed_is_no_session(session: str) -> None:
    assert refused(gate(secret=SECRET), session).kind == "no-key"


def test_a_session_that_was_changed_or_signed_with_another_secret_is_none() -> None:
    opened = gate(secret=SECRET)
    session = new_session(opened.settings.sessions, opened.settings.keys[0])
    changed = ("B" if session[4] == "A" else "A").join((session[:4], session[5:]))
    assert refused(opened, changed).kind == "no-key"
    assert refused(gate(secret="t" * 32), session).kind == "no-key"
    assert refused(gate(), session).kind == "no-key"  # every start makes a secret of its own
