"""Who may ask: only hashes are kept, every one is compared, and a caller gets what the key is for."""

import contextlib
from typing import Any

import pytest

from shelfcode.errors import ShelfcodeError
from shelfcode.serving.api import access
from shelfcode.serving.api.access import ANYBODY, Gate, check_listening, key_hash, new_key
from shelfcode.serving.api.problems import Problem
from shelfcode.serving.surface_settings import KeySettings, SurfaceSettings

SURFACES = {
    "search": "precision",
    "homepage": "discovery",
    "inspiration": {"blend": {"discovery": 0.7, "precision": 0.3}},
    "trial": "experimental",
}
OPEN, ONE, BLEND, NOTHING, GONE = "shelf_open", "shelf_one", "shelf_blend", "shelf_nothing", "shelf_gone"
KEYS = [
    {"name": "open", "sha256": key_hash(OPEN)},
    {"name": "one", "sha256": key_hash(ONE), "surfaces": ["search"], "requests_per_second": 2},
    {"name": "blend", "sha256": key_hash(BLEND), "surfaces": ["inspiration"]},
    {"name": "nothing", "sha256": key_hash(NOTHING), "surfaces": []},
    {"name": "gone", "sha256": key_hash(GONE), "disabled": True},
]


def gate(auth: str = "keys", **more: Any) -> Gate:
    return Gate.of(SurfaceSettings.model_validate({"surfaces": SURFACES, "auth": auth, "keys": KEYS, **more}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the limiter sees it."""
    now = [1_000_000.0]

    class Clock:
        time = staticmethod(lambda: now[0])

    monkeypatch.setattr(access, "time", Clock)
    return now


def kind(raised: Any) -> str:
    problem = raised.value
    assert isinstance(problem, Problem)
    return problem.kind


def test_a_new_key_is_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("shelf_") and len(key) >= 6 + 43 for key in keys)


def test_what_is_kept_of_a_key_fits_the_settings_and_does_not_hold_it() -> None:
    key = new_key()
    kept = KeySettings(name="team", sha256=key_hash(key))
    assert key not in repr(kept)
    assert key not in repr(gate(keys=[kept.model_dump()]))
    assert gate(keys=[kept.model_dump()]).caller(key) == kept


@pytest.mark.parametrize("key", [key_hash(OPEN), OPEN + " ", OPEN[:-1], OPEN.upper(), "\x00", "ключ", "\ud800", "k" * 100_000])
def test_a_key_that_nobody_has_is_refused_and_so_is_the_hash_of_one(key: str) -> None:
    with pytest.raises(Problem, match="nobody has this key") as raised:
        gate().caller(key)
    assert kind(raised) == "no-key"
    assert key not in str(raised.value)


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_the_caller_is_told_how_to_send_one(key: str | None) -> None:
    with pytest.raises(Problem, match="Authorization: Bearer") as raised:
        gate().caller(key)
    assert kind(raised) == "no-key"


def test_a_disabled_key_is_known_and_refused() -> None:
    with pytest.raises(Problem, match="gone is disabled") as raised:
        gate().caller(GONE)
    assert kind(raised) == "key-not-permitted"


@pytest.mark.parametrize("key", [OPEN, BLEND, GONE, "shelf_nobody"])
def test_every_key_is_compared_in_constant_time_whichever_it_is(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    compared = []

    def compare(one: str, two: str) -> bool:
        compared.append((one, two))
        return one == two

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    with contextlib.suppress(Problem):
        gate().caller(key)
    assert compared == [(kept["sha256"], key_hash(key)) for kept in KEYS]


def test_where_no_keys_are_wanted_anybody_may_ask_for_anything() -> None:
    opened = gate("none")
    assert opened.caller(None) is opened.caller("whatever") is ANYBODY
    assert opened.surfaces(ANYBODY) == list(SURFACES)
    assert opened.flavors(ANYBODY) == ["precision", "discovery", "experimental"]
    opened.permit_surface(ANYBODY, "nowhere")  # whether there is such a surface is another question


@pytest.mark.parametrize(
    ("key", "surfaces", "flavors"),
    [
        (OPEN, ["search", "homepage", "inspiration", "trial"], ["precision", "discovery", "experimental"]),
        (ONE, ["search"], ["precision"]),
        (BLEND, ["inspiration"], ["precision", "discovery"]),
        (NOTHING, [], []),
    ],
)
def test_a_key_is_good_for_its_surfaces_and_the_flavors_they_go_to(key: str, surfaces: list[str], flavors: list[str]) -> None:
    opened = gate()
    caller = opened.caller(key)
    assert (opened.surfaces(caller), opened.flavors(caller)) == (surfaces, flavors)
    for surface in SURFACES:
        if surface in surfaces:
            opened.permit_surface(caller, surface)
        else:
            with pytest.raises(Problem) as raised:
                opened.permit_surface(caller, surface)
            assert kind(raised) == "key-not-permitted"
    for flavor in ("precision", "discovery", "experimental"):
        if flavor in flavors:
            opened.permit_flavor(caller, flavor)
        else:
            with pytest.raises(Problem) as raised:
                opened.permit_flavor(caller, flavor)
            assert kind(raised) == "key-not-permitted"


def test_a_limited_key_is_not_good_for_surfaces_that_only_the_default_answers() -> None:
    opened = gate(default="discovery")
    with pytest.raises(Problem, match="is for search"):
        opened.permit_surface(opened.caller(ONE), "unnamed")
    opened.permit_surface(opened.caller(OPEN), "unnamed")


def test_a_caller_who_asks_too_often_waits_for_the_next_second_and_nobody_else_does(clock: list[float]) -> None:
    opened = gate(limits={"requests_per_second": 3})
    slow, usual = opened.caller(ONE), opened.caller(OPEN)
    for _ in range(2):
        opened.admit(slow)
    with pytest.raises(Problem, match="one may make 2 requests a second") as raised:
        opened.admit(slow)
    assert (kind(raised), raised.value.status) == ("too-many-requests", 429)
    for _ in range(3):
        opened.admit(usual)
    with pytest.raises(Problem, match="open may make 3"):
        opened.admit(usual)
    clock[0] += 1.5
    opened.admit(slow)
    opened.admit(usual)


def test_anybody_has_one_limit_together(clock: list[float]) -> None:
    opened = gate("none", limits={"requests_per_second": 2})
    opened.admit(opened.caller(None))
    opened.admit(opened.caller("x"))
    with pytest.raises(Problem, match="anybody may make 2"):
        opened.admit(opened.caller("y"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_without_keys_the_server_listens_to_this_machine(host: str) -> None:
    check_listening(gate("none").settings, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.5", "127.0.0.1.example.com", "example.com"])
def test_without_keys_the_server_listens_to_nobody_else(host: str) -> None:
    with pytest.raises(ShelfcodeError, match=r"auth is none.*jobs/make_key.py"):
        check_listening(gate("none").settings, host)
    check_listening(gate().settings, host)
