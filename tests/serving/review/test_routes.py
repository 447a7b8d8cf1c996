"""The review over HTTP: who may do what, what is refused, and that what was done counts once."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.routing import APIRoute
from planted_audit import plant_audit
from pydantic import TypeAdapter
from reviewing import Review, decision, named, reviewing, token_of

from shelfcode.audit.decisions.decision import Filters
from shelfcode.serving.review.csrf import HEADER
from shelfcode.serving.review.routes import router

Opened = Callable[..., Review]


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    """One for all tests that leave no trace which others would trip over; a new store takes half a second to make."""
    with reviewing(tmp_path_factory.mktemp("review"), 400) as opened:
        yield opened.certain()


def kind(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens reviews that end with the test."""
    with ExitStack() as reviews:
        yield lambda *arguments, **more: reviews.enter_context(reviewing(*arguments, **more))


# Every route.


@dataclass(frozen=True)
class Call:
    """A request that is good, by whoever is `by`; `stale` makes one of it that comes too late, None where nothing can change under it."""

    method: str
    path: str
    by: str = "ann"
    body: Callable[[Review], dict[str, Any]] | None = None
    stale: Callable[[Review], dict[str, Any]] | None = None


def decided(review: Review, by: str = "ann", verdict: str = "keep") -> dict[str, Any]:
    """A card that somebody has decided just now, as they were shown it before."""
    (card,) = review.next(by)
    answer = review.client(by).post(f"{review.base}/decisions", json=decision(card, verdict))
    assert answer.status_code == 200, answer.text
    return card


def contradicted(review: Review) -> dict[str, Any]:
    """A card on which two reviewers contradict each other, as it stands."""
    card = decided(review, "ann", "unsure")
    shown = review.client("bob").get(f"{review.base}/findings/{card['finding_id']}").json()
    answer = review.client("bob").post(f"{review.base}/decisions", json=decision(shown, "unsure"))
    assert answer.json()["state"] == "conflict", answer.text
    return dict(answer.json())


def settled(review: Review) -> dict[str, Any]:
    """A card that a lead has settled."""
    card = contradicted(review)
    answer = review.client("lea").post(f"{review.base}/adjudications", json=decision(card))
    assert answer.status_code == 200, answer.text
    return card


def marks(card: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "applied", "finding_ids": [card["finding_id"]]}


def undone(review: Review) -> dict[str, Any]:
    """An undo that was made already."""
    card = decided(review)
    (event,) = review.client("ann").get(f"{review.base}/findings/{card['finding_id']}").json()["decisions"]
    assert review.client("ann").post(f"{review.base}/undo", json={"event_id": event["event_id"]}).status_code == 200
    return {"event_id": event["event_id"]}


def undoes_the_last(review: Review) -> dict[str, Any]:
    decided(review)
    return {}


def pattern_of(review: Review) -> str:
    patterns = review.client("ann").get(f"{review.base}/patterns").json()["patterns"]
    return str(max(patterns, key=lambda pattern: pattern["open"])["pattern_id"])


