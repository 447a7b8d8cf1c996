"""Answers from elsewhere become decisions, once each; what cannot be entered is refused with its reason."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from reviewed import Reviewed, best, reviewed

from shelfcode.audit.decisions.decision import Card, Verdict
from shelfcode.audit.decisions.exchange.answer import Answer
from shelfcode.audit.decisions.exchange.corrections import chosen_corrections, csv_bytes
from shelfcode.audit.decisions.exchange.taking_back import TakenBack, label_answers, rejected_csv, take_back
from shelfcode.errors import ShelfcodeError


def answer(card: Card, verdict: Verdict, path: tuple[str, ...] | None = None, **fields: Any) -> Answer:
    known = {"place": f"line of {card.finding['item_id']}", "finding_id": card.finding_id, "item_id": card.finding["item_id"]}
    return Answer(**{**known, "verdict": verdict, "path": path, **fields})


def enter(of: Reviewed, answers: list[Answer], by: str = "agency", new_paths: bool = False) -> TakenBack:
    return take_back(of.desk, of.audit, answers, by, "answers.csv", new_paths)


def suggesting(of: Reviewed) -> list[Card]:
    return [card for card in of.cards() if card.finding["suggested_paths"]]


def test_answers_are_decisions_of_whoever_gave_them_and_count_once(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    first, second, third = suggesting(of)[:3]
    answers = [answer(first, "relabel", best(first), note="sure", seconds=3.0), answer(second, "keep"), answer(third, "exclude")]
    taken = enter(of, answers)
    assert (taken.read, taken.decided, taken.known, len(taken.refused)) == (3, 3, 0, 0)
    assert taken.verdicts == {"accept": 1, "keep": 1, "exclude": 1}
    entered = of.desk.finding(of.audit, first.finding_id)
    assert [(event.by, event.verdict, event.path, event.note, event.seconds) for event in entered.decisions] == [
        ("agency", "accept", best(first), "sure", 3.0)
    ]
    again = enter(of, answers)
    assert (again.decided, again.known, len(again.refused)) == (0, 3, 0)
    assert len(of.desk.corrections(of.audit)) == 3
    assert [event.version for event in of.cards() if event.finding_id == first.finding_id] == [entered.version]


def test_a_spreadsheet_that_was_exported_comes_back_as_known_and_into_another_store_as_new(tmp_path: Path) -> None:
    here, there = reviewed(tmp_path / "here"), reviewed(tmp_path / "there")
    first, second = suggesting(here)[:2]
    here.decide(first, "ann", "accept", best(first))
    here.decide(second, "bob", "code_wrong")
    (tmp_path / "out.csv").write_bytes(csv_bytes(chosen_corrections(here.desk.corrections(here.audit))))
    known = take_back(here.desk, here.audit, label_answers(str(tmp_path / "out.csv")), "agency", "out.csv")
    assert (known.decided, known.known, len(known.refused)) == (0, 2, 0)
    new = take_back(there.desk, there.audit, label_answers(str(tmp_path / "out.csv")), "agency", "out.csv")
    assert (new.decided, dict(new.verdicts)) == (2, {"accept": 1, "code_wrong": 1})
    assert there.desk.corrections(there.audit)["to_path"].to_pylist()[0] == list(best(first))


def test_a_plain_spreadsheet_needs_no_ids_but_those_of_the_products(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    card = suggesting(of)[0]
    item, given = card.finding["item_id"], " > ".join(card.finding["given_path"]).upper()
    (tmp_path / "a.csv").write_text(f"item_id;from_path;to_path;verdict\n{item};{given};{' > '.join(best(card)).lower()};accept\n")
    taken = take_back(of.desk, of.audit, label_answers(str(tmp_path / "a.csv")), "agency", "a.csv")
    assert taken.decided == 1, taken.reasons
    assert of.desk.finding(of.audit, card.finding_id).decisions[0].path == best(card), "as the catalog spells it"


def test_what_cannot_be_entered_is_refused_with_its_reason_and_its_row(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    cards = suggesting(of)[:8]
    of.decide(cards[0], "ann", "keep")
    refused = [
        answer(cards[0], "exclude"),
        answer(cards[1], "keep", from_path=("Elsewhere",)),
        answer(cards[2], "keep", text_hash="another"),
        answer(cards[3], "relabel"),
        answer(cards[4], "relabel", ("Nowhere", "Known")),
        answer(cards[5], "relabel", tuple(cards[5].finding["given_path"])),
        Answer("line 9", "unheard", "item-x", "keep", row={"item_id": "item-x"}),
    ]
    taken = enter(of, [*refused, answer(cards[6], "keep"), answer(cards[7], "unsure")])
    assert (taken.read, taken.decided, len(taken.refused)) == (9, 2, 7)
    reasons = [row.reason for row in taken.refused]
    expected = [
        "decided", "about another label", "text of the product has changed", "right path is missing", "no product", "already",
        "no such finding",
    ]  # fmt: skip
    assert [told in reason for told, reason in zip(expected, reasons, strict=True)] == [True] * 7, reasons
    cells = list(csv.DictReader(io.StringIO(rejected_csv(taken.refused).decode())))
    assert cells[-1] == {
        "item_id": "item-x", "stage": "decisions", "reason": "the audit has no such finding: line 9", "row": '{"item_id": "item-x"}',
    }  # fmt: skip
    assert enter(of, [answer(cards[4], "relabel", ("Nowhere", "Known"))], new_paths=True).decided == 1


def test_answers_on_another_audit_are_refused_as_a_whole(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    strangers = [Answer(f"line {number}", None, f"sku-{number}", "keep") for number in range(3)]
    with pytest.raises(ShelfcodeError, match=r"--from answers.csv: of its 5 answers 3 .*'sku-0'.*another catalog"):
        enter(of, [*strangers, *(answer(card, "keep") for card in of.cards()[:2])])
    assert len(of.desk.corrections(of.audit)) == 0


def test_a_second_reviewer_elsewhere_makes_it_agreed(tmp_path: Path) -> None:
    from shelfcode.audit.decisions.answers import ReviewSettings

    of = reviewed(tmp_path)
    of.desk.set_review_settings(of.audit, ReviewSettings(second_review_share=1.0))
    card = suggesting(of)[0]
    of.decide(card, "ann", "accept", best(card))
    assert enter(of, [answer(card, "relabel", best(card))]).decided == 1
    assert of.desk.finding(of.audit, card.finding_id).state == "agreed"
    rows = chosen_corrections(of.desk.corrections(of.audit), only_agreed=True)
    assert rows["reviewers"].to_pylist() == [["ann", "agency"]]
