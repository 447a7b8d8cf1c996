"""The desk as reviewers, leads and pages use it, over SQLite and PostgreSQL."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from planted_audit import PlantedAudit

from shelfcode.audit.decisions.answers import ReviewSettings
from shelfcode.audit.decisions.decision import Card, Changed, Decision, Filters, NotFound, Verdict
from shelfcode.audit.decisions.desk import Desk, open_desk
from shelfcode.audit.decisions.tables import STANDINGS
from shelfcode.errors import ShelfcodeError
from shelfcode.workspace import Workspace

Say = Callable[..., Decision]

pytestmark = pytest.mark.timeout(300)


def with_suggestion(cards: list[Card]) -> Card:
    return next(card for card in cards if card.finding["suggested_paths"])


# Handing out


def test_findings_come_by_priority_and_nobody_elses(desk: Desk, audit: str) -> None:
    every = [card.finding_id for card in desk.findings(audit, limit=100).rows]
    anna, ben = desk.next(audit, "anna", count=2), desk.next(audit, "ben", count=2)
    assert [card.finding_id for card in (*anna, *ben)] == every[:4]
    assert {card.state for card in anna} == {"claimed"}
    assert {card.claimed_by for card in ben} == {"ben"}
    assert anna[0].finding["priority"] == max(card.finding["priority"] for card in desk.findings(audit, limit=100).rows)


def test_whoever_asks_again_gets_the_same_cards_first(desk: Desk, audit: str, say: Say) -> None:
    first, second = desk.next(audit, "anna", count=2)
    assert [card.finding_id for card in desk.next(audit, "anna", count=2)] == [first.finding_id, second.finding_id]
    desk.decide(audit, "anna", say(first))
    assert desk.next(audit, "anna")[0].finding_id == second.finding_id


def test_a_claim_ends_by_itself_and_is_renewed_by_asking_again(desk: Desk, audit: str, clock: Any) -> None:
    card = desk.next(audit, "anna")[0]
    clock.pass_minutes(10)
    assert desk.next(audit, "anna")[0].claimed_until == clock.now + timedelta(minutes=15)
    clock.pass_minutes(14)
    assert desk.next(audit, "ben")[0].finding_id != card.finding_id, "it was renewed after ten minutes"
    clock.pass_minutes(2)
    assert desk.finding(audit, card.finding_id).state == "open"
    assert card.finding_id in {each.finding_id for each in desk.next(audit, "ben", count=2)}


def test_a_skipped_card_goes_to_others_and_comes_back_last(desk: Desk, audit: str, clock: Any) -> None:
    desk.set_review_settings(audit, ReviewSettings(0.0, 0.0, claim_minutes=1))
    card = desk.next(audit, "anna")[0]
    desk.skip(audit, "anna", card.finding_id)
    assert desk.next(audit, "ben")[0].finding_id == card.finding_id
    clock.pass_minutes(5)
    assert card.finding_id not in {each.finding_id for each in desk.next(audit, "anna", count=100)}
    clock.pass_minutes(6)
    assert desk.next(audit, "anna", count=100)[-1].finding_id == card.finding_id


def test_filters_narrow_the_queue(desk: Desk, audit: str) -> None:
    some = desk.findings(audit, limit=100).rows[7].finding
    kept = Filters(department=some["given_path"][0], issue=some["issue"], brand=some["brand"], p_min=some["p_wrong"] - 1e-9,
                   popularity_min=some["popularity"], text=some["title"].split()[-1].upper())  # fmt: skip
    found = desk.next(audit, "anna", kept, count=100)
    assert some["item_id"] in {card.finding["item_id"] for card in found}
    for card in found:
        assert (card.finding["given_path"][0], card.finding["issue"], card.finding["brand"]) == (kept.department, kept.issue, kept.brand)
        assert card.finding["p_wrong"] >= kept.p_min
    pattern = desk.patterns(audit)[0]
    assert len(desk.next(audit, "ben", Filters(pattern=pattern.pattern_id), count=100)) == pattern.findings - len(
        [card for card in found if card.finding_id in {each.finding_id for each in desk.pattern(audit, pattern.pattern_id, 100)[1]}]
    )
    assert desk.findings(audit, Filters(text="100% no such thing")).total == 0, "% is no wildcard"


def test_the_random_arm_is_drawn_among_all_and_by_its_share(desk: Desk, audit: str) -> None:
    desk.rng = random.Random(1)
    desk.set_review_settings(audit, ReviewSettings(0.0, random_share=1.0))
    drawn = desk.next(audit, "anna", count=20)
    assert {card.arm for card in drawn} == {"random"}
    places = {card.finding_id: place for place, card in enumerate(desk.findings(audit, limit=100).rows)}
    assert sum(places[card.finding_id] >= 30 for card in drawn) >= 5, "half of all findings stand in the second half of the queue"
    assert {card.arm for card in desk.next(audit, "ben", Filters(issue="wrong_branch"), count=5)} == {"ranked"}, "no sample of all"
    desk.set_review_settings(audit, ReviewSettings(0.0, random_share=0.5))
    assert len(Counter(card.arm for card in desk.next(audit, "carl", count=15))) == 2


# Deciding


def test_a_decision_is_kept_with_all_that_was_said(desk: Desk, audit: str, say: Say) -> None:
    card = with_suggestion(desk.next(audit, "anna", count=10))
    after = desk.decide(audit, "anna", say(card, "accept", note="it says so on the pack", seconds=4.5))
    event = after.decisions[-1]
    assert (after.state, after.version, after.claimed_by) == ("decided", card.version + 1, None)
    assert (event.verdict, event.path) == ("accept", tuple(card.finding["suggested_paths"][0]))
    assert (event.by, event.note, event.seconds, event.p_shown) == ("anna", "it says so on the pack", 4.5, card.p_shown)
    assert (event.arm, event.batch, event.text_hash) == ("ranked", card.batch, card.finding["text_hash"])
    row = desk.corrections(audit).to_pylist()[0]
    assert (row["from_path"], row["to_path"]) == (card.finding["given_path"], card.finding["suggested_paths"][0])
    assert (row["reviewers"], row["decision_ids"], row["note"]) == (["anna"], [event.event_id], event.note)


def test_the_same_decision_sent_twice_counts_once(desk: Desk, audit: str, say: Say) -> None:
    card = desk.next(audit, "anna")[0]
    decision = say(card, "keep", seconds=3.0)
    assert desk.decide(audit, "anna", decision) == desk.decide(audit, "anna", replace(decision, seconds=9.0))
    assert len(desk.finding(audit, card.finding_id).decisions) == 1
    with pytest.raises(ShelfcodeError, match="was used for another change"):
        desk.decide(audit, "anna", replace(decision, verdict="unsure"))
    with pytest.raises(ShelfcodeError, match="was used for another change"):
        desk.decide(audit, "ben", decision)


def test_a_decision_about_what_has_changed_is_refused_and_says_what(desk: Desk, audit: str, say: Say, clock: Any) -> None:
    card = with_suggestion(desk.next(audit, "anna", count=10))
    with pytest.raises(Changed, match="anna holds it until 09:15:00 UTC") as refused:
        desk.decide(audit, "ben", say(card))
    assert refused.value.card is not None
    assert refused.value.card.claimed_by == "anna"
    clock.pass_minutes(20)
    desk.decide(audit, "ben", say(card, "accept"))
    path = " > ".join(card.finding["suggested_paths"][0])
    with pytest.raises(Changed, match=rf"meanwhile ben: decided it \(accept -> {path}\)"):
        desk.decide(audit, "anna", say(card))
    seen = desk.finding(audit, card.finding_id)
    with pytest.raises(Changed, match="it is decided already"):
        desk.decide(audit, "anna", say(seen))


SENSELESS: dict[str, dict[str, Any]] = {
    "verdict 'maybe': expected one of accept": {"verdict": "maybe"},
    "path: verdict keep names none": {"verdict": "keep", "path": ("Snacks",)},
    "path: relabel names the right path": {"verdict": "relabel"},
    "is none of the suggestions": {"verdict": "accept", "path": ("Snacks", "Nowhere")},
    "no product of the catalog is filed under Snacks > Nowhere": {"verdict": "relabel", "path": ("Snacks", "Nowhere")},
    "none of them blank": {"verdict": "relabel", "path": ("Snacks", " "), "new_path": True},
    "seconds -1.0": {"seconds": -1.0},
    "seconds nan": {"seconds": float("nan")},
    "note: expected at most 2000": {"note": "x" * 2001},
    "without character 0": {"note": "a\0b"},
    "idempotency_key": {"idempotency_key": ""},
}
"""What is said of a decision -> what is wrong with it."""


def test_a_decision_that_says_nothing_sensible_is_refused(desk: Desk, audit: str, say: Say) -> None:
    card = with_suggestion(desk.next(audit, "anna", count=10))
    for told, change in SENSELESS.items():
        with pytest.raises(ShelfcodeError, match=told) as refused:
            desk.decide(audit, "anna", replace(say(card), **change))
        assert not isinstance(refused.value, Changed | NotFound)
    assert desk.finding(audit, card.finding_id).decisions == ()


def test_relabelling_knows_the_catalogs_categories(desk: Desk, audit: str, say: Say) -> None:
    cards = [card for card in desk.next(audit, "anna", count=30) if card.finding["suggested_paths"]]
    known = next(each.path for each in desk.paths(audit) if list(each.path) not in
                 [cards[0].finding["given_path"], *cards[0].finding["suggested_paths"]])  # fmt: skip
    assert desk.decide(audit, "anna", say(cards[0], "relabel", known)).decisions[-1].verdict == "relabel"
    suggested = tuple(cards[1].finding["suggested_paths"][1])
    assert desk.decide(audit, "anna", say(cards[1], "relabel", suggested)).decisions[-1].verdict == "accept", "it was suggested"
    new = desk.decide(audit, "anna", say(cards[2], "relabel", ("Snacks", "Bars"), new_path=True))
    assert new.decisions[-1].path == ("Snacks", "Bars")
    with pytest.raises(ShelfcodeError, match="keep says that it is right"):
        desk.decide(audit, "anna", say(cards[3], "relabel", tuple(cards[3].finding["given_path"])))


def test_names_that_are_none_are_refused(desk: Desk, audit: str) -> None:
    for name in ("", " ", "a\nb", "x" * 101):
        with pytest.raises(ShelfcodeError, match="reviewer"):
            desk.next(audit, name)


def test_what_is_not_there_is_said(desk: Desk, audit: str, say: Say) -> None:
    with pytest.raises(NotFound, match=f"there are {audit}"):
        desk.summary("another")
    with pytest.raises(NotFound, match="no finding 'f'"):
        desk.decide(audit, "anna", Decision("f", "keep", 0, uuid.uuid4().hex))
    with pytest.raises(NotFound, match="no pattern 'p'"):
        desk.decide_all(audit, "anna", "p", "accept", None, uuid.uuid4().hex)
    with pytest.raises(NotFound, match="that could be taken back"):
        desk.undo(audit, "anna")


# Taking back


def test_an_undo_is_an_event_and_hands_the_card_back(desk: Desk, audit: str, say: Say) -> None:
    card = desk.next(audit, "anna")[0]
    decided = desk.decide(audit, "anna", say(card))
    back = desk.undo(audit, "anna")[0]
    assert (back.finding_id, back.state, back.claimed_by, back.decisions) == (card.finding_id, "claimed", "anna", ())
    kinds = [event.kind for event in desk.history(audit, card.finding_id)]
    assert kinds == ["claim", "undo", "decision", "claim"], "the latest first, and nothing was removed"
    with pytest.raises(Changed, match="was taken back before"):
        desk.undo(audit, "anna", event_id=decided.decisions[-1].event_id)
    assert desk.decide(audit, "anna", say(back, "unsure")).state == "second_review"


def test_what_others_have_built_upon_is_not_taken_back(desk: Desk, audit: str, say: Say) -> None:
    first = desk.decide(audit, "anna", say(desk.next(audit, "anna")[0], "unsure"))
    desk.decide(audit, "ben", say(desk.finding(audit, first.finding_id), "keep"))
    with pytest.raises(Changed, match="ben has decided it, too since"):
        desk.undo(audit, "anna")
    with pytest.raises(NotFound):
        desk.undo(audit, "carl", event_id=first.decisions[-1].event_id)


# Second opinions


def test_a_second_opinion_is_anothers_and_blind(desk: Desk, audit: str, say: Say) -> None:
    desk.set_review_settings(audit, ReviewSettings(second_review_share=1.0, random_share=0.0))
    card = with_suggestion(desk.next(audit, "anna", count=10))
    first = desk.decide(audit, "anna", say(card, "accept"))
    assert first.state == "second_review"
    assert [event.verdict for event in first.decisions] == ["accept"], "their own verdict they see"
    with pytest.raises(Changed, match="another reviewer is asked"):
        desk.decide(audit, "anna", say(first))
    assert card.finding_id not in {each.finding_id for each in desk.next(audit, "anna", count=100)}
    shown = next(each for each in desk.next(audit, "ben", count=100) if each.finding_id == card.finding_id)
    assert shown.decisions == ()
    assert desk.finding(audit, card.finding_id).decisions == ()
    assert {event.verdict for event in desk.history(audit, card.finding_id)} == {None}
    assert "accept" in {event.verdict for event in desk.history(audit, card.finding_id, seen_by="anna")}
    with pytest.raises(Changed, match=r"meanwhile anna: decided it$"):
        desk.decide(audit, "ben", say(card))
    contradicted = desk.decide(audit, "ben", say(shown, "keep"))
    assert contradicted.state == "conflict"
    assert [event.by for event in contradicted.decisions] == ["anna", "ben"]
    assert desk.corrections(audit).num_rows == 0


def test_the_lead_settles_a_contradiction(desk: Desk, audit: str, say: Say) -> None:
    desk.set_review_settings(audit, ReviewSettings(second_review_share=1.0, random_share=0.0))
    card = with_suggestion(desk.next(audit, "anna", count=10))
    desk.decide(audit, "anna", say(card, "accept"))
    desk.decide(audit, "ben", say(desk.finding(audit, card.finding_id), "keep"))
    (conflict,) = desk.conflicts(audit)
    assert [event.verdict for event in conflict.decisions] == ["accept", "keep"]
    with pytest.raises(ShelfcodeError, match="unsure settles nothing"):
        desk.adjudicate(audit, "lead", say(conflict.card, "unsure"))
    with pytest.raises(Changed, match="meanwhile"):
        desk.adjudicate(audit, "lead", replace(say(conflict.card, "keep"), version=1))
    assert desk.adjudicate(audit, "lead", say(conflict.card, "accept")).state == "adjudicated"
    assert desk.conflicts(audit) == []
    assert desk.corrections(audit).to_pylist()[0]["reviewers"] == ["anna", "ben", "lead"]
    assert desk.summary(audit).agreement.pairs == 1


def test_the_share_of_second_opinions_is_what_the_lead_chose(desk: Desk, audit: str, say: Say) -> None:
    desk.set_review_settings(audit, ReviewSettings(second_review_share=0.3, random_share=0.0))
    states = Counter(desk.decide(audit, "anna", say(card)).state for card in desk.next(audit, "anna", count=60))
    assert 8 <= states["second_review"] <= 30
    assert states["decided"] + states["second_review"] == 60


# Many at once


def test_a_pattern_is_decided_in_one_action_and_taken_back_in_one(desk: Desk, audit: str, say: Say) -> None:
    pattern = desk.patterns(audit)[0]
    members = desk.pattern(audit, pattern.pattern_id, 100)[1]
    desk.decide(audit, "ben", say(members[0], "keep"))
    desk.next(audit, "carl", Filters(pattern=pattern.pattern_id))
    key = uuid.uuid4().hex
    result = desk.decide_all(audit, "anna", pattern.pattern_id, "accept", pattern.suggested_path, key, "ten were looked at")
    assert result.passed_over == {"decided": 1, "claimed by another": 1}
    assert result.decided == pattern.findings - 2
    assert desk.patterns(audit)[0].open == 1
    assert desk.decide_all(audit, "anna", pattern.pattern_id, "accept", pattern.suggested_path, key, "ten were looked at") == result
    assert desk.summary(audit).ranked.reviewed == 1, "what was decided in bulk says nothing about single cards"
    assert len(desk.undo(audit, "anna")) == result.decided, "the last thing done was all of it"
    assert desk.patterns(audit)[0].open == pattern.findings - 1
    assert desk.verify(audit) == []


def test_one_action_passes_over_findings_that_it_does_not_fit(desk: Desk, audit: str) -> None:
    pattern = next(each for each in desk.patterns(audit, kind="path_pair") if each.given_path is not None)
    with pytest.raises(ShelfcodeError, match=r"none of the suggestions|has already"):
        desk.decide_all(audit, "anna", pattern.pattern_id, "accept", pattern.given_path, uuid.uuid4().hex)
    assert desk.summary(audit).reviewed == 0


# What comes of it


def test_marks_are_kept_and_only_answers_are_marked(desk: Desk, audit: str, say: Say) -> None:
    one, two = desk.next(audit, "anna", count=2)
    desk.decide(audit, "anna", say(one))
    with pytest.raises(Changed, match=r"it is open|it is claimed"):
        desk.mark(audit, "lead", "exported", [one.finding_id, two.finding_id])
    assert desk.finding(audit, one.finding_id).state == "decided", "all or nothing"
    desk.mark(audit, "lead", "exported", [one.finding_id])
    desk.mark(audit, "lead", "exported", [one.finding_id])
    assert [event.kind for event in desk.history(audit, one.finding_id)].count("exported") == 1
    desk.mark(audit, "lead", "applied", [one.finding_id])
    with pytest.raises(Changed, match="the correction was applied since"):
        desk.undo(audit, "anna")
    with pytest.raises(NotFound):
        desk.mark(audit, "lead", "applied", ["f"])


def test_the_overview_adds_up(desk: Desk, audit: str, planted: PlantedAudit, say: Say) -> None:
    before = desk.summary(audit)
    assert (before.findings, before.reviewed, before.wrong.found) == (60, 0, 0)
    for card in desk.next(audit, "anna", count=20):
        wrong = card.finding_id in planted.wrong and card.finding["suggested_paths"] and card.finding["issue"] != "placeholder"
        desk.decide(audit, "anna", say(card, "accept" if wrong else "keep", seconds=2.0))
    after = desk.summary(audit)
    assert (after.reviewed, after.ranked.reviewed, sum(after.states.values())) == (20, 20, 60)
    assert after.wrong.found == after.ranked.wrong == sum(row["verdict"] == "accept" for row in desk.corrections(audit).to_pylist())
    assert sum(department.reviewed for department in after.departments) == 20
    assert [(row.name, row.decisions, row.seconds) for row in after.reviewers] == [("anna", 20, 2.0)]
    curve = desk.curve(audit)
    assert max(point.reviewed for point in curve if not point.expected) == 20
    assert after.stop.findings == 40
    counts = desk.facets(audit)
    assert sum(facet.findings for facet in counts.departments) == 60
    assert sum(facet.waiting for facet in counts.issues) == 40
    assert desk.audits()[0].states == {"open": 40, "decided": 20}


def test_what_was_decided_changes_the_probabilities_shown_but_not_their_order(desk: Desk, audit: str, say: Say) -> None:
    for card in desk.next(audit, "anna", count=40):
        desk.decide(audit, "anna", say(card, "keep"))
    desk._learned.clear()
    cards = sorted(desk.findings(audit, limit=100).rows, key=lambda card: card.finding["p_wrong"])
    assert all(card.p_shown <= card.finding["p_wrong"] + 0.05 for card in cards[-20:])
    assert [card.p_shown for card in cards] == sorted(card.p_shown for card in cards)
    lowest = cards[30].p_shown
    assert all(card.p_shown >= lowest - 1e-9 for card in desk.findings(audit, Filters(p_min=lowest), limit=100).rows)


def test_categories_are_found_by_the_words_of_their_names(desk: Desk, audit: str) -> None:
    assert desk.paths(audit, "protein")[0].path == ("Health", "Sports Nutrition", "Protein Bars")
    assert {each.path for each in desk.paths(audit, "MILK oat")} == {("Dairy", "Milk", "Oat Milk")}
    assert desk.paths(audit, "no such thing") == []


def test_settings_are_checked(desk: Desk, audit: str) -> None:
    for wrong in (ReviewSettings(second_review_share=1.5), ReviewSettings(random_share=-0.1), ReviewSettings(claim_minutes=0)):
        with pytest.raises(ShelfcodeError, match="expected"):
            desk.set_review_settings(audit, wrong)


# The store itself


def test_taking_an_audit_in_again_changes_nothing(desk: Desk, audit: str, workspace: Workspace, say: Say) -> None:
    card = desk.next(audit, "anna")[0]
    desk.decide(audit, "anna", say(card))
    desk.take_in(workspace, audit)
    assert (desk.findings(audit).total, desk.finding(audit, card.finding_id).state) == (60, "decided")


def test_states_in_the_queue_are_what_their_events_come_to(desk: Desk, audit: str, say: Say, clock: Any) -> None:
    """Anything at all is done at random; the copy for the queue must always be the fold."""
    rng = random.Random(3)
    desk.set_review_settings(audit, ReviewSettings(second_review_share=0.5, random_share=0.3, claim_minutes=5))
    done: Counter[str] = Counter()
    for _ in range(70):
        who = rng.choice(["anna", "ben", "carl"])
        clock.pass_minutes(rng.random())
        cards = desk.next(audit, who, count=2)
        try:
            if rng.random() < 0.2:
                done["undone"] += len(desk.undo(audit, who))
            elif cards and rng.random() < 0.2:
                desk.skip(audit, who, cards[0].finding_id)
            elif cards:
                verdicts: list[Verdict] = ["keep", "unsure", "exclude", "code_wrong"]
                desk.decide(audit, who, say(rng.choice(cards), rng.choice(verdicts)))
                done["decided"] += 1
        except (Changed, NotFound):
            done["refused"] += 1
    assert done["decided"] > 20
    assert done["undone"] > 3
    assert desk.verify(audit) == []
    with desk.database.engine.begin() as connection:
        connection.execute(STANDINGS.update().where(STANDINGS.c.state == "open").values(state="decided"))
    assert desk.verify(audit) != [], "what somebody wrote into the table is found"


def test_twenty_reviewers_at_once_share_nothing_and_lose_nothing(store_url: str, workspace: Workspace, planted: PlantedAudit) -> None:
    audit, threads = planted.manifest.audit, 20
    desks = [open_desk(store_url) for _ in range(2)]
    served: list[tuple[str, str]] = []
    failures: list[BaseException] = []

    def review(number: int) -> None:
        desk, name = desks[number % 2], f"reviewer {number}"
        try:
            desk.take_in(workspace, audit)
            while cards := desk.next(audit, name):
                decision = Decision(cards[0].finding_id, "keep", cards[0].version, uuid.uuid4().hex, arm=cards[0].arm)
                desk.decide(audit, name, decision)
                desk.decide(audit, name, decision)
                served.append((cards[0].finding_id, name))
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=review, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failures == []
    decisions = [event for event in desks[0].history(audit, limit=1000) if event.kind == "decision"]
    assert Counter(event.finding_id for event in decisions) == Counter(list(planted.truth)), "each once, none lost and none doubled"
    assert sorted((event.finding_id, event.by) for event in decisions) == sorted(served)
    assert desks[0].verify(audit) == []
    for desk in desks:
        desk.close()


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)  # PostgreSQL's planner reads sixty rows without an index
def test_the_queue_reads_an_index_and_sorts_nothing(desk: Desk, audit: str) -> None:
    asked: list[tuple[str, Any]] = []
    listen = sa.event.listens_for(desk.database.engine, "before_cursor_execute")
    listen(lambda _connection, _cursor, statement, parameters, _context, _many: asked.append((statement, parameters)))
    for filters in (Filters(), Filters(department="Snacks"), Filters(brand="Casa Luna"), Filters(issue="wrong_leaf")):
        desk.next(audit, uuid.uuid4().hex, filters)
    queue = [(statement, parameters) for statement, parameters in asked if "ORDER BY standings.priority" in statement]
    assert len(queue) >= 8
    with desk.database.engine.connect() as connection:
        for statement, parameters in queue:
            plan = " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            assert "USING INDEX ix_standings" in plan
            assert "TEMP B-TREE" not in plan, plan