CALLS = [
    Call("GET", "/v1/audits"),
    Call("GET", "/v1/audits/{audit}/summary"),
    Call("GET", "/v1/audits/{audit}/curve"),
    Call("GET", "/v1/audits/{audit}/findings"),
    Call("GET", "/v1/audits/{audit}/findings/{finding_id}"),
    Call("GET", "/v1/audits/{audit}/facets"),
    Call("GET", "/v1/audits/{audit}/patterns"),
    Call("GET", "/v1/audits/{audit}/patterns/{pattern_id}"),
    Call("GET", "/v1/audits/{audit}/paths"),
    Call("GET", "/v1/audits/{audit}/history"),
    Call("GET", "/v1/audits/{audit}/settings"),
    Call("GET", "/v1/audits/{audit}/conflicts", by="lea"),
    Call("POST", "/v1/audits/{audit}/queue/next", body=lambda _: {"count": 2}),
    Call("POST", "/v1/audits/{audit}/queue/skip", body=lambda review: {"finding_id": review.next("ann")[0]["finding_id"]},
         stale=lambda review: {"finding_id": review.next("bob")[0]["finding_id"]}),
    Call("POST", "/v1/audits/{audit}/decisions", body=lambda review: decision(review.next("ann")[0]),
         stale=lambda review: decision(decided(review))),
    Call("POST", "/v1/audits/{audit}/decisions/bulk", body=lambda review: {
        "pattern_id": pattern_of(review), "verdict": "keep", "idempotency_key": uuid4().hex}),
    Call("POST", "/v1/audits/{audit}/undo", body=undoes_the_last, stale=undone),
    Call("POST", "/v1/audits/{audit}/adjudications", by="lea", body=lambda review: decision(contradicted(review)),
         stale=lambda review: {**decision(contradicted(review)), "version": 0}),
    Call("GET", "/v1/audits/{audit}/export", by="lea"),
    Call("POST", "/v1/audits/{audit}/marks", by="lea", body=lambda review: marks(settled(review)),
         stale=lambda review: marks(contradicted(review))),
    Call("POST", "/v1/audits/{audit}/settings", by="lea", body=lambda _: {"second_review_share": 0.5}),
]  # fmt: skip


def address(review: Review, path: str) -> str:
    (finding,) = review.client("ann").get(f"{review.base}/findings?limit=1").json()["rows"]
    found = {"audit": review.audit, "finding_id": finding["finding_id"], "pattern_id": pattern_of(review)}
    return path.format(**found)


def routes() -> dict[tuple[str, str], APIRoute]:
    return {(method, route.path): route for route in router.routes if isinstance(route, APIRoute) for method in route.methods}


def test_every_route_of_the_review_is_among_the_calls_below() -> None:
    assert {(call.method, call.path) for call in CALLS} == {key for key, route in routes().items() if route.include_in_schema}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_every_route_lets_in_who_may_review_and_answers_as_openapi_says(review: Review, call: Call) -> None:
    path = address(review, call.path)
    body = call.body(review) if call.body else None

    def ask(client: Any, **headers: str) -> Any:
        return client.request(call.method, path, json=body, headers=headers)

    for nobody in (review.client(), review.client("nobody")):
        assert (ask(nobody).status_code, kind(ask(nobody))) == (401, "no-key")
    for other in ("surfaces only", "gone", *(["ann"] if call.by == "lea" else [])):
        assert (ask(review.client(other)).status_code, kind(ask(review.client(other)))) == (403, "key-not-permitted")
    answer = ask(review.client(call.by))
    assert answer.status_code == 200, answer.text
    if model := routes()[call.method, call.path].response_model:
        TypeAdapter(model).validate_json(answer.content)
    assert "latest" not in answer.text
    assert ask(review.client("lea")).status_code != 403  # a lead may do whatever a reviewer may


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_browser_that_has_signed_in_needs_a_token_for_whatever_changes_something(review: Review, call: Call) -> None:
    path, browser, other = address(review, call.path), review.signed_in(call.by), review.signed_in("bob")
    body = call.body(review) if call.body else None
    if call.method == "GET":
        assert browser.get(path).status_code == 200
        return
    for token in ({}, {HEADER: "x"}, {HEADER: token_of(other)}):
        refused = browser.post(path, json=body, headers=token)
        assert (refused.status_code, kind(refused)) == (403, "no-csrf-token")
    answer = browser.post(path, json=body, headers={HEADER: token_of(browser)})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("call", [call for call in CALLS if call.stale], ids=lambda call: f"{call.method} {call.path}")
def test_what_comes_too_late_is_told_what_has_changed(review: Review, call: Call) -> None:
    assert call.stale
    body = call.stale(review)
    desk, audit = review.desk(), review.audit
    events = desk.history(audit, limit=1000)
    answer = review.client(call.by).post(address(review, call.path), json=body)
    assert (answer.status_code, kind(answer)) == (409, "changed"), answer.text
    assert answer.json()["detail"]
    assert answer.json()["card"]["finding_id"]
    assert desk.history(audit, limit=1000) == events
    assert 409 in routes()[call.method, call.path].responses


