"""Findings as records of Argilla, and its records read back."""

import json
from pathlib import Path
from typing import Any

import pytest
from reviewed import best, reviewed

from shelfcode.audit.decisions.exchange.answer import Answer
from shelfcode.audit.decisions.exchange.argilla import OPTIONS_MAX, dataset, read_records, records, settings
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.errors import ShelfcodeError


def answered(status: str = "completed", **responses: list[tuple[str, str]]) -> dict[str, Any]:
    """A record as `dataset.records.to_json` writes it; responses are pairs of a user and a value."""
    return {
        "id": "f", "fields": {"product": "Bar"}, "metadata": {"item_id": "1", "text_hash": "h", "p_wrong": 0.9},
        "suggestions": {"verdict": {"value": "relabel", "score": 0.9, "agent": "precision-v0001-001"}},
        "responses": {name: [{"value": value, "user_id": user} for user, value in given] for name, given in responses.items()},
        "vectors": {}, "status": status, "_server_id": "7f7f4f4e-0000-0000-0000-000000000001",
    }  # fmt: skip


def read(*found: dict[str, Any]) -> list[Answer | RejectedRow]:
    return list(read_records(json.dumps(found), "records.json"))


def test_records_fit_the_settings_they_are_written_with(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    cards = of.cards()
    made, known = records(cards), settings([path.path for path in of.desk.paths(of.audit, limit=10**9)], cards)
    fields = {field["name"] for field in known["fields"]}
    options = {question["name"]: {option["value"] for option in question["settings"].get("options", ())} for question in known["questions"]}
    properties = {each["name"] for each in known["metadata"]}
    for record, card in zip(made, cards, strict=True):
        assert record["id"] == card.finding_id
        assert set(record["fields"]) == fields
        assert set(record["metadata"]) == properties
        assert {name: value["value"] in options[name] for name, value in record["suggestions"].items()} == dict.fromkeys(
            record["suggestions"], True
        )
    assert made[0]["suggestions"]["path"]["value"] == " > ".join(best(cards[0]))
    assert dataset(of.audit)["name"] == of.audit


def test_a_path_is_asked_for_as_text_where_there_are_too_many() -> None:
    many = settings([("A", str(number)) for number in range(OPTIONS_MAX + 1)], [])
    kinds = {question["name"]: question["settings"]["type"] for question in many["questions"]}
    assert kinds == {"verdict": "label_selection", "path": "text", "note": "text"}


def test_completed_records_are_answers() -> None:
    (answer,) = read(answered(verdict=[("u", "relabel")], path=[("u", "Health > Bars")], note=[("u", "sure")]))
    assert isinstance(answer, Answer)
    assert (answer.finding_id, answer.item_id, answer.verdict, answer.path) == ("f", "1", "relabel", ("Health", "Bars"))
    assert (answer.note, answer.text_hash, answer.place) == ("sure", "h", "record 1 of records.json")
    (kept,) = read(answered(verdict=[("u", "keep")], path=[("u", "Health > Bars")]))
    assert isinstance(kept, Answer)
    assert (kept.verdict, kept.path) == ("keep", None)


def test_pending_records_are_left_out_and_contradictions_refused() -> None:
    assert read(answered(status="pending", verdict=[("u", "keep")]), answered()) == []
    (same,) = read(answered(verdict=[("u", "keep"), ("v", "keep")], path=[("v", "Health > Bars")]))
    assert isinstance(same, Answer)
    (refused,) = read(answered(verdict=[("u", "keep"), ("v", "relabel")], path=[("v", "Health > Bars")]))
    assert isinstance(refused, RejectedRow)
    assert refused.reason == "annotators disagree: keep, relabel Health > Bars, record 1 of records.json"


@pytest.mark.parametrize("text", ["[", "{}", '[{"data": {}, "annotations": []}]'])
def test_another_kind_of_file_is_refused(text: str) -> None:
    with pytest.raises(ShelfcodeError, match=r"records\.json"):
        list(read_records(text, "records.json"))
