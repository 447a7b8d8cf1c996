"""Findings as tasks of Label Studio, and its export read back."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from reviewed import best, reviewed

from shelfcode.audit.decisions.exchange.answer import Answer
from shelfcode.audit.decisions.exchange.label_studio import labeling_config, read_tasks, tasks
from shelfcode.catalog.rejected import RejectedRow
from shelfcode.errors import ShelfcodeError

PATHS = [("Snacks", "Candy"), ("Snacks",), ("Health", 'Bars & "more"')]


def annotated(task: dict[str, Any], *results: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A task as Label Studio exports it; None was skipped."""
    annotations = [
        {
            "id": 1000 + number, "completed_by": number, "result": result or [], "was_cancelled": result is None, "ground_truth": False,
            "created_at": "2026-05-01T12:00:00.000000Z", "updated_at": "2026-05-01T12:00:09.000000Z", "lead_time": 8.25,
            "result_count": len(result or []), "task": 7, "parent_prediction": None, "parent_annotation": None,
        }
        for number, result in enumerate(results, start=1)
    ]  # fmt: skip
    return {"id": 7, "data": task["data"], "annotations": annotations, "drafts": [], "predictions": [1], "meta": {}, "project": 3}


def said(verdict: str, paths: list[list[str]] | None = None, note: str | None = None) -> list[dict[str, Any]]:
    regions = [("verdict", "choices", {"choices": [verdict]})]
    regions += [("path", "taxonomy", {"taxonomy": paths})] if paths else []
    regions += [("note", "textarea", {"text": [note]})] if note else []
    return [
        {"id": f"r{name}", "from_name": name, "to_name": "product", "type": kind, "value": value, "origin": "manual"}
        for name, kind, value in regions
    ]


def read(*found: dict[str, Any]) -> list[Answer | RejectedRow]:
    return list(read_tasks(json.dumps(found), "export.json"))


def task(finding_id: str = "f") -> dict[str, Any]:
    return {"data": {"finding_id": finding_id, "item_id": "1", "text_hash": "h", "given_path": ["Snacks", "Candy"]}}


def test_a_task_shows_the_product_and_predicts_what_the_audit_suggests(tmp_path: Path) -> None:
    of = reviewed(tmp_path)
    card = next(card for card in of.cards() if card.finding["suggested_paths"])
    (made,) = tasks([card])
    assert made["data"]["product"].startswith(card.finding["title"])
    assert made["data"]["given"] == " > ".join(card.finding["given_path"])
    prediction = made["predictions"][0]
    assert (prediction["model_version"], prediction["score"]) == (of.audit, card.p_shown)
    values = {each["from_name"]: each["value"] for each in prediction["result"]}
    assert values == {"verdict": {"choices": ["relabel"]}, "path": {"taxonomy": [list(best(card))]}}


def test_the_config_has_the_tree_once_and_names_what_predictions_name(tmp_path: Path) -> None:
    view = ElementTree.fromstring(labeling_config(PATHS, with_images=False))
    taxonomy = view.find("Taxonomy")
    assert taxonomy is not None
    assert [(node.get("value"), [child.get("value") for child in node]) for node in taxonomy] == [
        ("Health", ['Bars & "more"']), ("Snacks", ["Candy"]),
    ]  # fmt: skip
    controls = {control.get("name"): control.get("toName") for control in view if control.get("toName")}
    assert controls == {"verdict": "product", "path": "product", "note": "product"}
    choices = view.find("Choices")
    assert choices is not None
    assert [choice.get("alias") for choice in choices] == ["relabel", "keep", "code_wrong", "unsure", "exclude"]
    shown = {element.get("value", "").removeprefix("$") for element in view if element.get("value", "").startswith("$")}
    assert shown <= set(tasks(reviewed(tmp_path).cards()[:1])[0]["data"])
    assert ElementTree.fromstring(labeling_config(PATHS, with_images=True)).find("Image") is not None


def test_annotations_are_answers_with_their_time_and_note() -> None:
    (answer,) = read(annotated(task(), said("relabel", [["Health"], ["Health", "Bars"]], "sure")))
    assert isinstance(answer, Answer)
    assert (answer.finding_id, answer.verdict, answer.path, answer.note, answer.seconds) == (
        "f",
        "relabel",
        ("Health", "Bars"),
        "sure",
        8.25,
    )
    assert (answer.from_path, answer.text_hash, answer.place) == (("Snacks", "Candy"), "h", "task 7 of export.json")
    (kept,) = read(annotated(task(), said("The label is right", [["Health", "Bars"]])))
    assert isinstance(kept, Answer)
    assert (kept.verdict, kept.path) == ("keep", None), "the path of the prediction that was left there says nothing"


def test_what_nobody_annotated_is_left_out_and_what_is_no_answer_is_refused() -> None:
    assert read(annotated(task())) == []
    assert read(annotated(task(), said("keep"), said("keep")))[0].place == "task 7 of export.json"  # type: ignore[union-attr]
    refused = read(
        annotated(task(), None),
        annotated(task(), said("keep"), said("exclude")),
        annotated(task(), said("relabel", [["A", "B"], ["C"]])),
        annotated(task(), [each for each in said("keep", [["A"]]) if each["from_name"] == "path"]),
    )
    reasons = [row.reason for row in refused if isinstance(row, RejectedRow)]
    assert [reason.split(":")[0] for reason in reasons] == [
        "skipped by the annotator", "annotators disagree", "several paths were chosen", "expected one choice of `verdict`, got 0",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", '{"data": {}}', '[{"id": 1, "verdict": "keep"}]'])
def test_another_kind_of_file_is_refused(text: str) -> None:
    with pytest.raises(ShelfcodeError, match=r"export\.json"):
        list(read_tasks(text, "export.json"))