# What counts.


def test_the_same_decision_sent_twice_counts_once(review: Review) -> None:
    (card,) = review.next("ann")
    body = decision(card, "accept", seconds=4.5, note="Tea, says the box")
    first, again = (review.client("ann").post(f"{review.base}/decisions", json=body) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    events = review.desk().history(review.audit, card["finding_id"], seen_by="ann")
    (kept,) = [event for event in events if event.kind == "decision" and event.note == body["note"]]  # others may be undone by now
    assert (kept.by, kept.verdict, kept.seconds, kept.note) == ("ann", "accept", 4.5, "Tea, says the box")
    assert kept.path == tuple(card["finding"]["suggested_paths"][0])
    another = review.client("ann").post(f"{review.base}/decisions", json={**body, "verdict": "keep"})
    assert another.status_code == 422


def test_a_pattern_is_decided_and_taken_back_by_one_action_each(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path)
    ann, body = review.client("ann"), {"pattern_id": pattern_of(review), "verdict": "keep", "idempotency_key": uuid4().hex}
    done, again = (ann.post(f"{review.base}/decisions/bulk", json=body).json() for _ in range(2))
    assert done == again
    assert done["decided"] > 1
    taken_back = ann.post(f"{review.base}/undo", json={"bulk": done["bulk"]}).json()["cards"]
    assert len(taken_back) == done["decided"]
    assert {card["state"] for card in taken_back} == {"open"}
    assert review.client("bob").post(f"{review.base}/undo", json={"bulk": done["bulk"]}).status_code == 404


def test_twenty_at_once_are_never_handed_the_same_finding_and_lose_no_decision(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path, 80, auth="none", keys=[])

    def work(number: int) -> list[str]:
        client, mine = review.client(**named(f"reviewer {number}")), []
        for _ in range(3):
            (card,) = client.post(f"{review.base}/queue/next").json()["cards"]
            assert client.post(f"{review.base}/decisions", json=decision(card)).status_code == 200
            mine.append(card["finding_id"])
        return mine

    with ThreadPoolExecutor(20) as reviewers:
        worked = [finding for mine in reviewers.map(work, range(20)) for finding in mine]
    assert max(Counter(worked).values()) == 1
    decided = review.desk().findings(review.audit, Filters(state="decided"), limit=1000)
    assert sorted(card.finding_id for card in decided.rows) == sorted(worked)


def test_a_second_reviewer_is_not_shown_the_first_verdict(review: Review) -> None:
    card = decided(review, "ann", "unsure")
    bob = review.client("bob")
    assert bob.get(f"{review.base}/findings/{card['finding_id']}").json()["decisions"] == []
    seen = [
        event for event in bob.get(f"{review.base}/history?finding_id={card['finding_id']}").json()["events"] if event["kind"] == "decision"
    ]
    assert {event["verdict"] for event in seen} == {None}
    assert review.client("ann").get(f"{review.base}/findings/{card['finding_id']}").json()["decisions"][0]["verdict"] == "unsure"


def test_decisions_leave_as_a_file_until_they_are_marked(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path).certain()
    lead, card = review.client("lea"), decided(review, "lea", "accept")
    file = lead.get(f"{review.base}/export")
    (row,) = pq.read_table(pa.BufferReader(file.content)).to_pylist()
    assert (row["item_id"], row["to_path"]) == (card["finding"]["item_id"], card["finding"]["suggested_paths"][0])
    assert file.headers["content-disposition"] == f'attachment; filename="{review.audit}.parquet"'
    csv = lead.get(f"{review.base}/export?format=csv")
    assert csv.headers["content-type"].startswith("text/csv")
    assert card["finding"]["item_id"] in csv.text
    assert lead.post(f"{review.base}/marks", json=marks(card) | {"kind": "exported"}).json()["findings"] == 1
    assert lead.get(f"{review.base}/export?format=csv&only_new=true").text.count("\n") == 1
    assert lead.get(f"{review.base}/export?format=pdf").status_code == 422


# What is asked for.


def test_filters_pages_and_limits(review: Review) -> None:
    ann = review.client("ann")
    everything = ann.get(f"{review.base}/findings?limit=500").json()
    assert everything["total"] == len(everything["rows"]) == 400
    likely = ann.get(f"{review.base}/findings?p_min=0.9").json()
    assert 0 < likely["total"] < 400
    assert all(card["finding"]["p_wrong"] >= 0.9 for card in likely["rows"])
    second = ann.get(f"{review.base}/findings?from=10&limit=5").json()["rows"]
    assert [card["finding_id"] for card in second] == [card["finding_id"] for card in everything["rows"][10:15]]
    department = ann.get(f"{review.base}/facets").json()["departments"][0]
    of_it = ann.post(f"{review.base}/queue/next", json={"count": 3, "filters": {"department": department["value"]}}).json()["cards"]
    assert {card["finding"]["given_path"][0] for card in of_it} == {department["value"]}
    found = ann.get(f"{review.base}/paths?text=oat").json()["paths"]
    assert ["Dairy", "Milk", "Oat Milk"] in [each["path"] for each in found]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind_"),
    [
        ("/v1/audits/nothing/summary", None, 404, "unknown-audit"),
        ("/v1/audits/..%2f..%2fetc/summary", None, 404, "not-found"),
        ("{base}/findings/" + "0" * 32, None, 404, "not-found"),
        ("{base}/patterns/nothing", None, 404, "not-found"),
        ("{base}/findings?p_min=2", None, 422, "invalid-request"),
        ("{base}/findings?colour=red", None, 422, "invalid-request"),
        ("{base}/decisions", {}, 422, "invalid-request"),
        ("{base}/decisions", {"finding_id": "0" * 32, "verdict": "keep", "version": 0, "idempotency_key": "new"}, 404, "not-found"),
        ("{base}/decisions", {"finding_id": "0" * 32, "verdict": "maybe", "version": 0, "idempotency_key": "k"}, 422, "invalid-request"),
        ("{base}/decisions", b"{", 400, "malformed-json"),
        ("{base}/decisions", b" " * 2**18, 413, "body-too-large"),
        ("{base}/undo", {"bulk": "none"}, 404, "not-found"),
        ("{base}/undo", {"event_id": 1, "bulk": "b"}, 422, "invalid-request"),
        ("{base}/queue/next", {"count": 101}, 422, "invalid-request"),
        ("{base}/settings", {"random_share": 1.5}, 422, "invalid-request"),
    ],
)
def test_what_is_wrong_is_said(review: Review, path: str, body: Any, status: int, kind_: str) -> None:
    client, url = review.client("lea"), path.replace("{base}", review.base)
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = client.get(url) if body is None else client.post(url, **sent)
    assert (answer.status_code, kind(answer)) == (status, kind_), answer.text
    assert answer.json()["detail"]


def test_settings_change_only_what_is_named(review: Review) -> None:
    lead = review.client("lea")
    before = lead.get(f"{review.base}/settings").json()
    lead.post(f"{review.base}/settings", json={"second_review_share": 0.25})
    assert lead.get(f"{review.base}/settings").json() == {**before, "second_review_share": 0.25}


# Audits and the store.


def test_audits_are_found_in_the_workspace_and_the_latest_by_its_own_name(tmp_path: Path, opened: Opened, monkeypatch: Any) -> None:
    monkeypatch.setattr("shelfcode.serving.review.room.LOOKED_SECONDS", 0)
    review = opened(tmp_path)
    client, first = review.client("ann"), review.audit
    (known,) = client.get("/v1/audits").json()["audits"]
    assert (known["audit"], known["states"]) == (first, None)
    assert client.get("/v1/audits/latest/findings").json()["audit"] == first
    assert client.get("/v1/audits").json()["audits"][0]["states"] == {"open": 60}
    second = plant_audit(review.workspace, 20, seed=1).manifest.audit
    assert client.get("/v1/audits/latest/findings").json()["audit"] == second
    assert [audit["audit"] for audit in client.get("/v1/audits").json()["audits"]] == [first, second]


def test_a_workspace_without_an_audit_says_how_to_make_one(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path)
    (tmp_path / "workspace" / "audits" / review.audit / "manifest.json").unlink()
    answer = review.client("ann").get("/v1/audits/latest/summary")
    assert (answer.status_code, kind(answer)) == (404, "unknown-audit")
    assert "audit_catalog" in answer.json()["detail"]
    assert review.client("ann").get("/v1/audits").json()["audits"] == []


def test_without_a_store_the_endpoint_serves_and_the_review_says_what_to_do(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path, review={})
    answer = review.client("ann").get(f"{review.base}/summary")
    assert (answer.status_code, kind(answer)) == (404, "no-review-store")
    assert "--review-store" in answer.json()["detail"]
    assert review.client("ann").get("/v1/surfaces").status_code == 200


def test_a_store_that_is_down_is_asked_again_with_the_next_request(tmp_path: Path, opened: Opened) -> None:
    store = tmp_path / "store" / "review.sqlite"
    store.parent.write_text("no folder")
    review = opened(tmp_path, review={"store": f"sqlite:///{store}"})
    answer = review.client("ann").get(f"{review.base}/summary")
    assert (answer.status_code, kind(answer)) == (503, "unavailable")
    assert str(store) not in answer.text
    assert review.client("ann").get("/v1/surfaces").status_code == 200
    store.parent.unlink()
    assert review.client("ann").get(f"{review.base}/summary").status_code == 200


def test_while_the_store_is_slow_everything_else_is_answered(review: Review) -> None:
    review.client("ann").get(f"{review.base}/summary")
    (card,) = review.next("ann")
    writer = sqlite3.connect(review.store.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # as another process that takes in an audit
    client, answers = review.client("ann"), list[Any]()
    waits = threading.Thread(target=lambda: answers.append(review.client("ann").post(f"{review.base}/decisions", json=decision(card))))
    waits.start()
    time.sleep(0.05)
    assert client.get("/v1/surfaces").status_code == 200
    assert client.get(f"{review.base}/findings").status_code == 200
    assert waits.is_alive()
    writer.execute("ROLLBACK")
    waits.join()
    assert answers[0].status_code == 200


def test_more_calls_than_may_wait_are_told_to_come_back(tmp_path: Path, opened: Opened) -> None:
    store = {"store": f"sqlite:///{tmp_path / 'review.sqlite'}", "threads": 1, "waiting": 1}
    review = opened(tmp_path, review=store)
    review.client("ann").get(f"{review.base}/summary")
    writer = sqlite3.connect(tmp_path / "review.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as senders:
        asked = [senders.submit(review.client("ann").post, f"{review.base}/queue/next") for _ in range(4)]
        end = time.monotonic() + 50  # a minute later the store gives up by itself
        while sum(each.done() for each in asked) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        writer.execute("ROLLBACK")
        answers = [each.result() for each in asked]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
    assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 503} == {"1"}


# Without keys.


def test_without_keys_two_people_on_one_machine_are_told_apart(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path, auth="none", keys=[])
    (mine,), (yours,) = (
        review.client(**headers).post(f"{review.base}/queue/next").json()["cards"] for headers in (named("Zoë"), {})
    )  # fmt: skip
    assert (mine["claimed_by"], yours["claimed_by"]) == ("Zoë", "anybody")
    assert mine["finding_id"] != yours["finding_id"]


def test_without_keys_a_page_of_another_site_changes_nothing(tmp_path: Path, opened: Opened) -> None:
    review = opened(tmp_path, auth="none", keys=[])
    crossing = review.client(Origin="https://evil.example", **{"Content-Type": "text/plain"})
    assert crossing.post(f"{review.base}/queue/next").status_code == 403
    assert review.client().post(f"{review.base}/queue/next").status_code == 200
